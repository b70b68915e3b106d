const LINE_BYTES_MAX = 1000;

/** Splits a byte stream of short text lines. */
export class LineReader {
  #rest = '';

  constructor(private readonly onLine: (line: string) => void) {}

  /** False: a line is longer than anyone sends. */
  take(bytes: Uint8Array): boolean {
    const lines = (this.#rest + Buffer.from(bytes).toString('latin1')).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.onLine(line);
    return this.#rest.length <= LINE_BYTES_MAX;
  }
}
