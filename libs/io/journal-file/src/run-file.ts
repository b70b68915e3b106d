import type { Crc32c } from '@tidemark/base';
import {
  decodeFooter, decodeSections, FENCE_BYTES, FOOTER_BYTES, type IndexFooter, type IndexPage, JournalError, layoutOf, openPage, PAGE_BYTES, PAGE_WORDS, RunFences,
  type SegmentSection,
} from '@tidemark/journal';
import type { FileLayer, JournalHandle } from './file-layer.js';

/** Fences decoded without giving way: some 1 ms. */
const FENCES_STEP = 2048;
const READ_AHEAD_PAGES = 64;

export interface RunFileParts {
  readonly path: string;
  readonly files: FileLayer;
  readonly crc32c: Crc32c;
}

/** One index file: pages by number, fences while somebody looks things up. */
export class RunFile {
  #uses = 0;
  #isRetired = false;
  /** Something of it did not read back as it was written. */
  isDamaged = false;
  #closing: Promise<void> | undefined;
  #fences: RunFences | undefined;
  #loading: Promise<RunFences> | undefined;

  private constructor(
    private readonly parts: RunFileParts,
    private readonly handle: JournalHandle,
    readonly footer: IndexFooter,
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
      if (footer !== undefined) return new RunFile(parts, handle, footer);
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

  get fences(): RunFences | undefined {
    return this.#fences;
  }

  /** Known already, to the one who wrote the file. */
  keepFences(fences: RunFences): void {
    this.#fences = fences;
  }

  dropFences(): void {
    this.#fences = undefined;
  }

  /** Throws JOURNAL_CORRUPT. */
  async loadFences(): Promise<RunFences> {
    if (this.#fences !== undefined) return this.#fences;
    this.#loading ??= this.#readFences();
    try {
      this.#fences = await this.#loading;
    } finally {
      this.#loading = undefined;
    }
    return this.#fences;
  }

  async #readFences(): Promise<RunFences> {
    const { fencesAt, fencesBytes } = layoutOf(this.footer);
    const bytes = new Uint8Array(fencesBytes);
    await this.#readFully(bytes, { at: fencesAt, what: 'its fences' });
    if (this.parts.crc32c(bytes) !== this.footer.fencesCrc) throw this.#damage('its fences');
    const fences = new RunFences(this.footer.pageCount);
    for (let at = 0; at < bytes.byteLength; at += FENCES_STEP * FENCE_BYTES) {
      if (!fences.addEncoded(bytes.subarray(at, at + FENCES_STEP * FENCE_BYTES))) throw this.#damage('its fences');
      await this.parts.files.giveWay();
    }
    return fences;
  }

  /** Throws JOURNAL_CORRUPT. */
  async page(number: number): Promise<IndexPage> {
    const [page] = await this.#read(number, 1);
    if (page === undefined) throw this.#damage(`page ${number}`);
    return page;
  }

  /** All pages, in order. */
  async *pages(): AsyncGenerator<IndexPage, void> {
    for (let number = 0; number < this.footer.pageCount; number += READ_AHEAD_PAGES) {
      yield* await this.#read(number, Math.min(READ_AHEAD_PAGES, this.footer.pageCount - number));
    }
  }

  async #read(number: number, count: number): Promise<IndexPage[]> {
    const words = new Uint32Array(count * PAGE_WORDS);
    await this.#readFully(new Uint8Array(words.buffer), { at: number * PAGE_BYTES, what: `page ${number}` });
    const { salt } = this.footer;
    return Array.from({ length: count }, (_, i) => {
      const page = openPage(words.subarray(i * PAGE_WORDS, (i + 1) * PAGE_WORDS), { salt, number: number + i, crc32c: this.parts.crc32c });
      if (page === undefined) throw this.#damage(`page ${number + i}`);
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

/** A sector that cannot be read is damage like a wrong bit: whatever an index holds is made again from its segments. */
async function readOrDamaged(handle: JournalHandle, target: Uint8Array, { at, path, what }: { readonly at: number; readonly path: string; readonly what: string }): Promise<void> {
  try {
    await handle.readFully(target, at);
  } catch (cause) {
    throw damaged(path, what, cause);
  }
}
