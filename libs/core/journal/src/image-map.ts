import { assert } from '@tidemark/base';
import { PACKED_BIT } from './index-page.js';
import type { WriteColumns } from './segment-writes.js';

/** Where one run of an image lies in the journal. */
export interface ImagePiece {
  readonly segment: number;
  readonly at: number;
  /** Of the run's first byte in the decompressed body of the frame at `segment`, `at`; 0: zeroes. */
  readonly payloadAt: number;
  readonly seq: number;
  /** Bytes of the write before the run. */
  readonly skip: number;
  /** Of the whole write. */
  readonly payloadBytes: number;
  /** Of the whole payload, when the frame is not compressed. */
  readonly payloadCrc: number;
  readonly isPacked: boolean;
}

/** Runs of a part of a volume that the journal covers, newest version of every byte only. Immutable. */
export class ImageMap {
  #count = 0;
  #coveredBytes = 0;
  #start: Float64Array;
  #length: Float64Array;
  /** Index of the write in the columns. */
  #write: Uint32Array;
  readonly #columns: WriteColumns;

  constructor(columns: WriteColumns) {
    const capacity = 2 * columns.count;
    this.#columns = columns;
    this.#start = new Float64Array(capacity);
    this.#length = new Float64Array(capacity);
    this.#write = new Uint32Array(capacity);
    this.#sweep(columns);
  }

  get count(): number {
    return this.#count;
  }

  get coveredBytes(): number {
    return this.#coveredBytes;
  }

  /** Calls `visit` for the runs of `[start, end)` in order, covered and uncovered (`piece` undefined), without gaps. */
  visit(start: number, end: number, visit: (start: number, end: number, piece: ImagePiece | undefined) => void): void {
    let at = start;
    for (let i = this.#firstEndingAfter(start); at < end && i < this.#count; i += 1) {
      const pieceStart = this.#start[i] ?? 0;
      if (pieceStart >= end) break;
      if (at < pieceStart) visit(at, pieceStart, undefined);
      at = Math.max(at, pieceStart);
      const stop = Math.min(pieceStart + (this.#length[i] ?? 0), end);
      visit(at, stop, this.#piece(i, at - pieceStart));
      at = stop;
    }
    if (at < end) visit(at, end, undefined);
  }

  /** Indexes (in the columns) of the writes of which anything shows. */
  shownWrites(): ReadonlySet<number> {
    return new Set(this.#write.subarray(0, this.#count));
  }

  #piece(i: number, skipped: number): ImagePiece {
    const write = this.#write[i] ?? 0;
    const { offset, length, seq, segment, at, payloadAt, payloadCrc } = this.#columns;
    const place = payloadAt[write] ?? 0;
    const skip = (this.#start[i] ?? 0) + skipped - (offset[write] ?? 0);
    return {
      segment: segment[write] ?? 0, at: at[write] ?? 0, seq: seq[write] ?? 0, skip, payloadBytes: length[write] ?? 0, payloadCrc: payloadCrc[write] ?? 0,
      payloadAt: place === 0 ? 0 : (place & ~PACKED_BIT) + skip, isPacked: (place & PACKED_BIT) !== 0,
    };
  }

  #firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#start[middle] ?? 0) + (this.#length[middle] ?? 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Sweeps over the writes in order of offset; of those that cover the sweep's position the newest (highest index) is on top of a heap.
   * O(n log n): a million random writes take about a second less than inserting them one by one into a map.
   */
  #sweep(columns: WriteColumns): void {
    const order = sortedByOffset(columns);
    const heap = new MaxHeap(columns.count);
    const { offset, length } = columns;
    let next = 0;
    let position = 0;
    let lastWrite = -1;
    while (next < columns.count || heap.size > 0) {
      const nextStart = next < columns.count ? (offset[order[next] ?? 0] ?? 0) : Infinity;
      if (heap.size === 0) position = nextStart;
      if (nextStart <= position) {
        heap.push(order[next] ?? 0);
        next += 1;
        continue;
      }
      const write = heap.top;
      const writeEnd = (offset[write] ?? 0) + (length[write] ?? 0);
      if (writeEnd <= position) {
        heap.pop();
        continue;
      }
      const stop = Math.min(writeEnd, nextStart);
      if (!this.#extend(write === lastWrite, position, stop)) this.#emit(write, { start: position, end: stop });
      lastWrite = write;
      position = stop;
    }
  }

  #extend(isSameWrite: boolean, start: number, end: number): boolean {
    const last = this.#count - 1;
    if (!isSameWrite || (this.#start[last] ?? 0) + (this.#length[last] ?? 0) !== start) return false;
    this.#length[last] = end - (this.#start[last] ?? 0);
    this.#coveredBytes += end - start;
    return true;
  }

  #emit(write: number, { start, end }: { start: number; end: number }): void {
    const i = this.#count;
    assert(i < this.#start.length, 'at most two runs a write');
    this.#start[i] = start;
    this.#length[i] = end - start;
    this.#write[i] = write;
    this.#coveredBytes += end - start;
    this.#count = i + 1;
  }
}

/** Below this many a radix sort's tables cost more than comparing. */
const COMPARED_MAX = 4096;
const DIGIT_BITS = 16;
const DIGITS = 1 << DIGIT_BITS;

/** Indexes of the writes in order of offset: radix sort over 16-bit digits of the offset, as many as the largest needs. */
function sortedByOffset({ count, offset }: WriteColumns): Uint32Array {
  let order = new Uint32Array(count);
  if (count <= COMPARED_MAX) {
    for (let i = 0; i < count; i += 1) order[i] = i;
    return order.sort((a, b) => (offset[a] ?? 0) - (offset[b] ?? 0) || a - b);
  }
  let spare = new Uint32Array(count);
  let offsetMax = 0;
  for (let i = 0; i < count; i += 1) {
    order[i] = i;
    offsetMax = Math.max(offsetMax, offset[i] ?? 0);
  }
  const digits = new Uint16Array(count);
  for (let divisor = 1; divisor <= offsetMax; divisor *= DIGITS) {
    const starts = new Uint32Array(DIGITS + 1);
    for (let i = 0; i < count; i += 1) {
      const digit = Math.floor((offset[i] ?? 0) / divisor) % DIGITS;
      digits[i] = digit;
      starts[digit + 1] = (starts[digit + 1] ?? 0) + 1;
    }
    for (let d = 1; d <= DIGITS; d += 1) starts[d] = (starts[d] ?? 0) + (starts[d - 1] ?? 0);
    for (let k = 0; k < count; k += 1) {
      const i = order[k] ?? 0;
      const digit = digits[i] ?? 0;
      const to = starts[digit] ?? 0;
      spare[to] = i;
      starts[digit] = to + 1;
    }
    [order, spare] = [spare, order];
  }
  return order;
}

/** Binary heap of numbers, largest on top. */
class MaxHeap {
  size = 0;
  readonly #items: Uint32Array;

  constructor(capacity: number) {
    this.#items = new Uint32Array(capacity);
  }

  get top(): number {
    return this.#items[0] ?? 0;
  }

  push(item: number): void {
    const items = this.#items;
    let i = this.size;
    this.size += 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = items[parent] ?? 0;
      if (above >= item) break;
      items[i] = above;
      i = parent;
    }
    items[i] = item;
  }

  pop(): void {
    const items = this.#items;
    this.size -= 1;
    const item = items[this.size] ?? 0;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && (items[child + 1] ?? 0) > (items[child] ?? 0)) child += 1;
      if ((items[child] ?? 0) <= item) break;
      items[i] = items[child] ?? 0;
      i = child;
    }
    items[i] = item;
  }
}
