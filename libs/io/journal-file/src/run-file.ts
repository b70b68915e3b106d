import { assert, type Crc32c } from '@tidemark/base';
import {
  decodeFooter, decodeSections, decodeUpperFences, entryAt, countOf, fenceCrc, firstPageOf, FOOTER_BYTES, type IndexFooter, type IndexPage, JournalError, layoutOf, openPage, PAGE_BYTES,
  PAGE_WORDS, type PageKind, type RunFences, type SegmentSection,
} from '@tidemark/journal';
import type { FileLayer, JournalHandle } from './file-layer.js';

const READ_AHEAD_PAGES = 64;

export interface RunFileParts {
  readonly path: string;
  readonly files: FileLayer;
  readonly crc32c: Crc32c;
}

interface PagesRead {
  readonly kind: PageKind;
  /** Number of the first one. */
  readonly number: number;
  /** That they must have. */
  readonly pageCrcs: readonly number[];
}

/** One index file: pages and fence pages by number; in memory only the fences of the fence pages. */
export class RunFile {
  #uses = 0;
  #isRetired = false;
  /** Something of it did not read back as it was written. */
  isDamaged = false;
  #closing: Promise<void> | undefined;

  private constructor(
    private readonly parts: RunFileParts,
    private readonly handle: JournalHandle,
    readonly footer: IndexFooter,
    readonly upperFences: RunFences,
  ) {}

  get path(): string {
    return this.parts.path;
  }

  get segmentSpan(): number {
    return this.footer.lastSegment - this.footer.firstSegment + 1;
  }

  /** `undefined`: not a whole index file. Throws JOURNAL_CORRUPT when the disk does not give it back, JOURNAL_VERSION when another version wrote it. */
  static async open(parts: RunFileParts): Promise<RunFile | undefined> {
    const handle = await parts.files.open(parts.path, 'readWrite');
    try {
      const fileBytes = await handle.size();
      const bytes = new Uint8Array(FOOTER_BYTES);
      if (fileBytes >= FOOTER_BYTES) await readOrDamaged(handle, bytes, { at: fileBytes - FOOTER_BYTES, path: parts.path, what: 'its footer' });
      const footer = decodeFooter(bytes, fileBytes, parts.crc32c);
      if (footer !== undefined) return new RunFile(parts, handle, footer, await readUpperFences(handle, footer, parts));
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    return undefined;
  }

  /** Throws JOURNAL_CORRUPT when they do not read back. */
  async sections(): Promise<SegmentSection[]> {
    const { sectionsAt } = layoutOf(this.footer);
    const bytes = new Uint8Array(this.footer.sectionsBytes);
    await this.#readFully(bytes, { at: sectionsAt, what: 'its sections' });
    const sections = decodeSections(bytes, this.footer, this.parts.crc32c);
    if (sections === undefined) throw this.#damage('its sections');
    return sections;
  }

  /** Number of the first fence page: they follow the pages. */
  get fencePagesAt(): number {
    return this.footer.pageCount;
  }

  /** Of writes; `pageCrc` as its fence says. Throws JOURNAL_CORRUPT. */
  async page(number: number, pageCrc: number): Promise<IndexPage> {
    const [page] = await this.#read({ kind: 'writes', number, pageCrcs: [pageCrc] });
    assert(page !== undefined, 'the page that was read');
    return page;
  }

  /** Each in memory of its own. Throws JOURNAL_CORRUPT. */
  async fencePages(number: number, count: number): Promise<IndexPage[]> {
    const first = number - this.fencePagesAt;
    const pages = await this.#read({ kind: 'fences', number, pageCrcs: Array.from({ length: count }, (_, i) => this.upperFences.pageCrc(first + i)) });
    if (pages.some((page) => firstPageOf(page) + countOf(page) > this.footer.pageCount)) throw this.#damage(`fence page ${number}`);
    return count === 1 ? pages : pages.map((page) => page.slice());
  }

  /** All pages of writes, in order. */
  async *pages(): AsyncGenerator<IndexPage, void> {
    for (let i = 0; i < this.footer.fencePageCount; i += 1) {
      const [fences] = await this.fencePages(this.fencePagesAt + i, 1);
      assert(fences !== undefined, 'the fence page that was read');
      const pageCrcs = Array.from({ length: countOf(fences) }, (_, at) => fenceCrc(fences, entryAt(at)));
      for (let at = 0; at < pageCrcs.length; at += READ_AHEAD_PAGES) {
        yield* await this.#read({ kind: 'writes', number: firstPageOf(fences) + at, pageCrcs: pageCrcs.slice(at, at + READ_AHEAD_PAGES) });
      }
    }
  }

  async #read({ kind, number, pageCrcs }: PagesRead): Promise<IndexPage[]> {
    const words = new Uint32Array(pageCrcs.length * PAGE_WORDS);
    const what = (page: number): string => `${kind === 'fences' ? 'fence page' : 'page'} ${page}`;
    await this.#readFully(new Uint8Array(words.buffer), { at: number * PAGE_BYTES, what: what(number) });
    const { salt } = this.footer;
    return pageCrcs.map((pageCrc, i) => {
      const page = openPage(words.subarray(i * PAGE_WORDS, (i + 1) * PAGE_WORDS), { salt, number: number + i, crc32c: this.parts.crc32c, kind, pageCrc });
      if (page === undefined) throw this.#damage(what(number + i));
      return page;
    });
  }

  async #readFully(target: Uint8Array, { at, what }: { readonly at: number; readonly what: string }): Promise<void> {
    try {
      await readOrDamaged(this.handle, target, { at, path: this.parts.path, what });
    } catch (error) {
      this.isDamaged = true;
      throw error;
    }
  }

  #damage(what: string): JournalError {
    this.isDamaged = true;
    return damaged(this.parts.path, what);
  }

  acquire(): void {
    this.#uses += 1;
  }

  async release(): Promise<void> {
    this.#uses -= 1;
    await this.#closeWhenIdle();
  }

  /** Nobody will acquire it any more: closed when the last user is done. */
  async retire(): Promise<void> {
    this.#isRetired = true;
    await this.#closeWhenIdle();
  }

  async #closeWhenIdle(): Promise<void> {
    if (!this.#isRetired || this.#uses > 0) return;
    this.#closing ??= this.handle.close();
    await this.#closing;
  }
}

const damaged = (path: string, what: string, cause?: unknown): JournalError => new JournalError('JOURNAL_CORRUPT', `index ${path}: ${what} does not read back as it was written`, { cause });

async function readUpperFences(handle: JournalHandle, footer: IndexFooter, { path, crc32c }: RunFileParts): Promise<RunFences> {
  const { upperFencesAt, upperFencesBytes } = layoutOf(footer);
  const bytes = new Uint8Array(upperFencesBytes);
  await readOrDamaged(handle, bytes, { at: upperFencesAt, path, what: 'its upper fences' });
  const fences = decodeUpperFences(bytes, footer, crc32c);
  if (fences === undefined) throw damaged(path, 'its upper fences');
  return fences;
}

/** A sector that cannot be read is damage like a wrong bit: whatever an index holds is made again from its segments. */
async function readOrDamaged(handle: JournalHandle, target: Uint8Array, { at, path, what }: { readonly at: number; readonly path: string; readonly what: string }): Promise<void> {
  try {
    await handle.readFully(target, at);
  } catch (cause) {
    throw damaged(path, what, cause);
  }
}
