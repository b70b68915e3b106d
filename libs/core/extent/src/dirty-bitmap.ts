import { assert, BLOCK_BYTES } from '@tidemark/base';
import type { Extent } from './extent.js';

const WORD_BITS = 32;
const ALL_DIRTY = 0xffff_ffff;

/**
 * Which 4 KiB blocks of a volume may differ from the other side. Always a superset of what was written: marking rounds
 * outwards, clearing rounds inwards. 32 KiB of memory per GiB of volume.
 */
export class DirtyBitmap {
  readonly #words: Uint32Array;
  readonly #blockCount: number;
  #dirtyBlocks = 0;

  /** A clean bitmap for a volume of `sizeBytes`. */
  constructor(readonly sizeBytes: number) {
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0, 'volume size');
    this.#blockCount = Math.ceil(sizeBytes / BLOCK_BYTES);
    this.#words = new Uint32Array(Math.ceil(this.#blockCount / WORD_BITS));
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
    this.#words.fill(0);
    this.#dirtyBlocks = 0;
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
    let count = 0;
    for (let i = 0; i < this.#words.length; i += 1) {
      const word = (this.#words[i] ?? 0) | (other.#words[i] ?? 0);
      this.#words[i] = word;
      count += bitCount(word);
    }
    this.#dirtyBlocks = count;
  }

  #assertInside(start: number, end: number): void {
    assert(start >= 0 && end <= this.sizeBytes, 'extent outside the volume');
  }

  #isBlockDirty(block: number): boolean {
    return ((this.#words[block >>> 5] ?? 0) & (1 << (block & 31))) !== 0;
  }

  #setBlocks(startBlock: number, endBlock: number, isDirty: boolean): void {
    for (let block = startBlock; block < endBlock; ) {
      const word = block >>> 5;
      const first = block & 31;
      const bits = Math.min(WORD_BITS - first, endBlock - block);
      const mask = bits === WORD_BITS ? ALL_DIRTY : ((2 ** bits - 1) << first) >>> 0;
      const before = this.#words[word] ?? 0;
      const after = isDirty ? before | mask : before & ~mask;
      this.#words[word] = after;
      this.#dirtyBlocks += bitCount(after) - bitCount(before);
      block += bits;
    }
  }

  /** First block in `[block, limit)` with the state wanted, else `limit`. Skips 32 blocks of the other state at once. */
  #seek(block: number, limit: number, isDirty: boolean): number {
    let at = block;
    while (at < limit) {
      const word = this.#words[at >>> 5] ?? 0;
      const wanted = (isDirty ? word : ~word) >>> (at & 31);
      if (wanted !== 0) return Math.min(limit, at + trailingZeroes(wanted));
      at = (at | 31) + 1;
    }
    return limit;
  }
}

const trailingZeroes = (word: number): number => 31 - Math.clz32(word & -word);

function bitCount(word: number): number {
  let n = word - ((word >>> 1) & 0x5555_5555);
  n = (n & 0x3333_3333) + ((n >>> 2) & 0x3333_3333);
  return (((n + (n >>> 4)) & 0x0f0f_0f0f) * 0x0101_0101) >>> 24;
}
