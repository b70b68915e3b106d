import { alignDown, alignUp, assert, BLOCK_BYTES } from '@tidemark/base';
import { DirtyBitmap, intersection, type Extent } from '@tidemark/extent';
import { subtract } from './subtract.js';
import type { SyncCompare, SyncRead, VolumeExtent } from './types.js';

interface ReadUnderWay {
  readonly volume: number;
  readonly extent: Extent;
  /** Parts that captured writes have overtaken: what was read of them is stale. */
  voids: Extent[];
}

/** A read whose list of overtaken parts grows beyond this is given up and its blocks are read again: bounded memory, bounded work. */
const VOIDS_MAX = 256;

/**
 * Which blocks of a protection's volumes may differ from the recovery site, and the walk that reads them. Blocks lose their mark when
 * their read starts. From then on they count as clean: a captured write to them is streamed, and the bytes that it covers are cut out of
 * the read (they may be older than the write, and the stream has them already). So each block is read once per pass and the pass ends, however often
 * the guest writes to one block. Writes to blocks that are still marked only leave the mark.
 *
 * Marked blocks may also be *unverified*: the recovery site may hold the same bytes, so they are compared before they are read. They keep their mark
 * all the while: nothing is streamed to them, so the other side's block stands still. A captured write ends that state of its blocks at once, so
 * a verdict counts only for blocks that were not written since their comparison began; an equal one loses its mark, any other is read and sent.
 */
export class SyncWalk {
  #dirty: readonly DirtyBitmap[];
  /** Marked blocks that could not be read. A subset of #dirty: the walk passes over them until told to try again. */
  #unreadable: readonly DirtyBitmap[];
  /** Marked blocks that wait for a comparison or are being compared. A subset of #dirty, apart from #unreadable. */
  #unverified: readonly DirtyBitmap[];
  /** Volumes that are not walked: nothing of them is ever marked. */
  #leftOut: ReadonlySet<number> = new Set();
  readonly #compares = new Map<number, SyncCompare>();
  #nextCompareId = 1;
  #compareVolume = 0;
  #compareOffset = 0;
  readonly #reads = new Map<number, ReadUnderWay>();
  #nextReadId = 1;
  #readingBytes = 0;
  #cursorVolume = 0;
  #cursorOffset = 0;

  constructor(volumeSizesBytes: readonly number[]) {
    this.#dirty = volumeSizesBytes.map((sizeBytes) => new DirtyBitmap(sizeBytes));
    this.#unreadable = volumeSizesBytes.map((sizeBytes) => new DirtyBitmap(sizeBytes));
    this.#unverified = volumeSizesBytes.map((sizeBytes) => new DirtyBitmap(sizeBytes));
  }

  get dirtyBytes(): number {
    return sumOf(this.#dirty);
  }

  /** Of the dirty bytes, those that could not be read. */
  get unreadableBytes(): number {
    return sumOf(this.#unreadable);
  }

  /** Bytes being read now. */
  get readingBytes(): number {
    return this.#readingBytes;
  }

  /** Nothing is marked and nothing is being read. */
  get isDone(): boolean {
    return this.#reads.size === 0 && this.#dirty.every((bitmap) => bitmap.isClean);
  }

  /** Of the dirty bytes, those that are compared before they are sent. */
  get unverifiedBytes(): number {
    return sumOf(this.#unverified);
  }

  get compareCount(): number {
    return this.#compares.size;
  }

  /** Marks all blocks and has them compared first. What was being read or compared is given up. */
  markUnverified(): void {
    this.abortReads();
    this.abortCompares();
    for (const bitmaps of [this.#dirty, this.#unverified]) {
      for (const [volume, bitmap] of bitmaps.entries()) if (!this.#leftOut.has(volume)) bitmap.markAll();
    }
    for (const bitmap of this.#unreadable) bitmap.clearAll();
  }

  /** Volumes are added, grow, or go (0 bytes): what is new is marked. What was being read or compared is given up. */
  changeVolumes(volumeSizesBytes: readonly number[]): void {
    this.abortReads();
    this.abortCompares();
    const before = this.#dirty;
    this.#dirty = resized(before, volumeSizesBytes);
    this.#unverified = resized(this.#unverified, volumeSizesBytes);
    this.#unreadable = volumeSizesBytes.map((sizeBytes) => new DirtyBitmap(sizeBytes));
    for (const [volume, sizeBytes] of volumeSizesBytes.entries()) {
      const knownBytes = before[volume]?.sizeBytes ?? 0;
      if (sizeBytes > knownBytes) this.mark(volume, knownBytes, sizeBytes);
    }
    this.#cursorVolume = this.#cursorOffset = this.#compareVolume = this.#compareOffset = 0;
  }

  /** These volumes are left as the recovery site has them. One that is walked again, after it was left out, is marked whole. */
  leaveOut(volumes: ReadonlySet<number>): void {
    const before = this.#leftOut;
    this.#leftOut = volumes;
    for (const volume of volumes) {
      for (const bitmaps of [this.#dirty, this.#unreadable, this.#unverified]) bitmapOf(bitmaps, volume).clearAll();
      for (const [readId, read] of this.#reads) if (read.volume === volume) this.#take(readId);
      for (const [compareId, compare] of this.#compares) if (compare.volume === volume) this.#compares.delete(compareId);
    }
    for (const volume of before) if (!volumes.has(volume)) this.#markDirty(volume, 0, bitmapOf(this.#dirty, volume).sizeBytes);
  }

  #markDirty(volume: number, start: number, end: number): void {
    if (!this.#leftOut.has(volume)) bitmapOf(this.#dirty, volume).mark(start, end);
  }

  /** There is nothing to compare with: what was unverified is read and sent. */
  forgetUnverified(): void {
    this.abortCompares();
    for (const bitmap of this.#unverified) bitmap.clearAll();
  }

  /** Unverified blocks outside these extents are known to be the same: they lose their mark. */
  restrictUnverified(extents: readonly VolumeExtent[]): void {
    this.abortCompares();
    for (const [volume, unverified] of this.#unverified.entries()) {
      const suspects = new DirtyBitmap(unverified.sizeBytes);
      for (const extent of extents) if (extent.volume === volume) suspects.mark(extent.start, extent.end);
      for (let run = unverified.nextRun(0); run !== undefined; run = unverified.nextRun(run.end)) this.#clearBeside(volume, run, suspects);
    }
  }

  #clearBeside(volume: number, run: Extent, suspects: DirtyBitmap): void {
    for (let from = run.start; from < run.end; ) {
      const suspect = suspects.nextRun(from, run.end) ?? { start: run.end, end: run.end };
      for (const bitmaps of [this.#dirty, this.#unverified]) bitmapOf(bitmaps, volume).clear(from, suspect.start);
      from = suspect.end;
    }
  }

  /** Marks every block that the range touches; what is being read of it is void. */
  mark(volume: number, start: number, end: number): void {
    this.#markDirty(volume, start, end);
    this.overtake(volume, start, end);
  }

  /** A captured write to this range got its place in the stream: what a read under way returns for it must not follow it there. */
  overtake(volume: number, start: number, end: number): void {
    this.#tryAgain(volume, start, end);
    clearOutwards(bitmapOf(this.#unverified, volume), start, end);
    for (const [readId, read] of this.#reads) {
      if (read.volume !== volume) continue;
      const common = intersection(read.extent, { start, end });
      if (common === undefined) continue;
      read.voids.push(common);
      if (read.voids.length > VOIDS_MAX) this.#giveUp(readId, read);
    }
  }

  /** First part of `[from, until)` that is not marked: there a captured write has to be streamed. */
  nextCleanPart(volume: number, from: number, until: number): Extent | undefined {
    const bitmap = bitmapOf(this.#dirty, volume);
    let start = from;
    for (;;) {
      const run = bitmap.nextRun(start, until);
      if (run === undefined) return start < until ? { start, end: until } : undefined;
      if (run.start > start) return { start, end: run.start };
      start = run.end;
    }
  }

  /** Blocks that could not be read may be readable after a write. */
  #tryAgain(volume: number, start: number, end: number): void {
    clearOutwards(bitmapOf(this.#unreadable, volume), start, end);
  }

  /** The next marked piece, at most `bytesMax` long (a multiple of the block), to be read now; the walk goes round and round. */
  nextRead(bytesMax: number): SyncRead | undefined {
    assert(bytesMax >= BLOCK_BYTES && bytesMax % BLOCK_BYTES === 0, 'sync reads are whole blocks');
    const volumeCount = this.#dirty.length;
    for (let step = 0; step <= volumeCount; step += 1) {
      const extent = this.#nextExtent(bytesMax);
      if (extent !== undefined) return this.#startRead(this.#cursorVolume, extent);
      this.#cursorVolume = (this.#cursorVolume + 1) % Math.max(1, volumeCount);
      this.#cursorOffset = 0;
    }
    return undefined;
  }

  /** The parts of the read that are still good; undefined for a read that was given up. The caller puts them into the stream in the same turn. */
  readDone(readId: number): { readonly volume: number; readonly extent: Extent; readonly parts: readonly Extent[] } | undefined {
    const read = this.#take(readId);
    if (read === undefined) return undefined;
    return { volume: read.volume, extent: read.extent, parts: subtract(read.extent, read.voids) };
  }

  /** The blocks are marked again, and passed over until {@link retry} or a write to them. */
  readFailed(readId: number): void {
    const read = this.#take(readId);
    if (read === undefined) return;
    this.#markDirty(read.volume, read.extent.start, read.extent.end);
    bitmapOf(this.#unreadable, read.volume).mark(read.extent.start, read.extent.end);
  }

  retry(): void {
    for (const bitmap of this.#unreadable) bitmap.clearAll();
  }

  /** The next piece to compare, at most `bytesMax` long (a multiple of the block). Comparisons may be under way together and end in any order. */
  nextCompare(bytesMax: number): SyncCompare | undefined {
    const volumeCount = this.#unverified.length;
    for (let step = 0; step <= volumeCount; step += 1) {
      const extent = this.#nextUncompared(bytesMax);
      if (extent !== undefined) return this.#startCompare(this.#compareVolume, extent);
      this.#compareVolume = (this.#compareVolume + 1) % Math.max(1, volumeCount);
      this.#compareOffset = 0;
    }
    return undefined;
  }

  /**
   * The verdict: 1 for each block of the piece that is the same on both sides. Blocks that were written meanwhile are not unverified any more, and
   * it says nothing about them. Passed over for a comparison that was given up.
   */
  compareDone(compareId: number, equal: Uint8Array): void {
    const compare = this.#compares.get(compareId);
    if (compare === undefined) return;
    this.#compares.delete(compareId);
    const unverified = bitmapOf(this.#unverified, compare.volume);
    const dirty = bitmapOf(this.#dirty, compare.volume);
    const compareEnd = compare.offset + compare.length;
    for (let run = unverified.nextRun(compare.offset, compareEnd); run !== undefined; run = unverified.nextRun(run.end, compareEnd)) {
      for (let start = run.start; start < run.end; start += BLOCK_BYTES) {
        if (equal[(start - compare.offset) / BLOCK_BYTES] === 1) dirty.clear(start, Math.min(start + BLOCK_BYTES, run.end));
      }
    }
    unverified.clear(compare.offset, compareEnd);
  }

  /** This side could not read the piece: as {@link readFailed}. */
  compareFailed(compareId: number): void {
    const compare = this.#compares.get(compareId);
    if (compare === undefined) return;
    this.#compares.delete(compareId);
    const unverified = bitmapOf(this.#unverified, compare.volume);
    const compareEnd = compare.offset + compare.length;
    for (let run = unverified.nextRun(compare.offset, compareEnd); run !== undefined; run = unverified.nextRun(run.end, compareEnd)) {
      bitmapOf(this.#unreadable, compare.volume).mark(run.start, run.end);
    }
    unverified.clear(compare.offset, compareEnd);
  }

  /** Gives up all comparisons under way; their blocks are compared again. */
  abortCompares(): void {
    this.#compares.clear();
  }

  #nextUncompared(bytesMax: number): Extent | undefined {
    const unverified = this.#unverified[this.#compareVolume];
    if (unverified === undefined) return undefined;
    let from = this.#compareOffset;
    for (;;) {
      const run = unverified.nextRun(from, unverified.sizeBytes, bytesMax);
      if (run === undefined) return undefined;
      const busy = this.#firstCompareIn(this.#compareVolume, run);
      if (busy === undefined) return run;
      if (busy.offset > run.start) return { start: run.start, end: busy.offset };
      from = busy.offset + busy.length;
    }
  }

  #firstCompareIn(volume: number, { start, end }: Extent): SyncCompare | undefined {
    let first: SyncCompare | undefined;
    for (const compare of this.#compares.values()) {
      const isInside = compare.volume === volume && compare.offset < end && start < compare.offset + compare.length;
      if (isInside && compare.offset < (first?.offset ?? Infinity)) first = compare;
    }
    return first;
  }

  #startCompare(volume: number, extent: Extent): SyncCompare {
    const compare = { compareId: this.#nextCompareId, volume, offset: extent.start, length: extent.end - extent.start };
    this.#nextCompareId += 1;
    this.#compares.set(compare.compareId, compare);
    this.#compareOffset = extent.end;
    return compare;
  }

  /** Gives up all reads under way; their blocks are marked again. */
  abortReads(): void {
    for (const [readId, read] of this.#reads) this.#giveUp(readId, read);
  }

  #nextExtent(bytesMax: number): Extent | undefined {
    const dirty = this.#dirty[this.#cursorVolume];
    const unreadable = this.#unreadable[this.#cursorVolume];
    const unverified = this.#unverified[this.#cursorVolume];
    if (dirty === undefined || unreadable === undefined || unverified === undefined) return undefined;
    // While all is being compared, which may last, this answers without a walk.
    if (dirty.dirtyBlocks === unreadable.dirtyBlocks + unverified.dirtyBlocks) return undefined;
    let from = this.#cursorOffset;
    for (;;) {
      const run = dirty.nextRun(from, dirty.sizeBytes, bytesMax);
      if (run === undefined) return undefined;
      const skipped = firstOf(unreadable.nextRun(run.start, run.end), unverified.nextRun(run.start, run.end));
      if (skipped === undefined) return run;
      if (skipped.start > run.start) return { start: run.start, end: skipped.start };
      // The whole run that is passed over, not only its part in this piece.
      const wide = unverified.nextRun(skipped.start);
      from = wide?.start === skipped.start ? wide.end : skipped.end;
    }
  }

  #startRead(volume: number, extent: Extent): SyncRead {
    bitmapOf(this.#dirty, volume).clear(extent.start, extent.end);
    const readId = this.#nextReadId;
    this.#nextReadId += 1;
    this.#reads.set(readId, { volume, extent, voids: [] });
    this.#readingBytes += extent.end - extent.start;
    this.#cursorOffset = extent.end;
    return { readId, volume, offset: extent.start, length: extent.end - extent.start };
  }

  #giveUp(readId: number, read: ReadUnderWay): void {
    this.#take(readId);
    this.#markDirty(read.volume, read.extent.start, read.extent.end);
  }

  #take(readId: number): ReadUnderWay | undefined {
    const read = this.#reads.get(readId);
    if (read === undefined) return undefined;
    this.#reads.delete(readId);
    this.#readingBytes -= read.extent.end - read.extent.start;
    return read;
  }
}

function bitmapOf(bitmaps: readonly DirtyBitmap[], volume: number): DirtyBitmap {
  const bitmap = bitmaps[volume];
  assert(bitmap !== undefined, 'volume of the protection');
  return bitmap;
}

/** Clears every block that the range touches. */
function clearOutwards(bitmap: DirtyBitmap, start: number, end: number): void {
  if (!bitmap.isClean) bitmap.clear(alignDown(start, BLOCK_BYTES), Math.min(bitmap.sizeBytes, alignUp(end, BLOCK_BYTES)));
}

const firstOf = (a: Extent | undefined, b: Extent | undefined): Extent | undefined =>
  a === undefined || (b !== undefined && b.start < a.start) ? b : a;

function resized(before: readonly DirtyBitmap[], volumeSizesBytes: readonly number[]): DirtyBitmap[] {
  return volumeSizesBytes.map((sizeBytes, volume) => {
    const bitmap = new DirtyBitmap(sizeBytes);
    const old = sizeBytes === 0 ? undefined : before[volume];
    for (let run = old?.nextRun(0); run !== undefined; run = old?.nextRun(run.end)) bitmap.mark(run.start, run.end);
    return bitmap;
  });
}

const sumOf = (bitmaps: readonly DirtyBitmap[]): number => bitmaps.reduce((sum, bitmap) => sum + bitmap.dirtyBytes, 0);
