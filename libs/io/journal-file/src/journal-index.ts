import { join } from 'node:path';
import { assert, type Crc32c, MiB } from '@tidemark/base';
import {
  ImageLookup, type ImageWindow, isIndexOf, type IndexPage, JournalError, type MemoryRun, type PageRef, type ScanPlan, type SegmentSection,
  type SegmentSummary, type SegmentWrites, sectionOf,
} from '@tidemark/journal';
import type { FileLayer } from './file-layer.js';
import { lookUp, type Source, takeCached } from './index-sources.js';
import { PageCache } from './page-cache.js';
import type { ReadCache } from './read-cache.js';
import { RunFile } from './run-file.js';
import { isTemporary, type PageSource, type RunToWrite, writeRun } from './run-writer.js';
import type { WindowImage } from './view-volume.js';

const NAME = /^\d{10}-\d{10}\.index$/;
/** So many runs of about one length become one. */
const MERGE_COUNT = 8;
/** A lookup goes on in what was made again; more often than this is not the disk's doing. */
const REPLACED_MAX = 8;
/** Of the cache that all journals share; for all views of one. */
const CACHE_BYTES_MAX = 16 * MiB;

/** What the index needs of the journal that it belongs to. */
export interface IndexedJournal {
  salt(): Uint8Array;
  segments(): readonly SegmentSummary[];
  /** Of sealed segments, and last that of the open one. */
  unindexed(): readonly SegmentWrites[];
  /** The index file of this segment is durable. */
  segmentIndexed(segment: number): void;
  /** Reads sealed segments through once more. Throws JOURNAL_CORRUPT when they are damaged themselves. */
  readAgain(spans: readonly SegmentSummary[]): Promise<readonly SegmentWrites[]>;
  /** There is no index file of these any more: from now on they are among {@link unindexed}. */
  indexLost(writes: readonly SegmentWrites[]): void;
}

interface ReplacedSegment {
  readonly span: SegmentSummary;
  readonly writes: SegmentWrites;
}

export interface JournalIndexParts {
  readonly folder: string;
  readonly files: FileLayer;
  readonly crc32c: Crc32c;
  readonly cache: ReadCache;
  readonly onFailed: (error: unknown) => void;
  /** An index file is damaged; what it said is being made again from the segments. */
  readonly onDamaged: (path: string) => void;
}

const levelOf = (run: RunFile): number => Math.floor(Math.log(run.segmentSpan) / Math.log(MERGE_COUNT) + 1e-9);

/**
 * The index files of one journal: written when a segment is sealed, merged in powers of eight, looked up by views. Derived data: whatever is missing or does
 * not belong to the segments that are there is made again from them.
 */
export class JournalIndex {
  /** Oldest segments first; no two hold the same segment. */
  #runs: RunFile[] = [];
  readonly #sections = new Map<number, { readonly salt: Uint8Array; readonly section: SegmentSection }>();
  readonly #cache: PageCache;
  #journal: IndexedJournal | undefined;
  #work: Promise<void> | undefined;
  #isClosed = false;
  #isDistrusted = false;
  /** Sealed segments when writing failed: it is tried again when there are more. */
  #failedAt: number | undefined;
  #users = 0;

  readonly #replacing = new Map<RunFile, Promise<void>>();
  /** Index files that did not read back as they were written, since the journal was opened. */
  damagedCount = 0;

  constructor(private readonly parts: JournalIndexParts) {
    this.#cache = new PageCache(parts.cache.share(CACHE_BYTES_MAX));
  }

  /** Opens the index files that belong to the segments of `plan`, and removes all others. Throws JOURNAL_VERSION for one of another version, before anything is removed. */
  async find(plan: ScanPlan): Promise<void> {
    const { folder, files } = this.parts;
    const names = await files.list(folder);
    const useless = names.filter(isTemporary);
    const runs: RunFile[] = [];
    try {
      for (const name of names.filter((each) => NAME.test(each))) {
        const run = await this.#readable(join(folder, name), async (path) => await RunFile.open({ path, files, crc32c: this.parts.crc32c }));
        if (run === undefined) useless.push(name);
        else runs.push(run);
      }
    } catch (error) {
      for (const run of runs) await run.retire();
      throw error;
    }
    for (const name of useless) await files.remove(join(folder, name));
    // Of a merge that was killed before its inputs were removed the larger one counts.
    runs.sort((a, b) => b.segmentSpan - a.segmentSpan);
    for (const run of runs) {
      if (await this.#adopt(run, plan)) this.#runs.push(run);
      else await this.#remove(run);
    }
    this.#runs.sort((a, b) => a.footer.firstSegment - b.footer.firstSegment);
  }

  /** `undefined` as well for a file that the disk does not give back: an index that cannot be read must not keep its journal closed. */
  async #readable<T>(path: string, read: (path: string) => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await read(path);
    } catch (error) {
      if (!(error instanceof JournalError) || error.code === 'JOURNAL_VERSION') throw error;
      this.parts.onDamaged(path);
      return undefined;
    }
  }

  async #adopt(run: RunFile, plan: ScanPlan): Promise<boolean> {
    const oldest = plan.segments[0]?.found.segment ?? Infinity;
    const sections = (await this.#readable(run.path, async () => await run.sections()))?.filter(({ segment }) => segment >= oldest);
    if (sections === undefined || sections.length === 0) return false;
    const isSound = sections.every((section) => !this.#sections.has(section.segment) && this.#belongs(section, run.footer.salt, plan));
    if (isSound) for (const section of sections) this.#sections.set(section.segment, { salt: run.footer.salt, section });
    return isSound;
  }

  #belongs(section: SegmentSection, salt: Uint8Array, { segments }: ScanPlan): boolean {
    const i = segments.findIndex(({ found }) => found.segment === section.segment);
    const found = segments[i]?.found;
    const next = segments[i + 1]?.found.header;
    if (found?.header === undefined || next === undefined) return false;
    const { header, fileBytes } = found;
    return salt.every((byte, at) => byte === header.salt[at]) && isIndexOf(section, { header, fileBytes }, next);
  }

  /** An index was taken for the records of a segment, which were not read. */
  hasSpared = false;

  /** What an index file says of this segment, for the scan. */
  section(segment: number): { readonly salt: Uint8Array; readonly section: SegmentSection } | undefined {
    return this.#sections.get(segment);
  }

  /** A segment does not read back as it was written: whoever opens the journal next has to read all of them. Lookups go on until close. */
  async distrust(): Promise<void> {
    if (this.#isDistrusted) return;
    this.#isDistrusted = true;
    await this.#work;
    for (const { path } of this.#runs) await this.parts.files.remove(path);
    await this.parts.files.syncFolder(this.parts.folder);
  }

  /** Nothing found is to be believed after all: the scan reads every segment. */
  async forgetAll(): Promise<void> {
    for (const run of this.#runs.splice(0)) await this.#remove(run);
    this.#sections.clear();
    this.hasSpared = false;
  }

  /** From now on the index follows the journal; nothing is written before {@link kick}. */
  attach(journal: IndexedJournal): void {
    this.#journal = journal;
  }

  /** The scan is over. */
  forgetSections(): void {
    this.#sections.clear();
  }

  /** Starts what is to be done, if anything is. Cheap. */
  kick(): void {
    if (this.#isClosed || this.#work !== undefined || !this.#hasWork()) return;
    // Never rejects. Owned here: close awaits it.
    this.#work = this.#run().finally(() => {
      this.#work = undefined;
    });
  }

  #hasWork(): boolean {
    const journal = this.#journal;
    if (journal === undefined || this.#isDistrusted) return false;
    const sealed = this.#sealed().length;
    if (sealed === this.#failedAt) return false;
    if (sealed > 0) return true;
    return this.#mergeable().length > 0 || (this.#runs[0]?.footer.lastSegment ?? Infinity) < (journal.segments()[0]?.segment ?? 0);
  }

  async #run(): Promise<void> {
    while (!this.#isClosed && this.#hasWork()) {
      const sealed = this.#sealed().length;
      try {
        await this.#removeFreed();
        if (sealed > 0) await this.#writeNext();
        await this.#merge();
        this.#failedAt = undefined;
      } catch (error) {
        const damaged = this.#runs.filter(({ isDamaged }) => isDamaged);
        this.#failedAt = sealed;
        if (damaged.length === 0) this.parts.onFailed(error);
        // Begins when this has ended; owned by #replacing.
        for (const run of damaged) this.#replaced(run).catch(this.parts.onFailed);
        return;
      }
    }
  }

  async #removeFreed(): Promise<void> {
    const oldest = this.#journal?.segments()[0]?.segment ?? 0;
    while ((this.#runs[0]?.footer.lastSegment ?? Infinity) < oldest) {
      const run = this.#runs.shift();
      if (run !== undefined) await this.#remove(run);
    }
  }

  async #writeNext(): Promise<void> {
    const [writes] = this.#sealed();
    if (writes !== undefined) await this.#writeSegment(writes);
  }

  #sealed(): SegmentWrites[] {
    const open = this.#journal?.segments().at(-1)?.segment;
    return (this.#journal?.unindexed() ?? []).filter(({ segment }) => segment !== open);
  }

  /** During the scan: as {@link kick}, waited for. What cannot be written stays in memory. */
  async writeSealed(): Promise<void> {
    try {
      for (const writes of this.#sealed()) await this.#writeSegment(writes);
    } catch (error) {
      this.parts.onFailed(error);
    }
  }

  /** Writes the index of a sealed segment; then what memory holds of it goes. */
  async #writeSegment(writes: SegmentWrites): Promise<void> {
    const journal = this.#journal;
    assert(journal !== undefined, 'attached');
    const span = journal.segments().find(({ segment }) => segment === writes.segment);
    if (span === undefined) return; // freed meanwhile
    const run = await this.#write([sectionOf(span, writes)], writes.runs().map(pagesOf), () => true);
    if (run === undefined) return;
    this.#insert(run);
    journal.segmentIndexed(writes.segment);
  }

  /** The newest eight runs of one length become one, and so on. */
  async #merge(): Promise<void> {
    for (let inputs = this.#mergeable(); inputs.length > 0 && !this.#isClosed; inputs = this.#mergeable()) {
      const oldest = this.#journal?.segments()[0]?.segment ?? 0;
      const isKept = (segment: number): boolean => segment >= oldest;
      const sections: SegmentSection[] = [];
      for (const run of inputs) sections.push(...(await run.sections()).filter(({ segment }) => isKept(segment)));
      const merged = await this.#write(sections, inputs.map((run) => run.pages()), isKept);
      if (merged === undefined) return;
      // Lookups see either the inputs or the merged one.
      this.#runs = this.#runs.filter((run) => !inputs.includes(run));
      this.#insert(merged);
      await Promise.all(inputs.map(async (run) => await run.retire()));
      for (const run of inputs) await this.#remove(run);
    }
  }

  #mergeable(): RunFile[] {
    const newest = this.#runs.slice(-MERGE_COUNT);
    const [first] = newest;
    if (first === undefined || newest.length < MERGE_COUNT) return [];
    return newest.every((run) => levelOf(run) === levelOf(first)) ? newest : [];
  }

  async #write(sections: readonly SegmentSection[], sources: readonly PageSource[], isKept: RunToWrite['isKept'], beforeRename?: () => Promise<boolean>): Promise<RunFile | undefined> {
    const { folder, files, crc32c } = this.parts;
    const salt = this.#journal?.salt();
    assert(salt !== undefined, 'attached');
    const install = beforeRename === undefined ? {} : { beforeRename };
    return await writeRun({ folder, files, crc32c, salt, sections, sources, isKept, ...install, shouldStop: () => this.#isClosed || this.#isDistrusted });
  }

  /** The file that holds this segment; undefined: its index is not written yet. Nothing is compacted without: what is there says what is to be replaced. */
  runOf(segment: number): RunFile | undefined {
    return this.#runs.find(({ footer }) => footer.firstSegment <= segment && segment <= footer.lastSegment);
  }

  /**
   * Segments of `run` become other files: its index is written anew first, then `install` puts them in place, then the new index takes the old one's. False: not
   * done, nothing has changed. Killed between the last two, the next start reads the segments of this run through. Throws what writing gives, and what `install` throws.
   */
  async replaceSegments(run: RunFile, replaced: readonly ReplacedSegment[], install: () => Promise<boolean>): Promise<boolean> {
    try {
      return await this.#exclusively(async () => await this.#replaceSegments(run, replaced, install));
    } catch (error) {
      // Compacting it fails as long as it is there.
      if (run.isDamaged) await this.#replaced(run);
      throw error;
    }
  }

  async #replaceSegments(run: RunFile, replaced: readonly ReplacedSegment[], install: () => Promise<boolean>): Promise<boolean> {
    if (!this.#runs.includes(run) || this.#isClosed || this.#isDistrusted) return false;
    const oldest = this.#journal?.segments()[0]?.segment ?? 0;
    const bySegment = new Map(replaced.map((each) => [each.span.segment, each]));
    const sections = (await run.sections()).filter(({ segment }) => segment >= oldest).map((section) => {
      const found = bySegment.get(section.segment);
      return found === undefined ? section : sectionOf(found.span, found.writes);
    });
    const added = replaced.flatMap(({ writes }) => writes.runs().map(pagesOf));
    const isKept = (segment: number, source: number): boolean => source > 0 || (segment >= oldest && !bySegment.has(segment));
    const written = await this.#write(sections, [run.pages(), ...added], isKept, install);
    if (written === undefined) return false;
    this.#runs = this.#runs.filter((each) => each !== run);
    this.#insert(written);
    await run.retire();
    if (written.path !== run.path) await this.parts.files.remove(run.path);
    return true;
  }

  /** Alone with the index files. */
  async #exclusively<T>(act: () => Promise<T>): Promise<T> {
    while (this.#work !== undefined) await this.#work;
    const acting = act();
    this.#work = acting.then(() => undefined, () => undefined).finally(() => {
      this.#work = undefined;
    });
    try {
      return await acting;
    } finally {
      await this.#work;
      this.kick();
    }
  }

  #insert(run: RunFile): void {
    this.#runs.push(run);
    this.#runs.sort((a, b) => a.footer.firstSegment - b.footer.firstSegment);
  }

  async #remove(run: RunFile): Promise<void> {
    await run.retire();
    await this.parts.files.remove(run.path);
  }

  /** To be called before the first lookup of a view, and {@link leave} after its last. */
  enter(): void {
    this.#users += 1;
  }

  leave(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#cache.clear();
  }

  /** Of upper fences, cached pages, and what is not on disk yet: all views of the journal share it. */
  get memoryBytes(): number {
    const fences = this.#runs.reduce((sum, run) => sum + run.upperFences.memoryBytes, 0);
    return fences + this.#cache.bytes + (this.#journal?.unindexed() ?? []).reduce((sum, writes) => sum + writes.memoryBytes, 0);
  }

  /** Index files, for people and tests. */
  get runs(): readonly { readonly firstSegment: number; readonly lastSegment: number; readonly entryCount: number }[] {
    return this.#runs.map(({ footer }) => footer);
  }

  /** Only between `enter` and `leave`. Throws JOURNAL_CORRUPT or what reading gives. */
  image(window: ImageWindow): WindowImage | Promise<WindowImage> {
    const sources = this.#sources(window.beforeSeq);
    const lookup = new ImageLookup(sources, window);
    const missing = takeCached(lookup, sources, this.#cache);
    return missing.length === 0 ? { image: lookup.image, end: lookup.end } : this.#lookUpWhole(window, { lookup, sources, missing });
  }

  /** What is damaged on the way is made again from the segments, and everything looked up anew. */
  async #lookUpWhole(window: ImageWindow, first: { readonly lookup: ImageLookup; readonly sources: readonly Source[]; readonly missing: readonly PageRef[] }): Promise<WindowImage> {
    let { lookup, sources, missing } = first;
    for (let replaced = 0; ; replaced += 1) {
      try {
        await lookUp(lookup, { sources, firstMissing: missing, cache: this.#cache });
        return { image: lookup.image, end: lookup.end };
      } catch (error) {
        const damaged = sources.flatMap(({ file }) => (file?.isDamaged === true ? [file] : []));
        if (damaged.length === 0 || replaced === REPLACED_MAX) throw error;
        for (const run of damaged) await this.#replaced(run);
        sources = this.#sources(window.beforeSeq);
        lookup = new ImageLookup(sources, window);
        missing = takeCached(lookup, sources, this.#cache);
      }
    }
  }

  /** Memory holds what this damaged file said, and it is gone. Throws JOURNAL_CORRUPT when its segments are damaged too. */
  async #replaced(run: RunFile): Promise<void> {
    const replacing = this.#replacing.get(run) ?? this.#replace(run);
    this.#replacing.set(run, replacing);
    // One that failed stays: its segments are not read through for every read of a guest.
    await replacing;
    this.#replacing.delete(run);
  }

  async #replace(run: RunFile): Promise<void> {
    const { onDamaged, files, folder } = this.parts;
    const journal = this.#journal;
    assert(journal !== undefined, 'attached');
    await this.#exclusively(async () => {
      if (!this.#runs.includes(run)) return;
      this.damagedCount += 1;
      onDamaged(run.path);
      const { firstSegment, lastSegment } = run.footer;
      const spans = journal.segments().filter(({ segment }) => segment >= firstSegment && segment <= lastSegment);
      const writes = await journal.readAgain(spans);
      // Before anything can be written under its name. Killed behind this, the next start reads the segments.
      await files.remove(run.path);
      await files.syncFolder(folder);
      // In one step for those who look up.
      this.#runs = this.#runs.filter((each) => each !== run);
      journal.indexLost(writes);
      await run.retire();
    });
  }

  #sources(beforeSeq: number): Source[] {
    const files = this.#runs.map((file) => ({ file, fences: file.upperFences, fencePagesAt: file.fencePagesAt, pages: [] }));
    const memory = (this.#journal?.unindexed() ?? []).flatMap((writes) => writes.runs(beforeSeq));
    return [...files, ...memory.map(({ fences, pages }) => ({ file: undefined, fences, fencePagesAt: undefined, pages }))];
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#replacing.values());
    await this.#work;
    for (const run of this.#runs.splice(0)) await run.retire();
  }
}

function* pagesOf({ pages }: MemoryRun): Generator<IndexPage, void> {
  yield* pages;
}
