import { ENTRY_WORDS, type IndexPage, offsetAt, PageWriter, seqAt, writeEntry } from './index-page.js';
import { RunFences } from './run-fences.js';

/** A sorted run in memory. */
export interface MemoryRun {
  readonly fences: RunFences;
  readonly pages: readonly IndexPage[];
}

export function runOfPages(pages: readonly IndexPage[]): MemoryRun {
  const fences = new RunFences();
  for (const page of pages) fences.addPage(page);
  return { fences, pages };
}

/** Sorting this many takes some 2 ms, which is what a write that fills a chunk waits at most. */
export const CHUNK_ENTRIES = 8192;
const FIRST_ENTRIES = 64;

/** Writes as they come, in stream order; sorted into a run when full, or in part for a reader. */
export class WriteChunk {
  count = 0;
  #words = new Uint32Array(FIRST_ENTRIES * ENTRY_WORDS);
  #volumes = new Uint16Array(FIRST_ENTRIES);
  /** The last part that was sorted: readers of one checkpoint ask for the same again and again. */
  #sorted: { readonly count: number; readonly run: MemoryRun } | undefined;

  get isFull(): boolean {
    return this.count === CHUNK_ENTRIES;
  }

  add(volume: number, entry: Parameters<typeof writeEntry>[2]): void {
    if (this.count === this.#volumes.length) this.#grow();
    writeEntry(this.#words, this.count * ENTRY_WORDS, entry);
    this.#volumes[this.count] = volume;
    this.count += 1;
  }

  /** The writes below stream position `beforeSeq`, sorted. */
  runBefore(beforeSeq: number): MemoryRun {
    const count = this.#countBefore(beforeSeq);
    if (this.#sorted?.count !== count) this.#sorted = { count, run: this.#sort(count) };
    return this.#sorted.run;
  }

  #countBefore(beforeSeq: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqAt(this.#words, middle * ENTRY_WORDS) < beforeSeq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Stable, so that writes of one offset stay in stream order. */
  #sort(count: number): MemoryRun {
    const keys = new Float64Array(count);
    for (let i = 0; i < count; i += 1) keys[i] = offsetAt(this.#words, i * ENTRY_WORDS);
    const volumes = this.#volumes;
    const order = Uint32Array.from(keys, (_, i) => i);
    order.sort((a, b) => (volumes[a] ?? 0) - (volumes[b] ?? 0) || (keys[a] ?? 0) - (keys[b] ?? 0) || a - b);
    const writer = new PageWriter();
    for (const i of order) writer.add(volumes[i] ?? 0, this.#words, i * ENTRY_WORDS);
    writer.finish();
    return runOfPages(writer.pages);
  }

  #grow(): void {
    const words = new Uint32Array(2 * this.#words.length);
    words.set(this.#words);
    this.#words = words;
    const volumes = new Uint16Array(2 * this.#volumes.length);
    volumes.set(this.#volumes);
    this.#volumes = volumes;
  }
}
