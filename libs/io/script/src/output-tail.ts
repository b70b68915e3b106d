import type { Readable } from 'node:stream';

export const OUTPUT_BYTES_MAX = 64 * 1024;
/** Pipes are read in pieces of 64 KiB: 6 MiB/s, so that a script that floods its output never holds up who runs it. */
const PAUSE_MS = 10;

/** Keeps the end of a stream; what comes beyond the limit is read slowly and only to let the writer go on. */
export class OutputTail {
  #chunks: Buffer[] = [];
  #keptBytes = 0;
  #isOver = false;

  constructor(private readonly stream: Readable) {
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    // A pipe that breaks has ended.
    stream.on('error', () => undefined);
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#keptBytes += chunk.length;
    for (let first = this.#chunks[0]; first && this.#keptBytes - first.length >= OUTPUT_BYTES_MAX; first = this.#chunks[0]) {
      this.#chunks.shift();
      this.#keptBytes -= first.length;
      this.#isOver = true;
    }
    if (!this.#isOver) return;
    this.stream.pause();
    setTimeout(() => this.stream.resume(), PAUSE_MS).unref();
  }

  text(): string {
    return Buffer.concat(this.#chunks).subarray(-OUTPUT_BYTES_MAX).toString('utf8');
  }

  close(): void {
    this.stream.destroy();
  }
}
