import { assert } from '@tidemark/base';
import { countOf, ENTRY_AT, entryAt, type IndexPage, offsetAt, PAGE_AT, PAGE_ENTRIES, PAGE_WORDS, seqAt, volumeOf } from './index-page.js';

/**
 * Fences: what a page holds at most, and the checksum that it must have, 32 bytes each. Those of the pages stand in fence pages, 127 of one volume each; those of the
 * fence pages (the upper fences) one behind the other. docs/spec/journal-index.md
 */
export const FENCE_AT = {
  firstOffset: 0, // u48
  high: 1, // u16 of firstOffset, u16 volume
  maxEnd: 2, // u64
  minSeqLow: 4, // u32
  seqHigh: 5, // u16 of minSeq, u16 of maxSeq
  maxSeqLow: 6, // u32
  pageCrc: 7, // u32, as the page says
} as const;
export const FENCE_WORDS = 8;
export const FENCE_BYTES = 4 * FENCE_WORDS;
assert(FENCE_AT.pageCrc + 1 === FENCE_WORDS, 'fence layout');
const U16 = 0x1_0000;
const U32 = 0x1_0000_0000;
const NUMBER_MAX = 2 ** 48 - 1;

export interface Fence {
  readonly volume: number;
  readonly firstOffset: number;
  /** Highest end of a write in it. */
  readonly maxEnd: number;
  readonly minSeq: number;
  readonly maxSeq: number;
  /** 0 in memory, where nothing rots. */
  readonly pageCrc: number;
}

export const fenceVolume = (words: Uint32Array, at: number): number => (words[at + FENCE_AT.high] ?? 0) >>> 16;
export const fenceOffset = (words: Uint32Array, at: number): number => (words[at] ?? 0) + ((words[at + FENCE_AT.high] ?? 0) & 0xffff) * U32;
export const fenceEnd = (words: Uint32Array, at: number): number => (words[at + FENCE_AT.maxEnd] ?? 0) + (words[at + FENCE_AT.maxEnd + 1] ?? 0) * U32;
export const fenceMinSeq = (words: Uint32Array, at: number): number => (words[at + FENCE_AT.minSeqLow] ?? 0) + ((words[at + FENCE_AT.seqHigh] ?? 0) & 0xffff) * U32;
export const fenceMaxSeq = (words: Uint32Array, at: number): number => (words[at + FENCE_AT.maxSeqLow] ?? 0) + ((words[at + FENCE_AT.seqHigh] ?? 0) >>> 16) * U32;
export const fenceCrc = (words: Uint32Array, at: number): number => words[at + FENCE_AT.pageCrc] ?? 0;

export function writeFence(words: Uint32Array, at: number, fence: Fence): void {
  assert(fence.firstOffset <= NUMBER_MAX && fence.maxSeq <= NUMBER_MAX, 'offsets and seqs take 48 bits');
  words[at] = fence.firstOffset % U32;
  words[at + FENCE_AT.high] = Math.floor(fence.firstOffset / U32) + fence.volume * U16;
  words[at + FENCE_AT.maxEnd] = fence.maxEnd % U32;
  words[at + FENCE_AT.maxEnd + 1] = Math.floor(fence.maxEnd / U32);
  words[at + FENCE_AT.minSeqLow] = fence.minSeq % U32;
  words[at + FENCE_AT.seqHigh] = Math.floor(fence.minSeq / U32) + Math.floor(fence.maxSeq / U32) * U16;
  words[at + FENCE_AT.maxSeqLow] = fence.maxSeq % U32;
  words[at + FENCE_AT.pageCrc] = fence.pageCrc;
}

export const readFence = (words: Uint32Array, at: number): Fence => ({
  volume: fenceVolume(words, at), firstOffset: fenceOffset(words, at), maxEnd: fenceEnd(words, at), minSeq: fenceMinSeq(words, at), maxSeq: fenceMaxSeq(words, at), pageCrc: fenceCrc(words, at),
});

/** Of a page of writes; on disk it has its checksum by now. */
export function fenceOfPage(page: IndexPage): Fence {
  let [maxEnd, minSeq, maxSeq] = [0, Infinity, 0];
  for (let i = 0; i < countOf(page); i += 1) {
    const at = entryAt(i);
    const seq = seqAt(page, at);
    maxEnd = Math.max(maxEnd, offsetAt(page, at) + (page[at + ENTRY_AT.length] ?? 0));
    minSeq = Math.min(minSeq, seq);
    maxSeq = Math.max(maxSeq, seq);
  }
  return { volume: volumeOf(page), firstOffset: offsetAt(page, entryAt(0)), maxEnd, minSeq, maxSeq, pageCrc: page[PAGE_AT.crc] ?? 0 };
}

/** Of a sealed fence page. */
export function fenceOfFences(page: IndexPage): Fence {
  let [maxEnd, minSeq, maxSeq] = [0, Infinity, 0];
  for (let i = 0; i < countOf(page); i += 1) {
    const at = entryAt(i);
    maxEnd = Math.max(maxEnd, fenceEnd(page, at));
    minSeq = Math.min(minSeq, fenceMinSeq(page, at));
    maxSeq = Math.max(maxSeq, fenceMaxSeq(page, at));
  }
  return { volume: volumeOf(page), firstOffset: fenceOffset(page, entryAt(0)), maxEnd, minSeq, maxSeq, pageCrc: page[PAGE_AT.crc] ?? 0 };
}

/** Number of the page that the first fence of a fence page is of; the others follow. */
export const firstPageOf = (page: IndexPage): number => page[PAGE_AT.firstPage] ?? 0;

/** Calls `visit` for the fences of a fence page whose pages may hold a write of `[start, end)` with afterSeq < seq < beforeSeq, last one first. */
export function visitFences(
  page: IndexPage,
  { start, end, afterSeq, beforeSeq }: { readonly start: number; readonly end: number; readonly afterSeq: number; readonly beforeSeq: number },
  visit: (number: number, fence: Fence) => void,
): void {
  for (let i = countOf(page) - 1; i >= 0; i -= 1) {
    const at = entryAt(i);
    const isWanted = fenceOffset(page, at) < end && fenceEnd(page, at) > start && fenceMinSeq(page, at) < beforeSeq && fenceMaxSeq(page, at) > afterSeq;
    if (isWanted) visit(firstPageOf(page) + i, readFence(page, at));
  }
}

/** Makes the fence pages of a run whose pages come in order, sealed. They themselves are sealed by the caller: their numbers are known when all pages have come. */
export class FencePageWriter {
  readonly pages: IndexPage[] = [];
  pageCount = 0;
  #last: IndexPage | undefined;

  /** `fencesMax`: of a page; fewer than fit only where a test wants many pages. */
  constructor(private readonly fencesMax = PAGE_ENTRIES) {}

  add(page: IndexPage): void {
    const fence = fenceOfPage(page);
    if (this.#last === undefined || volumeOf(this.#last) !== fence.volume || countOf(this.#last) === this.fencesMax) this.#last = this.#begin(fence.volume);
    const count = countOf(this.#last);
    writeFence(this.#last, entryAt(count), fence);
    this.#last[PAGE_AT.count] = count + 1 + fence.volume * U16;
    this.pageCount += 1;
  }

  #begin(volume: number): IndexPage {
    const page = new Uint32Array(PAGE_WORDS);
    page[PAGE_AT.count] = volume * U16;
    page[PAGE_AT.firstPage] = this.pageCount;
    this.pages.push(page);
    return page;
  }
}
