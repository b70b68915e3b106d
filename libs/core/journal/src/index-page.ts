import { assert, type Crc32c } from '@tidemark/base';

/**
 * Pages of the index: writes of one volume in order of (offset, seq), 32 bytes each. docs/spec/journal-index.md. Held as 32-bit words, in memory as on disk,
 * so that a merge copies eight words an entry; that needs a little-endian host.
 */
export const PAGE_BYTES = 4096;
export const PAGE_WORDS = PAGE_BYTES / 4;
export const PAGE_AT = {
  crc: 0, // u32, CRC-32C of bytes 4..4095
  magic: 1, // u32
  page: 2, // u32, from 0
  count: 3, // u16 entries, u16 volume
  salt: 4, // 8 bytes, that of the journal
  firstPage: 6, // u32, of a fence page; else 0
  reserved: 7, // 4 zero bytes
} as const;
const HEADER_WORDS = 8;
export const ENTRY_WORDS = 8;
export const ENTRY_AT = {
  offsetLow: 0, // u48 with the low half of the next word
  high: 1,
  seqLow: 2, // u48 with the high half of the word before
  length: 3, // bytes of volume
  segment: 4,
  at: 5, // of the frame's record in its segment
  payloadAt: 6, // in the decompressed body; 0: zeroes; top bit: the frame is compressed
  payloadCrc: 7, // CRC-32C of the payload; 0 when the frame is compressed
} as const;
export const PAGE_ENTRIES = (PAGE_WORDS - HEADER_WORDS) / ENTRY_WORDS;
assert(PAGE_ENTRIES === 127, 'index page layout');
export const PAGE_MAGIC = 0x504a4454; // 'TDJP'
export const FENCE_PAGE_MAGIC = 0x464a4454; // 'TDJF'
/** Pages of writes, and pages of their fences. */
export type PageKind = 'writes' | 'fences';
const MAGIC: Record<PageKind, number> = { writes: PAGE_MAGIC, fences: FENCE_PAGE_MAGIC };
/** In `payloadAt`. */
export const PACKED_BIT = 0x8000_0000;
const U16 = 0x1_0000;
const U32 = 0x1_0000_0000;
/** Offsets and seqs take 48 bits. */
export const INDEX_NUMBER_MAX = 2 ** 48 - 1;

assert(new Uint8Array(Uint32Array.of(1).buffer)[0] === 1, 'the index needs a little-endian host');

export type IndexPage = Uint32Array;

export const countOf = (page: IndexPage): number => (page[PAGE_AT.count] ?? 0) & 0xffff;
export const volumeOf = (page: IndexPage): number => (page[PAGE_AT.count] ?? 0) >>> 16;
/** Word at which entry `i` of a page starts. */
export const entryAt = (i: number): number => HEADER_WORDS + i * ENTRY_WORDS;
export const offsetAt = (words: Uint32Array, at: number): number => (words[at] ?? 0) + ((words[at + ENTRY_AT.high] ?? 0) & 0xffff) * U32;
export const seqAt = (words: Uint32Array, at: number): number => ((words[at + ENTRY_AT.high] ?? 0) >>> 16) * U32 + (words[at + ENTRY_AT.seqLow] ?? 0);

export function writeEntry(words: Uint32Array, at: number, entry: {
  readonly offset: number; readonly seq: number; readonly length: number; readonly segment: number; readonly at: number; readonly payloadAt: number; readonly payloadCrc: number;
}): void {
  const { offset, seq } = entry;
  words[at + ENTRY_AT.offsetLow] = offset % U32;
  words[at + ENTRY_AT.high] = Math.floor(offset / U32) + Math.floor(seq / U32) * U16;
  words[at + ENTRY_AT.seqLow] = seq % U32;
  words[at + ENTRY_AT.length] = entry.length;
  words[at + ENTRY_AT.segment] = entry.segment;
  words[at + ENTRY_AT.at] = entry.at;
  words[at + ENTRY_AT.payloadAt] = entry.payloadAt;
  words[at + ENTRY_AT.payloadCrc] = entry.payloadCrc;
}

export const bytesOfPage = (page: IndexPage): Uint8Array => new Uint8Array(page.buffer, page.byteOffset, page.byteLength);

interface PagePlace {
  readonly salt: Uint8Array;
  readonly number: number;
  readonly crc32c: Crc32c;
  /** Without it: writes. */
  readonly kind?: PageKind;
}

/** Fills in what a page on disk carries besides its entries. */
export function sealPage(page: IndexPage, { salt, number, crc32c, kind = 'writes' }: PagePlace): void {
  page[PAGE_AT.magic] = MAGIC[kind];
  page[PAGE_AT.page] = number;
  bytesOfPage(page).set(salt, PAGE_AT.salt * 4);
  page[PAGE_AT.crc] = crc32c(bytesOfPage(page).subarray(4));
}

/** A page read back; `undefined` for bytes that are not page `number` of an index of this journal, or not the one that has the checksum `pageCrc`. */
export function openPage(page: IndexPage, { salt, number, crc32c, kind = 'writes', pageCrc }: PagePlace & { readonly pageCrc: number }): IndexPage | undefined {
  const bytes = bytesOfPage(page);
  if (bytes.byteLength !== PAGE_BYTES || page[PAGE_AT.crc] !== pageCrc || crc32c(bytes.subarray(4)) !== pageCrc) return undefined;
  if (page[PAGE_AT.magic] !== MAGIC[kind] || page[PAGE_AT.page] !== number || countOf(page) === 0 || countOf(page) > PAGE_ENTRIES) return undefined;
  return salt.every((byte, i) => bytes[PAGE_AT.salt * 4 + i] === byte) ? page : undefined;
}

/** Entries in order, cut into pages; a page holds one volume. */
export class PageWriter {
  /** Full pages, to be taken by the caller. */
  readonly pages: IndexPage[] = [];
  #page: IndexPage | undefined;
  #volume = 0;
  #count = 0;

  /** Copies the entry at word `at`. */
  add(volume: number, words: Uint32Array, at: number): void {
    if (this.#page === undefined || this.#volume !== volume || this.#count === PAGE_ENTRIES) this.#begin(volume);
    const page = this.#page;
    assert(page !== undefined, 'a page was begun');
    const to = entryAt(this.#count);
    for (let i = 0; i < ENTRY_WORDS; i += 1) page[to + i] = words[at + i] ?? 0;
    this.#count += 1;
  }

  finish(): void {
    const page = this.#page;
    if (page === undefined) return;
    page[PAGE_AT.count] = this.#count + this.#volume * U16;
    this.pages.push(page);
    this.#page = undefined;
    this.#count = 0;
  }

  #begin(volume: number): void {
    this.finish();
    this.#page = new Uint32Array(PAGE_WORDS);
    this.#volume = volume;
  }
}
