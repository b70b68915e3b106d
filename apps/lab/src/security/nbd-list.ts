import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { allowed, type Outcome, refused } from './attempt.js';
import type { Place } from './wire.js';

/** Numbers of the NBD protocol (doc/proto.md): option magic, options, replies. */
const IHAVEOPT = Buffer.from('IHAVEOPT');
const LIST = 3;
const STARTTLS = 5;
const ACK = 1;
const GREETING_BYTES = 18;
const REPLY_BYTES = 20;
const ANSWER_MS = 3000;

/** Lists the exports of a server that wants TLS: first without, then with this key and certificate. */
export async function listExports({ place, port }: Place, tls: ConnectionOptions = {}): Promise<Outcome> {
  const plain = connectTcp({ host: place, port });
  plain.on('error', () => undefined);
  try {
    await read(plain, GREETING_BYTES);
    plain.write(Buffer.from([0, 0, 0, 3]));
    const early = await option(plain, LIST);
    if (early !== undefined && !isError(early)) return allowed('exports are listed without TLS');
    if ((await option(plain, STARTTLS)) !== ACK) return refused('no TLS is offered');
    const secure = connectTls({ socket: plain, rejectUnauthorized: false, ...tls });
    secure.on('error', () => undefined);
    const reply = await option(secure, LIST);
    if (reply === undefined) return refused('the connection ends with the handshake');
    return isError(reply) ? refused(`error ${(reply & 0x7fffffff).toString()}`) : allowed('exports are listed');
  } finally {
    plain.destroy();
  }
}

const isError = (reply: number): boolean => reply >= 0x80000000;

/** Type of the reply to an option; undefined: the other end hung up, or said nothing. */
async function option(socket: Socket, number: number): Promise<number | undefined> {
  const head = Buffer.alloc(16);
  IHAVEOPT.copy(head);
  head.writeUInt32BE(number, 8);
  if (socket.writable) socket.write(head);
  const reply = await read(socket, REPLY_BYTES);
  if (reply === undefined) return undefined;
  const length = reply.readUInt32BE(16);
  if (length > 0) await read(socket, length);
  return reply.readUInt32BE(12);
}

function read(socket: Socket, bytes: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const finish = (found: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.off('readable', look);
      socket.off('close', gone);
      resolve(found);
    };
    const look = (): void => {
      const found = socket.read(bytes) as Buffer | null;
      if (found) finish(found.length === bytes ? found : undefined);
    };
    const gone = (): void => finish(undefined);
    const timer = setTimeout(gone, ANSWER_MS);
    socket.on('readable', look);
    socket.on('close', gone);
    if (socket.destroyed) gone();
    else look();
  });
}
