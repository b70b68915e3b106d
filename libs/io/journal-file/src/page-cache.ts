import type { IndexPage } from '@tidemark/journal';
import type { CacheShare } from './read-cache.js';
import type { RunFile } from './run-file.js';

/** Index pages read last, of all runs and views of one journal. */
export class PageCache {
  readonly #ids = new WeakMap<RunFile, number>();
  #lastId = 0;

  constructor(private readonly share: CacheShare<IndexPage>) {}

  get bytes(): number {
    return this.share.bytes;
  }

  get(run: RunFile, number: number): IndexPage | undefined {
    return this.share.get(this.#key(run, number));
  }

  put(run: RunFile, number: number, page: IndexPage): void {
    this.share.put(this.#key(run, number), page);
  }

  clear(): void {
    this.share.clear();
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
