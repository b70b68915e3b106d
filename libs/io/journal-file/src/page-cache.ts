import { type IndexPage, PAGE_BYTES } from '@tidemark/journal';
import type { RunFile } from './run-file.js';

/** Index pages read last, of all runs and views of one journal. */
export class PageCache {
  /** Least recently used first. */
  readonly #pages = new Map<string, IndexPage>();
  readonly #ids = new WeakMap<RunFile, number>();
  #lastId = 0;

  constructor(private readonly bytesMax: number) {}

  get bytes(): number {
    return this.#pages.size * PAGE_BYTES;
  }

  get(run: RunFile, number: number): IndexPage | undefined {
    const key = this.#key(run, number);
    const page = this.#pages.get(key);
    if (page === undefined) return undefined;
    this.#pages.delete(key);
    this.#pages.set(key, page);
    return page;
  }

  put(run: RunFile, number: number, page: IndexPage): void {
    this.#pages.set(this.#key(run, number), page);
    for (const [key] of this.#pages) {
      if (this.bytes <= this.bytesMax) return;
      this.#pages.delete(key);
    }
  }

  clear(): void {
    this.#pages.clear();
  }

  #key(run: RunFile, number: number): string {
    let id = this.#ids.get(run);
    if (id === undefined) {
      this.#lastId += 1;
      id = this.#lastId;
      this.#ids.set(run, id);
    }
    return `${id}:${number}`;
  }
}
