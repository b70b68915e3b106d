import { once } from 'node:events';
import { connect } from 'node:net';

const IHAVEOPT = 0x49484156454f5054n;
const REQUEST_MAGIC = 0x25609513;

/** Bytes of a socket, so many at a time. */
function taker(socket) {
  let received = Buffer.alloc(0);
  let wake = () => undefined;
  let ended;
  socket.on('data', (chunk) => { received = Buffer.concat([received, chunk]); wake(); });
  for (const event of ['error', 'close']) socket.on(event, (error) => { ended ??= error instanceof Error ? error : new Error('connection closed'); wake(); });
  return async (bytes) => {
    while (received.length < bytes) {
      if (ended) throw ended;
      await new Promise((resolve) => { wake = resolve; });
    }
    const taken = received.subarray(0, bytes);
    received = received.subarray(bytes);
    return taken;
  };
}

/** Connects to an export, reads its first sector and leaves: proof that the disk answers. Throws when it does not. */
export async function readFirstSector(socketPath, exportName) {
  const socket = connect(socketPath);
  try {
    await once(socket, 'connect');
    const take = taker(socket);
    await take(18);
    const name = Buffer.from(exportName);
    const hello = Buffer.alloc(20);
    hello.writeUInt32BE(3, 0);
    hello.writeBigUInt64BE(IHAVEOPT, 4);
    hello.writeUInt32BE(1, 12);
    hello.writeUInt32BE(name.length, 16);
    socket.write(Buffer.concat([hello, name]));
    await take(10);
    const request = Buffer.alloc(28);
    request.writeUInt32BE(REQUEST_MAGIC, 0);
    request.writeUInt32BE(512, 24);
    socket.write(request);
    const reply = await take(16);
    if (reply.readUInt32BE(4) !== 0) throw new Error(`read of ${exportName}: error ${reply.readUInt32BE(4)}`);
    return Buffer.from(await take(512));
  } finally {
    socket.destroy();
  }
}
