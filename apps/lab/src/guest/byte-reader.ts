import type { Socket } from 'node:net';

/** Takes a socket's bytes in the amounts that its reader asks for. One read at a time; all fail when the socket ends. */
export class ByteReader {
  readonly #parts: Buffer[] = [];
  #buffered = 0;
  #ended: Error | undefined;
  #wanted: { readonly bytes: number; readonly resolve: (bytes: Buffer) => void; readonly reject: (error: Error) => void } | undefined;

  constructor(socket: Socket) {
    socket.on('data', (part: Buffer) => {
      this.#parts.push(part);
      this.#buffered += part.byteLength;
      this.#serve();
    });
    socket.once('error', (error) => this.#end(error));
    socket.once('close', () => this.#end(new Error('the server closed the connection')));
  }

  read(bytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#wanted = { bytes, resolve, reject };
      this.#serve();
    });
  }

  #serve(): void {
    const wanted = this.#wanted;
    if (!wanted) return;
    if (this.#buffered >= wanted.bytes) {
      this.#wanted = undefined;
      wanted.resolve(this.#take(wanted.bytes));
    } else if (this.#ended) {
      this.#wanted = undefined;
      wanted.reject(this.#ended);
    }
  }

  #take(bytes: number): Buffer {
    const joined = this.#parts.length === 1 && this.#parts[0] ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#parts.length = 0;
    this.#buffered = joined.byteLength - bytes;
    if (this.#buffered > 0) this.#parts.push(joined.subarray(bytes));
    return joined.subarray(0, bytes);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#serve();
  }
}
