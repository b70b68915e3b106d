import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const IHAVEOPT = 0x49484156454f5054n;
const OPT_EXPORT_NAME = 1;
const FIXED_NEWSTYLE_NO_ZEROES = 3;
const REQUEST_MAGIC = 0x25609513;
const REPLY_BYTES = 16;
const READ = 0;
const WRITE = 1;

/** The smallest NBD client there is: one export, one request at a time. Rejects when the connection ends. */
export class NbdClient {
  #received = Buffer.alloc(0);
  #wake: () => void = () => undefined;
  #isEnded = false;
  #cookie = 0n;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isEnded = true;
      this.#wake();
    });
  }

  static async connect(socketPath: string, exportName: string): Promise<NbdClient> {
    const socket = connect(socketPath);
    await once(socket, 'connect');
    const client = new NbdClient(socket);
    await client.#take(18);
    const name = Buffer.from(exportName);
    const hello = Buffer.alloc(20);
    hello.writeUInt32BE(FIXED_NEWSTYLE_NO_ZEROES, 0);
    hello.writeBigUInt64BE(IHAVEOPT, 4);
    hello.writeUInt32BE(OPT_EXPORT_NAME, 12);
    hello.writeUInt32BE(name.length, 16);
    socket.write(Buffer.concat([hello, name]));
    await client.#take(10);
    return client;
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#request(WRITE, offset, bytes.length, bytes);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    await this.#request(READ, offset, length);
    return await this.#take(length);
  }

  close(): void {
    this.socket.destroy();
  }

  async #request(type: number, offset: number, length: number, payload?: Uint8Array): Promise<void> {
    const header = Buffer.alloc(28);
    this.#cookie += 1n;
    header.writeUInt32BE(REQUEST_MAGIC, 0);
    header.writeUInt16BE(type, 6);
    header.writeBigUInt64BE(this.#cookie, 8);
    header.writeBigUInt64BE(BigInt(offset), 16);
    header.writeUInt32BE(length, 24);
    this.socket.write(payload ? Buffer.concat([header, payload]) : header);
    const errno = (await this.#take(REPLY_BYTES)).readUInt32BE(4);
    if (errno !== 0) throw new Error(`NBD request ${String(type)} at ${String(offset)}: errno ${String(errno)}`);
  }

  async #take(bytes: number): Promise<Buffer> {
    while (this.#received.length < bytes) {
      if (this.#isEnded) throw new Error('the NBD connection ended');
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const taken = this.#received.subarray(0, bytes);
    this.#received = this.#received.subarray(bytes);
    return taken;
  }
}
