import { type Fence, FENCE_BYTES, FENCE_WORDS, fenceOfFences, fenceOfPage, readFence, writeFence } from './fence-page.js';
import type { IndexPage } from './index-page.js';

/** Bounds of the pages (or of the fence pages) of one run, in order: says which of them can hold anything of an extent. 46 bytes each in memory: of fence pages 0.003 a write. */
export class RunFences {
  #count = 0;
  #volume: Uint16Array;
  #firstOffset: Float64Array;
  #maxEnd: Float64Array;
  /** Highest `maxEnd` of the volume's pages up to this one: the walk back from an offset ends where it is reached. */
  #endSoFar: Float64Array;
  #minSeq: Float64Array;
  #maxSeq: Float64Array;
  #pageCrc: Uint32Array;

  /** `pages`: how many there will be, if that is known; without it the arrays are up to twice as long as they have to be. */
  constructor(pages = 16) {
    const capacity = Math.max(1, pages);
    const numbers = (): Float64Array => new Float64Array(capacity);
    this.#volume = new Uint16Array(capacity);
    this.#pageCrc = new Uint32Array(capacity);
    [this.#firstOffset, this.#maxEnd, this.#endSoFar, this.#minSeq, this.#maxSeq] = [numbers(), numbers(), numbers(), numbers(), numbers()];
  }

  get count(): number {
    return this.#count;
  }

  get memoryBytes(): number {
    return this.#volume.byteLength + this.#pageCrc.byteLength + 5 * this.#maxEnd.byteLength;
  }

  firstOffset(page: number): number {
    return this.#firstOffset[page] ?? 0;
  }

  maxEnd(page: number): number {
    return this.#maxEnd[page] ?? 0;
  }

  maxSeq(page: number): number {
    return this.#maxSeq[page] ?? 0;
  }

  pageCrc(page: number): number {
    return this.#pageCrc[page] ?? 0;
  }

  /** Of writes. */
  addPage(page: IndexPage): void {
    this.#add(fenceOfPage(page));
  }

  /** Of fences, sealed. */
  addFencePage(page: IndexPage): void {
    this.#add(fenceOfFences(page));
  }

  #add(fence: Fence): void {
    const i = this.#count;
    if (i === this.#volume.length) this.#resize(2 * i);
    const isSameVolume = i > 0 && this.#volume[i - 1] === fence.volume;
    this.#volume[i] = fence.volume;
    this.#firstOffset[i] = fence.firstOffset;
    this.#maxEnd[i] = fence.maxEnd;
    this.#endSoFar[i] = Math.max(fence.maxEnd, isSameVolume ? (this.#endSoFar[i - 1] ?? 0) : 0);
    this.#minSeq[i] = fence.minSeq;
    this.#maxSeq[i] = fence.maxSeq;
    this.#pageCrc[i] = fence.pageCrc;
    this.#count = i + 1;
  }

  #resize(capacity: number): void {
    const grow = (from: Float64Array): Float64Array<ArrayBuffer> => {
      const to = new Float64Array(capacity);
      to.set(from.subarray(0, capacity));
      return to;
    };
    const volume = new Uint16Array(capacity);
    volume.set(this.#volume.subarray(0, capacity));
    this.#volume = volume;
    const pageCrc = new Uint32Array(capacity);
    pageCrc.set(this.#pageCrc.subarray(0, capacity));
    this.#pageCrc = pageCrc;
    this.#firstOffset = grow(this.#firstOffset);
    this.#maxEnd = grow(this.#maxEnd);
    this.#endSoFar = grow(this.#endSoFar);
    this.#minSeq = grow(this.#minSeq);
    this.#maxSeq = grow(this.#maxSeq);
  }

  /** Calls `visit` for the pages that may hold a write of `[start, end)` with afterSeq < seq < beforeSeq, last one first. */
  visit(extent: { readonly volume: number; readonly start: number; readonly end: number }, seqs: { readonly afterSeq: number; readonly beforeSeq: number }, visit: (page: number) => void): void {
    for (let page = this.#firstAtOrBehind(extent.volume, extent.end) - 1; page >= 0; page -= 1) {
      if (this.#volume[page] !== extent.volume || (this.#endSoFar[page] ?? 0) <= extent.start) return;
      const isWanted = this.maxEnd(page) > extent.start && (this.#minSeq[page] ?? 0) < seqs.beforeSeq && this.maxSeq(page) > seqs.afterSeq;
      if (isWanted) visit(page);
    }
  }

  /** How many pages begin inside `[start, end)`. */
  pagesIn(volume: number, start: number, end: number): number {
    return this.#firstAtOrBehind(volume, end) - this.#firstAtOrBehind(volume, start);
  }

  /** First page of `volume` that begins at `offset` or behind it (or the first page of a later volume). */
  #firstAtOrBehind(volume: number, offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >> 1;
      const v = this.#volume[middle] ?? 0;
      if (v < volume || (v === volume && (this.#firstOffset[middle] ?? 0) < offset)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  encode(): Uint8Array {
    const words = new Uint32Array(this.#count * FENCE_WORDS);
    for (let i = 0; i < this.#count; i += 1) writeFence(words, i * FENCE_WORDS, this.#fence(i));
    return new Uint8Array(words.buffer);
  }

  #fence(i: number): Fence {
    return {
      volume: this.#volume[i] ?? 0, firstOffset: this.firstOffset(i), maxEnd: this.maxEnd(i), minSeq: this.#minSeq[i] ?? 0, maxSeq: this.maxSeq(i), pageCrc: this.pageCrc(i),
    };
  }

  /** `undefined`: they make no sense. */
  static decode(bytes: Uint8Array): RunFences | undefined {
    if (bytes.byteLength % FENCE_BYTES !== 0) return undefined;
    const words = new Uint32Array(bytes.slice().buffer);
    const fences = new RunFences(bytes.byteLength / FENCE_BYTES);
    for (let at = 0; at < words.length; at += FENCE_WORDS) {
      const fence = readFence(words, at);
      if (!Number.isSafeInteger(fence.maxEnd)) return undefined;
      fences.#add(fence);
    }
    return fences;
  }
}
