import { assert, BLOCK_BYTES } from '@tidemark/base';
import type { Extent } from './extent.js';

const WORD_BITS = 32;
const ALL_DIRTY = 0xffff_ffff;
/** Words of one chunk: 4 KiB of memory for 128 MiB of volume. */
const CHUNK_WORDS = 1024;
const CHUNK_BLOCKS = CHUNK_WORDS * WORD_BITS;

/**
 * Which 4 KiB blocks of a volume may differ from the other side. Always a superset of what was written: marking rounds
 * outwards, clearing rounds inwards. Chunks that are all clean or all dirty take no memory, so an idle volume of 100 GiB takes 10 KiB instead of
 * 3.2 MiB, and 1500 of them fit into one VRA; at most 32 KiB per GiB of volume.
 */
export class DirtyBitmap {
  /** Words of the chunks that are neither clean nor dirty as a whole. */
  readonly #chunks: (Uint32Array | undefined)[];
  /** Dirty blocks of each chunk. */
  readonly #counts: Uint32Array;
  readonly #blockCount: number;
  #dirtyBlocks = 0;

  /** A clean bitmap for a volume of `sizeBytes`. */
  constructor(readonly sizeBytes: number) {
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0, 'volume size');
    this.#blockCount = Math.ceil(sizeBytes / BLOCK_BYTES);
    this.#counts = new Uint32Array(Math.ceil(this.#blockCount / CHUNK_BLOCKS));
    this.#chunks = new Array<Uint32Array | undefined>(this.#counts.length).fill(undefined);
  }

  get dirtyBlocks(): number {
    return this.#dirtyBlocks;
  }

  /** Bytes that a walk over all dirty runs visits; the volume's last block counts only as far as it goes. */
  get dirtyBytes(): number {
    const tailBytes = this.#blockCount * BLOCK_BYTES - this.sizeBytes;
    const isTailDirty = tailBytes > 0 && this.#isBlockDirty(this.#blockCount - 1);
    return this.#dirtyBlocks * BLOCK_BYTES - (isTailDirty ? tailBytes : 0);
  }

  get isClean(): boolean {
    return this.#dirtyBlocks === 0;
  }

  /** Marks every block that `[start, end)` touches. */
  mark(start: number, end: number): void {
    this.#assertInside(start, end);
    if (start < end) this.#setBlocks(Math.floor(start / BLOCK_BYTES), Math.ceil(end / BLOCK_BYTES), true);
  }

  markAll(): void {
    this.#setBlocks(0, this.#blockCount, true);
  }

  /** Clears the blocks that lie wholly in `[start, end)`; the volume's last block may be a short one. */
  clear(start: number, end: number): void {
    this.#assertInside(start, end);
    const endBlock = end === this.sizeBytes ? this.#blockCount : Math.floor(end / BLOCK_BYTES);
    const startBlock = Math.ceil(start / BLOCK_BYTES);
    if (startBlock < endBlock) this.#setBlocks(startBlock, endBlock, false);
  }

  clearAll(): void {
    this.#setBlocks(0, this.#blockCount, false);
  }

  /** True if `[start, end)` touches a dirty block. */
  hasAny(start: number, end: number): boolean {
    return this.nextRun(start, end) !== undefined;
  }

  /** True if every block that `[start, end)` touches is dirty. */
  hasAll(start: number, end: number): boolean {
    this.#assertInside(start, end);
    return start >= end || this.#seek(Math.floor(start / BLOCK_BYTES), Math.ceil(end / BLOCK_BYTES), false) * BLOCK_BYTES >= end;
  }

  /**
   * The first run of dirty bytes in `[from, until)`, whole blocks cut to that range; at most `bytesMax` long.
   * `undefined` when the rest is clean. Cost: one pass over 32 blocks per step.
   */
  nextRun(from: number, until: number = this.sizeBytes, bytesMax = Infinity): Extent | undefined {
    this.#assertInside(from, until);
    const blockLimit = Math.ceil(until / BLOCK_BYTES);
    const startBlock = this.#seek(Math.floor(from / BLOCK_BYTES), blockLimit, true);
    const start = Math.max(from, startBlock * BLOCK_BYTES);
    if (start >= until) return undefined;
    const seekLimit = Math.min(blockLimit, startBlock + Math.ceil(bytesMax / BLOCK_BYTES) + 1);
    const endBlock = this.#seek(startBlock, seekLimit, false);
    return { start, end: Math.min(until, endBlock * BLOCK_BYTES, start + bytesMax) };
  }

  /** Marks everything that `other` (of the same size) marks. */
  union(other: DirtyBitmap): void {
    assert(other.sizeBytes === this.sizeBytes, 'bitmaps of volumes of different sizes');
    for (let chunk = 0; chunk < this.#counts.length; chunk += 1) {
      const theirs = other.#chunks[chunk];
      if (theirs === undefined) {
        if (other.#counts[chunk] !== 0) this.#setBlocks(chunk * CHUNK_BLOCKS, chunk * CHUNK_BLOCKS + this.#blocksOf(chunk), true);
        continue;
      }
      if (this.#isUniform(chunk, true)) continue;
      const words = this.#wordsOf(chunk);
      let change = 0;
      for (let i = 0; i < CHUNK_WORDS; i += 1) {
        const before = words[i] ?? 0;
        const after = (before | (theirs[i] ?? 0)) >>> 0;
        words[i] = after;
        change += bitCount(after) - bitCount(before);
      }
      this.#changed(chunk, change);
    }
  }

  #assertInside(start: number, end: number): void {
    assert(start >= 0 && end <= this.sizeBytes, 'extent outside the volume');
  }

  #isBlockDirty(block: number): boolean {
    return this.#seek(block, block + 1, true) === block;
  }

  #blocksOf(chunk: number): number {
    return Math.min(CHUNK_BLOCKS, this.#blockCount - chunk * CHUNK_BLOCKS);
  }

  /** True if the whole chunk has that state. */
  #isUniform(chunk: number, isDirty: boolean): boolean {
    return this.#counts[chunk] === (isDirty ? this.#blocksOf(chunk) : 0);
  }

  /** The words of a chunk, made when it has none. */
  #wordsOf(chunk: number): Uint32Array {
    const known = this.#chunks[chunk];
    if (known !== undefined) return known;
    const words = new Uint32Array(CHUNK_WORDS);
    if (this.#counts[chunk] !== 0) setBits(words, 0, this.#blocksOf(chunk), true);
    this.#chunks[chunk] = words;
    return words;
  }

  #changed(chunk: number, change: number): void {
    this.#counts[chunk] = (this.#counts[chunk] ?? 0) + change;
    this.#dirtyBlocks += change;
    if (this.#isUniform(chunk, false) || this.#isUniform(chunk, true)) this.#chunks[chunk] = undefined;
  }

  #setBlocks(startBlock: number, endBlock: number, isDirty: boolean): void {
    for (let block = startBlock; block < endBlock; ) {
      const chunk = Math.floor(block / CHUNK_BLOCKS);
      const first = chunk * CHUNK_BLOCKS;
      const until = Math.min(endBlock, first + this.#blocksOf(chunk));
      if (!this.#isUniform(chunk, isDirty)) {
        const isWhole = until - block === this.#blocksOf(chunk);
        const change = isWhole ? (isDirty ? this.#blocksOf(chunk) : 0) - (this.#counts[chunk] ?? 0) : setBits(this.#wordsOf(chunk), block - first, until - first, isDirty);
        this.#changed(chunk, change);
      }
      block = until;
    }
  }

  /** First block in `[block, limit)` with the state wanted, else `limit`. Skips whole chunks, then 32 blocks of the other state at once. */
  #seek(block: number, limit: number, isDirty: boolean): number {
    let at = block;
    while (at < limit) {
      const chunk = Math.floor(at / CHUNK_BLOCKS);
      const words = this.#chunks[chunk];
      if (words === undefined) {
        if ((this.#counts[chunk] !== 0) === isDirty) return at;
        at = (chunk + 1) * CHUNK_BLOCKS;
        continue;
      }
      const word = words[(at >>> 5) & (CHUNK_WORDS - 1)] ?? 0;
      const wanted = (isDirty ? word : ~word) >>> (at & 31);
      if (wanted !== 0) return Math.min(limit, at + trailingZeroes(wanted));
      at = (at | 31) + 1;
    }
    return limit;
  }
}

/** Sets or clears bits `[start, end)`; by how many the count of set bits changed. */
function setBits(words: Uint32Array, start: number, end: number, isSet: boolean): number {
  let change = 0;
  for (let bit = start; bit < end; ) {
    const word = bit >>> 5;
    const first = bit & 31;
    const bits = Math.min(WORD_BITS - first, end - bit);
    const mask = bits === WORD_BITS ? ALL_DIRTY : ((2 ** bits - 1) << first) >>> 0;
    const before = words[word] ?? 0;
    const after = (isSet ? before | mask : before & ~mask) >>> 0;
    words[word] = after;
    change += bitCount(after) - bitCount(before);
    bit += bits;
  }
  return change;
}

const trailingZeroes = (word: number): number => 31 - Math.clz32(word & -word);

function bitCount(word: number): number {
  let n = word - ((word >>> 1) & 0x5555_5555);
  n = (n & 0x3333_3333) + ((n >>> 2) & 0x3333_3333);
  return (((n + (n >>> 4)) & 0x0f0f_0f0f) * 0x0101_0101) >>> 24;
}
