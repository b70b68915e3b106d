import { connect, type Socket } from 'node:net';
import { LabError } from '../lab-error.js';
import { ByteReader } from './byte-reader.js';

// Numbers of the NBD protocol (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md). This client is written apart from the server's
// code on purpose: a guest that shared its mistakes would not notice them.
const INIT_MAGIC = 'NBDMAGICIHAVEOPT';
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
const CLIENT_FLAGS = 0b11; // fixed newstyle, no zeroes
const OPT_GO = 7;
const REPLY_ACK = 1;
const REPLY_INFO = 3;
const REPLY_ERROR_BIT = 2 ** 31;
const INFO_EXPORT = 0;
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const OPTION_BYTES_MAX = 64 * 1024;

export const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3 } as const;

/** The server's own refusal of one request; the connection goes on. */
export class NbdRequestError extends Error {
  constructor(readonly errno: number) {
    super(`the server answered errno ${errno}`);
  }
}

interface Pending {
  readonly readBytes: number;
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export interface NbdRequest {
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  readonly payload?: Uint8Array;
}

/** One connection to one export. Requests overlap; when the connection ends, all that are open fail with what ended it. */
export class NbdConnection {
  readonly #pending = new Map<number, Pending>();
  #nextCookie = 1;
  #ended: Error | undefined;

  private constructor(
    private readonly socket: Socket,
    private readonly reader: ByteReader,
    readonly sizeBytes: number,
  ) {
    void this.#receive(); // ends with the socket; every failure reaches the requests
  }

  static async open(socketPath: string, exportName: string, signal?: AbortSignal): Promise<NbdConnection> {
    const socket = connect(socketPath);
    const abort = (): void => void socket.destroy(new Error('the connection is no longer wanted'));
    signal?.addEventListener('abort', abort);
    try {
      const reader = new ByteReader(socket);
      const sizeBytes = await negotiate(socket, reader, exportName);
      return new NbdConnection(socket, reader, sizeBytes);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  get isOpen(): boolean {
    return this.#ended === undefined;
  }

  request(request: NbdRequest): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(this.#ended);
        return;
      }
      const cookie = this.#nextCookie++;
      this.#pending.set(cookie, { readBytes: request.command === COMMAND.read ? request.length : 0, resolve, reject });
      this.socket.write(requestHeader(request, cookie));
      if (request.payload) this.socket.write(request.payload);
    });
  }

  close(): void {
    if (this.isOpen) this.socket.end(requestHeader({ command: COMMAND.disconnect, offset: 0, length: 0 }, 0));
    this.#end(new Error('closed by the guest'));
  }

  async #receive(): Promise<void> {
    try {
      for (;;) await this.#receiveReply();
    } catch (error) {
      this.socket.destroy();
      this.#end(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async #receiveReply(): Promise<void> {
    const header = await this.reader.read(16);
    if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC) throw new Error('not a simple reply');
    const errno = header.readUInt32BE(4);
    const cookie = Number(header.readBigUInt64BE(8));
    const pending = this.#pending.get(cookie);
    if (!pending) throw new Error(`a reply to no request, cookie ${cookie}`);
    const bytes = errno === 0 && pending.readBytes > 0 ? await this.reader.read(pending.readBytes) : Buffer.alloc(0);
    this.#pending.delete(cookie);
    if (errno === 0) pending.resolve(bytes);
    else pending.reject(new NbdRequestError(errno));
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const pending of this.#pending.values()) pending.reject(this.#ended);
    this.#pending.clear();
  }
}

function requestHeader({ command, offset, length }: NbdRequest, cookie: number): Buffer {
  const header = Buffer.alloc(28);
  header.writeUInt32BE(REQUEST_MAGIC, 0);
  header.writeUInt16BE(command, 6);
  header.writeBigUInt64BE(BigInt(cookie), 8);
  header.writeBigUInt64BE(BigInt(offset), 16);
  header.writeUInt32BE(length, 24);
  return header;
}

/** @returns the export's size. */
async function negotiate(socket: Socket, reader: ByteReader, exportName: string): Promise<number> {
  const greeting = await reader.read(18);
  if (greeting.toString('latin1', 0, 16) !== INIT_MAGIC) throw new LabError('LAB_REFUSED', 'this is not an NBD server of the newstyle protocol');
  const flags = Buffer.alloc(4);
  flags.writeUInt32BE(CLIENT_FLAGS);
  socket.write(Buffer.concat([flags, goOption(exportName)]));
  for (let sizeBytes: number | undefined; ; ) {
    const { type, body } = await readOptionReply(reader);
    if (type >= REPLY_ERROR_BIT) throw new LabError('LAB_REFUSED', `the server refuses export ${exportName}: ${body.toString('utf8') || `error ${type - REPLY_ERROR_BIT}`}`);
    if (type === REPLY_INFO && body.readUInt16BE(0) === INFO_EXPORT) sizeBytes = Number(body.readBigUInt64BE(2));
    if (type !== REPLY_ACK) continue;
    if (sizeBytes === undefined) throw new LabError('LAB_REFUSED', `the server does not say how big export ${exportName} is`);
    return sizeBytes;
  }
}

function goOption(exportName: string): Buffer {
  const name = Buffer.from(exportName, 'utf8');
  const option = Buffer.alloc(16 + 4 + name.byteLength + 2);
  option.write('IHAVEOPT', 0, 'latin1');
  option.writeUInt32BE(OPT_GO, 8);
  option.writeUInt32BE(4 + name.byteLength + 2, 12);
  option.writeUInt32BE(name.byteLength, 16);
  name.copy(option, 20);
  return option;
}

async function readOptionReply(reader: ByteReader): Promise<{ readonly type: number; readonly body: Buffer }> {
  const header = await reader.read(20);
  if (header.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC) throw new LabError('LAB_REFUSED', 'a wrong magic in an option reply');
  const length = header.readUInt32BE(16);
  if (length > OPTION_BYTES_MAX) throw new LabError('LAB_REFUSED', 'an option reply above 64 KiB');
  return { type: header.readUInt32BE(12), body: length === 0 ? Buffer.alloc(0) : await reader.read(length) };
}
