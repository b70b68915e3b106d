import { getU64, isSafeU64, setU64, viewOf } from '@tidemark/base';
import { countOf, ENTRY_AT, entryAt, type IndexPage, offsetAt, seqAt, volumeOf } from './index-page.js';

/** One page's bounds on disk. */
export const FENCE_AT = { firstOffset: 0, maxEnd: 8, minSeq: 16, maxSeq: 24, volume: 32, reserved1: 34, reserved2: 36 } as const;
export const FENCE_BYTES = 40;

/** Bounds of the pages of one run, in order: says which pages can hold anything of an extent. 42 bytes a page in memory: 0.33 a write. */
export class RunFences {
  #count = 0;
  #volume: Uint16Array;
  #firstOffset: Float64Array;
  #maxEnd: Float64Array;
  /** Highest `maxEnd` of the volume's pages up to this one: the walk back from an offset ends where it is reached. */
  #endSoFar: Float64Array;
  #minSeq: Float64Array;
  #maxSeq: Float64Array;

  /** `pages`: how many there will be, if that is known; without it the arrays are up to twice as long as they have to be. */
  constructor(pages = 16) {
    const capacity = Math.max(1, pages);
    const numbers = (): Float64Array => new Float64Array(capacity);
    this.#volume = new Uint16Array(capacity);
    [this.#firstOffset, this.#maxEnd, this.#endSoFar, this.#minSeq, this.#maxSeq] = [numbers(), numbers(), numbers(), numbers(), numbers()];
  }

  get count(): number {
    return this.#count;
  }

  get memoryBytes(): number {
    return this.#volume.byteLength + 5 * this.#maxEnd.byteLength;
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

  addPage(page: IndexPage): void {
    let maxEnd = 0;
    let minSeq = Infinity;
    let maxSeq = 0;
    for (let i = 0; i < countOf(page); i += 1) {
      const at = entryAt(i);
      const seq = seqAt(page, at);
      maxEnd = Math.max(maxEnd, offsetAt(page, at) + (page[at + ENTRY_AT.length] ?? 0));
      minSeq = Math.min(minSeq, seq);
      maxSeq = Math.max(maxSeq, seq);
    }
    this.#add({ volume: volumeOf(page), firstOffset: offsetAt(page, entryAt(0)), maxEnd, minSeq, maxSeq });
  }

  #add(fence: { readonly volume: number; readonly firstOffset: number; readonly maxEnd: number; readonly minSeq: number; readonly maxSeq: number }): void {
    const i = this.#count;
    if (i === this.#volume.length) this.#resize(2 * i);
    const isSameVolume = i > 0 && this.#volume[i - 1] === fence.volume;
    this.#volume[i] = fence.volume;
    this.#firstOffset[i] = fence.firstOffset;
    this.#maxEnd[i] = fence.maxEnd;
    this.#endSoFar[i] = Math.max(fence.maxEnd, isSameVolume ? (this.#endSoFar[i - 1] ?? 0) : 0);
    this.#minSeq[i] = fence.minSeq;
    this.#maxSeq[i] = fence.maxSeq;
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

  /** How many pages begin inside `[start, end)`, and the one before: what a walk over the extent has to read. */
  pagesIn(volume: number, start: number, end: number): number {
    return this.#firstAtOrBehind(volume, end) - this.#firstAtOrBehind(volume, start) + 1;
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

  /** The fences of pages `from` to `to`, the latter not included. */
  encode(from = 0, to = this.#count): Uint8Array {
    const end = Math.min(to, this.#count);
    const bytes = new Uint8Array((end - from) * FENCE_BYTES);
    const view = viewOf(bytes);
    for (let i = from; i < end; i += 1) {
      const at = (i - from) * FENCE_BYTES;
      setU64(view, at + FENCE_AT.firstOffset, this.#firstOffset[i] ?? 0);
      setU64(view, at + FENCE_AT.maxEnd, this.#maxEnd[i] ?? 0);
      setU64(view, at + FENCE_AT.minSeq, this.#minSeq[i] ?? 0);
      setU64(view, at + FENCE_AT.maxSeq, this.#maxSeq[i] ?? 0);
      view.setUint16(at + FENCE_AT.volume, this.#volume[i] ?? 0, true);
    }
    return bytes;
  }

  /** Adds encoded fences (a part of them: a million take a while). False: they make no sense. */
  addEncoded(bytes: Uint8Array): boolean {
    if (bytes.byteLength % FENCE_BYTES !== 0) return false;
    const view = viewOf(bytes);
    for (let at = 0; at < bytes.byteLength; at += FENCE_BYTES) {
      for (const field of [FENCE_AT.firstOffset, FENCE_AT.maxEnd, FENCE_AT.minSeq, FENCE_AT.maxSeq]) if (!isSafeU64(view, at + field)) return false;
      this.#add({
        volume: view.getUint16(at + FENCE_AT.volume, true), firstOffset: getU64(view, at + FENCE_AT.firstOffset), maxEnd: getU64(view, at + FENCE_AT.maxEnd),
        minSeq: getU64(view, at + FENCE_AT.minSeq), maxSeq: getU64(view, at + FENCE_AT.maxSeq),
      });
    }
    return true;
  }
}
