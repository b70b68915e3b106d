import { basename, dirname, join } from 'node:path';
import { assert, type Crc32c, MiB } from '@tidemark/base';
import {
  encodeFooter, encodeSections, FencePageWriter, type IndexPage, PAGE_BYTES, RunFences, RunMerger, sealPage, type SegmentSection,
} from '@tidemark/journal';
import type { FileLayer, JournalHandle } from './file-layer.js';
import { RunFile } from './run-file.js';

/** Entries moved without giving way: some 0.5 ms. */
const ENTRIES_STEP = 2048;
/** Pages of one write, and fence pages made without giving way. */
const PAGES_STEP = 64;
/** Synced as it grows, so that one large sync does not keep journals of the same disk waiting. */
const SYNC_BYTES = 8 * MiB;

export type PageSource = AsyncGenerator<IndexPage, void> | Generator<IndexPage, void>;

export interface RunToWrite {
  readonly folder: string;
  readonly files: FileLayer;
  readonly crc32c: Crc32c;
  readonly salt: Uint8Array;
  readonly sections: readonly SegmentSection[];
  readonly sources: readonly PageSource[];
  /** `source`: index of the one that the entry is of. */
  readonly isKept: (segment: number, source: number) => boolean;
  /** What has to be in place before the file is: called when it is whole and durable under its other name. False: it is not to be. */
  readonly beforeRename?: () => Promise<boolean>;
  readonly shouldStop: () => boolean;
}

const numbered = (segment: number): string => String(segment).padStart(10, '0');
export const runName = (first: number, last: number): string => `${numbered(first)}-${numbered(last)}.index`;
const TEMPORARY = '.temp';
export const isTemporary = (name: string): boolean => name.endsWith(`.index${TEMPORARY}`);

/**
 * Merges sorted runs into an index file: written under another name, synced, renamed, its folder synced. Killed before the rename it leaves a file that the next
 * start removes, afterwards a whole one. Undefined: stopped on the way.
 */
export async function writeRun(options: RunToWrite): Promise<RunFile | undefined> {
  const { files, sections, folder, crc32c } = options;
  const first = sections[0]?.segment;
  const last = sections.at(-1)?.segment;
  assert(first !== undefined && last !== undefined, 'a run of some segments');
  const path = join(folder, runName(first, last));
  const temporary = path + TEMPORARY;
  const handle = await files.open(temporary, 'create');
  let isWhole: boolean;
  try {
    isWhole = await fill(handle, options, { first, last });
  } finally {
    await handle.close();
  }
  if (!isWhole || (await options.beforeRename?.()) === false) {
    await files.remove(temporary);
    return undefined;
  }
  await files.rename(temporary, path);
  await files.syncFolder(dirname(path));
  const run = await RunFile.open({ path, files, crc32c });
  assert(run !== undefined, `${basename(path)} is whole: it was just written`);
  return run;
}

/** False: stopped on the way. */
async function fill(handle: JournalHandle, options: RunToWrite, { first, last }: { readonly first: number; readonly last: number }): Promise<boolean> {
  const { salt, crc32c, sections } = options;
  const out = new Output(handle);
  const merger = new RunMerger(options.sources.length, options.isKept);
  const fences = new FencePageWriter();
  while (!merger.isDone) {
    await bringPages(merger, options.sources);
    merger.step(ENTRIES_STEP);
    for (const page of merger.takePages()) {
      sealPage(page, { salt, number: fences.pageCount, crc32c });
      fences.add(page);
      await out.add(new Uint8Array(page.buffer, page.byteOffset, PAGE_BYTES));
    }
    await options.files.giveWay();
    if (options.shouldStop()) return false;
  }
  const upperFences = (await addFences(out, fences, options)).encode();
  await out.add(upperFences);
  const sectionBytes = encodeSections(sections);
  await out.add(sectionBytes);
  await out.add(encodeFooter({
    firstSegment: first, lastSegment: last, segmentCount: sections.length, salt, pageCount: fences.pageCount, fencePageCount: fences.pages.length, upperFencesCrc: crc32c(upperFences),
    sectionsBytes: sectionBytes.byteLength, sectionsCrc: crc32c(sectionBytes), entryCount: merger.entryCount,
  }, crc32c));
  await out.finish();
  return true;
}

/** Gives their own fences back. */
async function addFences(out: Output, fences: FencePageWriter, { salt, crc32c, files }: RunToWrite): Promise<RunFences> {
  const upperFences = new RunFences(fences.pages.length);
  for (const [i, page] of fences.pages.entries()) {
    sealPage(page, { salt, number: fences.pageCount + i, crc32c, kind: 'fences' });
    upperFences.addFencePage(page);
    await out.add(new Uint8Array(page.buffer, page.byteOffset, PAGE_BYTES));
    if (i % PAGES_STEP === 0) await files.giveWay();
  }
  return upperFences;
}

async function bringPages(merger: RunMerger, sources: readonly PageSource[]): Promise<void> {
  for (let input = merger.wanted; input !== undefined; input = merger.wanted) {
    const next = await sources[input]?.next();
    merger.give(input, next === undefined || next.done === true ? undefined : next.value);
  }
}

/** Chunks gathered into larger writes. */
class Output {
  #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #at = 0;
  #syncedAt = 0;

  constructor(private readonly handle: JournalHandle) {}

  async add(chunk: Uint8Array): Promise<void> {
    if (chunk.byteLength === 0) return;
    this.#chunks.push(chunk);
    this.#waitingBytes += chunk.byteLength;
    if (this.#waitingBytes >= PAGES_STEP * PAGE_BYTES) await this.#write();
    if (this.#at - this.#syncedAt < SYNC_BYTES) return;
    await this.handle.dataSync();
    this.#syncedAt = this.#at;
  }

  async finish(): Promise<void> {
    await this.#write();
    await this.handle.dataSync();
  }

  async #write(): Promise<void> {
    const chunks = this.#chunks;
    const at = this.#at;
    this.#chunks = [];
    this.#at += this.#waitingBytes;
    this.#waitingBytes = 0;
    if (chunks.length > 0) await this.handle.writeAll(chunks, at);
  }
}
