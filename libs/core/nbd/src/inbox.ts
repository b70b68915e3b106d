import { assert } from '@tidemark/base';

/** Bytes that arrived and were not yet taken. Chunks are kept as they came; only what spans two of them is copied. */
export class Inbox {
  // Invariant: #chunks holds no empty chunk; #at is a position in the first one.
  readonly #chunks: Uint8Array[] = [];
  #at = 0;
  #available = 0;

  /** Bytes that can be taken. */
  get available(): number {
    return this.#available;
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#available += chunk.length;
  }

  /** The next few bytes, which must be there, without taking them. */
  peek(bytes: number): Uint8Array {
    assert(bytes <= this.#available, 'looking at more than there is');
    const first = this.#chunks[0];
    if (first !== undefined && this.#at + bytes <= first.length) return first.subarray(this.#at, this.#at + bytes);
    const seen = new Uint8Array(bytes);
    let filled = 0;
    for (const [index, chunk] of this.#chunks.entries()) {
      const part = chunk.subarray(index === 0 ? this.#at : 0).subarray(0, bytes - filled);
      seen.set(part, filled);
      filled += part.length;
      if (filled === bytes) break;
    }
    return seen;
  }

  /** The next `bytes`, which must be there: a part of the chunk they came in, or a copy when they span several. */
  take(bytes: number): Uint8Array {
    assert(bytes <= this.#available, 'taking more than there is');
    const first = this.#chunks[0];
    if (first !== undefined && this.#at + bytes <= first.length) {
      const taken = first.subarray(this.#at, this.#at + bytes);
      this.#advance(first, bytes);
      return taken;
    }
    const taken = new Uint8Array(bytes);
    this.takeInto(taken, 0);
    return taken;
  }

  /** Moves what is there, as far as it fits, into `target` from `at` on. The number of bytes moved. */
  takeInto(target: Uint8Array, at: number): number {
    let filled = at;
    while (filled < target.length) {
      const first = this.#chunks[0];
      if (first === undefined) break;
      const bytes = Math.min(first.length - this.#at, target.length - filled);
      target.set(first.subarray(this.#at, this.#at + bytes), filled);
      filled += bytes;
      this.#advance(first, bytes);
    }
    return filled - at;
  }

  /** True if the next `bytes` came in one chunk, so that taking them copies nothing. */
  isContiguous(bytes: number): boolean {
    const first = this.#chunks[0];
    return first !== undefined && this.#at + bytes <= first.length;
  }

  /** Keeps what is there in memory of its own: the chunks are the caller's again. */
  detach(): void {
    if (this.#available > 0) this.#chunks.splice(0, this.#chunks.length, this.#copied());
    this.#at = 0;
  }

  #copied(): Uint8Array {
    const copy = new Uint8Array(this.#available);
    let filled = 0;
    for (const [index, chunk] of this.#chunks.entries()) {
      const part = index === 0 ? chunk.subarray(this.#at) : chunk;
      copy.set(part, filled);
      filled += part.length;
    }
    return copy;
  }

  #advance(first: Uint8Array, bytes: number): void {
    this.#available -= bytes;
    this.#at += bytes;
    if (this.#at < first.length) return;
    this.#chunks.shift();
    this.#at = 0;
  }
}
