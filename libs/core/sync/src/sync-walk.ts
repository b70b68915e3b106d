import { alignDown, alignUp, assert, BLOCK_BYTES } from '@tidemark/base';
import { DirtyBitmap, intersection, type Extent } from '@tidemark/extent';
import { subtract } from './subtract.js';
import type { SyncRead } from './types.js';

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
 */
export class SyncWalk {
  readonly #dirty: readonly DirtyBitmap[];
  /** Marked blocks that could not be read. A subset of #dirty: the walk passes over them until told to try again. */
  readonly #unreadable: readonly DirtyBitmap[];
  readonly #reads = new Map<number, ReadUnderWay>();
  #nextReadId = 1;
  #readingBytes = 0;
  #cursorVolume = 0;
  #cursorOffset = 0;

  constructor(volumeSizesBytes: readonly number[]) {
    this.#dirty = volumeSizesBytes.map((sizeBytes) => new DirtyBitmap(sizeBytes));
    this.#unreadable = volumeSizesBytes.map((sizeBytes) => new DirtyBitmap(sizeBytes));
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

  markAll(): void {
    for (const bitmap of this.#dirty) bitmap.markAll();
    for (const bitmap of this.#unreadable) bitmap.clearAll();
  }

  /** Marks every block that the range touches; what is being read of it is void. */
  mark(volume: number, start: number, end: number): void {
    bitmapOf(this.#dirty, volume).mark(start, end);
    this.overtake(volume, start, end);
  }

  /** A captured write to this range got its place in the stream: what a read under way returns for it must not follow it there. */
  overtake(volume: number, start: number, end: number): void {
    this.#tryAgain(volume, start, end);
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
    const bitmap = bitmapOf(this.#unreadable, volume);
    if (!bitmap.isClean) bitmap.clear(alignDown(start, BLOCK_BYTES), Math.min(bitmap.sizeBytes, alignUp(end, BLOCK_BYTES)));
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
    bitmapOf(this.#dirty, read.volume).mark(read.extent.start, read.extent.end);
    bitmapOf(this.#unreadable, read.volume).mark(read.extent.start, read.extent.end);
  }

  retry(): void {
    for (const bitmap of this.#unreadable) bitmap.clearAll();
  }

  /** Gives up all reads under way; their blocks are marked again. */
  abortReads(): void {
    for (const [readId, read] of this.#reads) this.#giveUp(readId, read);
  }

  #nextExtent(bytesMax: number): Extent | undefined {
    const dirty = this.#dirty[this.#cursorVolume];
    const unreadable = this.#unreadable[this.#cursorVolume];
    if (dirty === undefined || unreadable === undefined) return undefined;
    let from = this.#cursorOffset;
    for (;;) {
      const run = dirty.nextRun(from, dirty.sizeBytes, bytesMax);
      if (run === undefined) return undefined;
      const skipped = unreadable.nextRun(run.start, run.end);
      if (skipped === undefined) return run;
      if (skipped.start > run.start) return { start: run.start, end: skipped.start };
      from = skipped.end;
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
    bitmapOf(this.#dirty, read.volume).mark(read.extent.start, read.extent.end);
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

const sumOf = (bitmaps: readonly DirtyBitmap[]): number => bitmaps.reduce((sum, bitmap) => sum + bitmap.dirtyBytes, 0);
