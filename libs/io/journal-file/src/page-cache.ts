import { assert } from '@tidemark/base';
import { type IndexPage, PAGE_BYTES, type PageRef } from '@tidemark/journal';
import type { CacheShare } from './read-cache.js';
import type { RunFile } from './run-file.js';

/** Fence pages read at once (256 KiB): after a few reads of a view those of 10^7 writes are here, so that a lookup costs one read of the disk and not two. */
const AHEAD_PAGES = 64;

/** Index pages read last, of all runs and views of one journal. */
export class PageCache {
  readonly #ids = new WeakMap<RunFile, number>();
  #lastId = 0;
  /** By key of the first one. */
  readonly #ahead = new Map<string, Promise<readonly IndexPage[]>>();

  constructor(private readonly share: CacheShare<IndexPage>) {}

  get bytes(): number {
    return this.share.bytes;
  }

  get(run: RunFile, number: number): IndexPage | undefined {
    return this.share.get(this.#key(run, number));
  }

  /** Throws JOURNAL_CORRUPT. */
  async read(run: RunFile, { page: number, pageCrc, isFences }: PageRef): Promise<IndexPage> {
    if (isFences) return await this.#readFences(run, number);
    const page = await run.page(number, pageCrc);
    this.share.put(this.#key(run, number), page);
    return page;
  }

  async #readFences(run: RunFile, number: number): Promise<IndexPage> {
    const at = number - run.fencePagesAt;
    const first = number - (at % AHEAD_PAGES);
    const pages = await (this.#ahead.get(this.#key(run, first)) ?? this.#readAhead(run, first));
    const page = pages === undefined ? (await run.fencePages(number, 1))[0] : pages[number - first];
    assert(page !== undefined, 'the fence page that was read');
    if (pages === undefined) this.share.put(this.#key(run, number), page);
    return page;
  }

  /** Only into room that nobody uses: `undefined` when there is none. What is being read counts as held. */
  #readAhead(run: RunFile, first: number): Promise<readonly IndexPage[]> | undefined {
    const count = Math.min(AHEAD_PAGES, run.fencePagesAt + run.footer.fencePageCount - first);
    if (!this.share.reserve(count * PAGE_BYTES)) return undefined;
    const key = this.#key(run, first);
    const reading = this.#fill(run, { first, count }).finally(() => this.#ahead.delete(key));
    this.#ahead.set(key, reading);
    return reading;
  }

  async #fill(run: RunFile, { first, count }: { readonly first: number; readonly count: number }): Promise<readonly IndexPage[]> {
    try {
      const pages = await run.fencePages(first, count);
      this.share.release(count * PAGE_BYTES);
      pages.forEach((page, i) => this.share.put(this.#key(run, first + i), page));
      return pages;
    } catch (error) {
      this.share.release(count * PAGE_BYTES);
      throw error;
    }
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
