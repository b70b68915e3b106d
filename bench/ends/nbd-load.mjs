/**
 * Random writes over many exports of one NBD server, round robin, a fixed number outstanding in all. Reads one line of JSON from standard input, {socket,
 * exportNames, sizeBytes, blockBytes, depth}, answers {ready}; then for each line {runtimeMs, seed} answers {operations, iops, latencyP99Us}. Ends with its input.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const IHAVEOPT = 0x49484156454f5054n;
const REQUEST_MAGIC = 0x25609513;
const REPLY_BYTES = 16;
const HEADER_BYTES = 28;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const nextLine = async () => {
  const { value, done } = await lines.next();
  return done ? undefined : JSON.parse(value);
};
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

const { socket: socketPath, exportNames, sizeBytes, blockBytes, depth } = await nextLine();
const payload = Buffer.alloc(blockBytes, 0xa5);
let onReply = () => undefined;

async function attach(exportName) {
  const socket = connect(socketPath);
  await once(socket, 'connect');
  let greeting = 18 + 10; // server's greeting, then size and flags without zeroes
  let rest = 0;
  const ready = new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`${exportName}: connection closed`)));
    socket.on('data', (chunk) => {
      if (greeting > 0) {
        greeting -= chunk.length;
        if (greeting === 0) resolve();
        return;
      }
      // One request per connection at a time is outstanding only while there are enough connections: replies may come in pieces.
      rest += chunk.length;
      for (; rest >= REPLY_BYTES; rest -= REPLY_BYTES) onReply(socket);
    });
  });
  ready.catch(() => undefined);
  const name = Buffer.from(exportName);
  const hello = Buffer.alloc(20);
  hello.writeUInt32BE(3, 0);
  hello.writeBigUInt64BE(IHAVEOPT, 4);
  hello.writeUInt32BE(1, 12);
  hello.writeUInt32BE(name.length, 16);
  socket.write(Buffer.concat([hello, name]));
  await ready;
  return socket;
}

/** xorshift32: the same offsets for everyone in a round. */
function randomOf(seed) {
  let state = seed * 2654435761 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function run({ runtimeMs, seed }) {
  const random = randomOf(seed);
  const startedAts = new Map(sockets.map((socket) => [socket, []]));
  const latencies = [];
  let next = 0;
  let outstanding = 0;
  const endAtMs = performance.now() + runtimeMs;
  const startedAtMs = performance.now();
  const issue = () => {
    const socket = sockets[next % sockets.length];
    next += 1;
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    header.writeUInt16BE(1, 6);
    header.writeUInt32BE(next, 12);
    header.writeBigUInt64BE(BigInt(Math.floor(random() * (sizeBytes / blockBytes)) * blockBytes), 16);
    header.writeUInt32BE(blockBytes, 24);
    startedAts.get(socket).push(performance.now());
    socket.cork();
    socket.write(header);
    socket.write(payload);
    process.nextTick(() => socket.uncork());
    outstanding += 1;
  };
  return new Promise((resolve) => {
    onReply = (socket) => {
      outstanding -= 1;
      // Replies of one connection may pass each other by a little: good enough for a quantile of many.
      latencies.push(performance.now() - startedAts.get(socket).shift());
      if (performance.now() < endAtMs) issue();
      else if (outstanding === 0) {
        const seconds = (performance.now() - startedAtMs) / 1000;
        latencies.sort((a, b) => a - b);
        resolve({ operations: latencies.length, iops: latencies.length / seconds, latencyP99Us: latencies[Math.floor(latencies.length * 0.99)] * 1000, latencyMaxUs: latencies.at(-1) * 1000 });
      }
    };
    for (let i = 0; i < depth; i += 1) issue();
  });
}

const sockets = [];
for (const exportName of exportNames) sockets.push(await attach(exportName));
say({ ready: sockets.length });
for (let job = await nextLine(); job !== undefined; job = await nextLine()) say(await run(job));
process.exit(0);
