import { assert, type Done } from '@tidemark/base';
import { DirtyBitmap, ExtentMap } from '@tidemark/extent';
import { RECORD_LENGTH_MAX } from '@tidemark/frame';
import type { FramePlace, ImageMap, ImagePiece } from '@tidemark/journal';
import {
  type AllocationRun, assertInVolume, checkOpen, checkWritable, type ReadOptions, type Volume, VolumeError, type WriteOptions, type WriteZeroesOptions,
} from '@tidemark/volume';
import type { FrameReader } from './frame-reader.js';
import type { ScratchJournal } from './scratch-journal.js';
import type { WriteGate } from './write-gate.js';

/** Where a run of scratch lies; segment 0: zeroes. */
const SCRATCH_ZEROES: FramePlace = { segment: 0, at: 0 };

/** What the journal holds of one volume, between what the mirror had when the view was opened and the view's own position. */
export interface ImageSource {
  /** Of the window's beginning, up to where the image stays small. */
  image(start: number, end: number): WindowImage | Promise<WindowImage>;
}

export interface WindowImage {
  readonly image: ImageMap;
  /** The image shows the window up to here. */
  readonly end: number;
}

export interface ViewVolumeParts {
  readonly index: number;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly mirror: Volume;
  /** undefined: promoted before this view was opened. */
  readonly base: ImageSource | undefined;
  readonly reader: FrameReader;
  readonly scratch: ScratchJournal | undefined;
  readonly gate: WriteGate;
}

interface LayerRun {
  readonly start: number;
  readonly end: number;
  readonly layer: Layer;
}

type Layer = { readonly kind: 'scratch'; readonly place: FramePlace } | { readonly kind: 'journal'; readonly piece: ImagePiece } | { readonly kind: 'mirror'; readonly options?: ReadOptions | undefined };

/**
 * One disk at a checkpoint: scratch over the journal up to the checkpoint over the mirror. Later appends and allowed applies do not show:
 * what an apply may write into the mirror is covered by the journal here. After promotion it is the mirror alone.
 */
export class ViewVolume implements Volume {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly #overlay = new ExtentMap<FramePlace>((place, skip) => (place.segment === 0 ? place : { segment: place.segment, at: place.at + skip }));
  /** Every block written since the checkpoint, marked before the write begins; undefined: this view has not seen them all. */
  readonly changedBlocks: DirtyBitmap | undefined;
  /** Scratch that the mirror lacks, while a promotion is under way. */
  #dirty: ExtentMap<true> | undefined;
  #isPromoted: boolean;
  #isClosed = false;
  readonly #reading = new Set<Promise<void>>();

  constructor(private readonly parts: ViewVolumeParts) {
    this.sizeBytes = parts.sizeBytes;
    this.isReadOnly = parts.isReadOnly;
    this.#isPromoted = parts.base === undefined;
    this.changedBlocks = parts.scratch === undefined || parts.base === undefined ? undefined : new DirtyBitmap(parts.sizeBytes);
  }

  /** The scratch journal holds a write now, in this order. */
  noteScratch(offset: number, length: number, place: FramePlace | undefined): void {
    this.changedBlocks?.mark(offset, offset + length);
    this.#overlay.insert(offset, offset + length, place ?? SCRATCH_ZEROES);
    this.#dirty?.insert(offset, offset + length, true);
  }

  read(offset: number, target: Uint8Array, options?: ReadOptions): Done {
    assertInVolume(this, offset, target.byteLength);
    checkOpen(this.#isClosed);
    if (this.#isPromoted) return this.parts.mirror.read(offset, target, options);
    const reads: Promise<void>[] = [];
    const { base } = this.parts;
    const mirror: Layer = { kind: 'mirror', options };
    this.#overlay.visit(offset, offset + target.byteLength, (start, end, place) => {
      const part = target.subarray(start - offset, end - offset);
      const done = place !== undefined ? this.#readLayer(start, part, { kind: 'scratch', place })
        : base === undefined ? this.#readLayer(start, part, mirror) : this.#readBase({ base, mirror }, start, part);
      if (done !== undefined) reads.push(done);
    });
    if (reads.length === 0) return undefined;
    const reading = Promise.all(reads).then(() => undefined);
    this.#track(reading);
    return reading;
  }

  /** Below scratch. */
  async #readBase({ base, mirror }: { readonly base: ImageSource; readonly mirror: Layer }, offset: number, target: Uint8Array): Promise<void> {
    const end = offset + target.byteLength;
    const reads: Promise<void>[] = [];
    try {
      for (let at = offset; at < end;) {
        const { image, end: stop } = await lookedUp(base, at, end);
        image.visit(at, stop, (from, to, piece) => {
          const layer: Layer = piece === undefined ? mirror : { kind: 'journal', piece };
          const done = this.#readLayer(from, target.subarray(from - offset, to - offset), layer);
          if (done === undefined) return;
          reads.push(done);
          done.catch(() => undefined); // it may fail while the next window is looked up: told below
        });
        at = stop;
      }
    } finally {
      await Promise.allSettled(reads); // none is left behind when another one fails
    }
    await Promise.all(reads);
  }

  async write(offset: number, source: Uint8Array, options?: WriteOptions): Promise<void> {
    assertInVolume(this, offset, source.byteLength);
    checkWritable(this, this.#isClosed);
    if (source.byteLength === 0) return;
    this.changedBlocks?.mark(offset, offset + source.byteLength);
    await this.parts.gate.run(async () => {
      if (this.#isPromoted) await this.parts.mirror.write(offset, source, options);
      else await this.#writeScratch({ offset, length: source.byteLength, payload: source }, options);
    });
  }

  async writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Promise<void> {
    assertInVolume(this, offset, length);
    checkWritable(this, this.#isClosed);
    if (length === 0) return;
    this.changedBlocks?.mark(offset, offset + length);
    await this.parts.gate.run(async () => {
      if (this.#isPromoted) return await this.parts.mirror.writeZeroes(offset, length, options);
      for (let at = offset; at < offset + length; at += RECORD_LENGTH_MAX) {
        const part = Math.min(RECORD_LENGTH_MAX, offset + length - at);
        await this.#writeScratch({ offset: at, length: part, payload: undefined }, options);
      }
    });
  }

  async flush(): Promise<void> {
    checkOpen(this.#isClosed);
    if (this.#isPromoted) await this.parts.mirror.flush();
    else await this.parts.scratch?.sync();
  }

  async allocation(offset: number, length: number): Promise<AllocationRun[]> {
    assertInVolume(this, offset, length);
    checkOpen(this.#isClosed);
    if (this.#isPromoted) return await this.parts.mirror.allocation(offset, length);
    const runs: AllocationRun[] = [];
    for await (const { start, end, layer } of this.#runs(offset, offset + length)) {
      if (layer.kind !== 'mirror') addRun(runs, { length: end - start, isHole: isZeroes(layer), isZero: isZeroes(layer) });
      else for (const run of await this.parts.mirror.allocation(start, end - start)) addRun(runs, run);
    }
    return runs;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.readsDone();
  }

  /** Reads that began before now are over: nothing below is used by them any more. */
  async readsDone(): Promise<void> {
    await Promise.allSettled(this.#reading);
  }

  /** From now on scratch that the mirror lacks is counted; all of it at first. */
  beginPromotion(): void {
    const dirty = new ExtentMap<true>(() => true);
    for (const { start, end } of this.#overlay.entries()) dirty.insert(start, end, true);
    this.#dirty = dirty;
  }

  endPromotion({ isDone }: { readonly isDone: boolean }): void {
    this.#dirty = undefined;
    this.#isPromoted = isDone;
    if (isDone) this.#overlay.clear();
  }

  get dirtyBytes(): number {
    return this.#dirty?.coveredBytes ?? 0;
  }

  /** Bytes that promotion has to move: journal runs under scratch are not among them. */
  async promotableBytes(): Promise<number> {
    let bytes = 0;
    for await (const { start, end, layer } of this.#runs(0, this.sizeBytes)) if (layer.kind !== 'mirror') bytes += end - start;
    return bytes;
  }

  /** Copies the journal's runs that scratch does not cover into the mirror, at most `stepBytes` at a time; yields the bytes of each step. */
  async *copyJournal(stepBytes: number): AsyncGenerator<number, void> {
    for await (const { start, end, layer } of this.#runs(0, this.sizeBytes)) {
      if (layer.kind !== 'journal') continue;
      for (let from = start; from < end; from += stepBytes) {
        const to = Math.min(end, from + stepBytes);
        await this.#copy(from, to, skipped(layer, from - start));
        yield to - from;
      }
    }
  }

  /** Copies the next dirty run of scratch, at most `bytesMax`, into the mirror; 0: none is left. What is rewritten meanwhile is dirty again. */
  async copyDirty(bytesMax: number): Promise<number> {
    const next = this.#dirty?.nextEntry(0);
    if (next === undefined) return 0;
    const end = Math.min(next.end, next.start + bytesMax);
    this.#dirty?.remove(next.start, end);
    try {
      const runs: LayerRun[] = [];
      this.#overlay.visit(next.start, end, (from, to, place) => {
        assert(place !== undefined, 'what is dirty is in scratch');
        runs.push({ start: from, end: to, layer: { kind: 'scratch', place } });
      });
      for (const run of runs) await this.#copy(run.start, run.end, run.layer);
    } catch (error) {
      this.#dirty?.insert(next.start, end, true);
      throw error;
    }
    return end - next.start;
  }

  async #copy(start: number, end: number, layer: Layer): Promise<void> {
    assert(layer.kind !== 'mirror', 'a run that the mirror lacks');
    if (isZeroes(layer)) {
      await this.parts.mirror.writeZeroes(start, end - start, { mayUnmap: true });
      return;
    }
    const bytes = new Uint8Array(end - start);
    await this.#readLayer(start, bytes, layer);
    await this.parts.mirror.write(start, bytes);
  }

  async #writeScratch(write: { offset: number; length: number; payload: Uint8Array | undefined }, options: WriteOptions | undefined): Promise<void> {
    const { scratch, index } = this.parts;
    assert(scratch !== undefined, 'a writable view has scratch');
    await scratch.write({ volume: index, ...write });
    if (options?.isFua === true) await scratch.sync();
  }

  /** What shows in `[start, end)`, in order, window by window. */
  async *#runs(start: number, end: number): AsyncGenerator<LayerRun, void> {
    const { base } = this.parts;
    for (let at = start; at < end;) {
      const window = base && (await lookedUp(base, at, end));
      const { image, end: stop } = window ?? { image: undefined, end };
      const runs: LayerRun[] = [];
      this.#overlay.visit(at, stop, (from, to, place) => {
        if (place !== undefined) runs.push({ start: from, end: to, layer: { kind: 'scratch', place } });
        else if (image === undefined) runs.push({ start: from, end: to, layer: { kind: 'mirror' } });
        else image.visit(from, to, (a, b, piece) => runs.push({ start: a, end: b, layer: piece === undefined ? { kind: 'mirror' } : { kind: 'journal', piece } }));
      });
      yield* runs;
      at = stop;
    }
  }

  #readLayer(start: number, target: Uint8Array, layer: Layer): Promise<void> | undefined {
    if (isZeroes(layer)) {
      target.fill(0);
      return undefined;
    }
    if (layer.kind === 'mirror') return this.parts.mirror.read(start, target, layer.options) ?? undefined;
    if (layer.kind === 'scratch') return this.parts.scratch?.read(layer.place, target);
    return this.#readJournal(layer.piece, target);
  }

  #readJournal(piece: ImagePiece, target: Uint8Array): Promise<void> | undefined {
    return this.parts.reader.read(piece, target)?.catch((cause: unknown) => {
      throw unreadable(cause);
    });
  }

  #track(reading: Promise<void>): void {
    this.#reading.add(reading);
    const forget = (): void => void this.#reading.delete(reading);
    reading.then(forget, forget);
  }
}

const isZeroes = (layer: Layer): boolean =>
  (layer.kind === 'journal' && layer.piece.payloadAt === 0) || (layer.kind === 'scratch' && layer.place.segment === 0);

/** The same run without its first `skip` bytes. */
function skipped(layer: Layer, skip: number): Layer {
  if (layer.kind !== 'journal' || layer.piece.payloadAt === 0) return layer;
  const { piece } = layer;
  return { kind: 'journal', piece: { ...piece, payloadAt: piece.payloadAt + skip, skip: piece.skip + skip } };
}

const unreadable = (cause: unknown): VolumeError => new VolumeError('VOLUME_IO', 'the journal cannot be read', { cause });

async function lookedUp(base: ImageSource, start: number, end: number): Promise<WindowImage> {
  try {
    return await base.image(start, end);
  } catch (cause) {
    throw unreadable(cause);
  }
}

/** Neighbours of one kind become one. */
function addRun(runs: AllocationRun[], run: AllocationRun): void {
  const last = runs.at(-1);
  const isSame = last !== undefined && last.isHole === run.isHole && last.isZero === run.isZero;
  if (isSame) runs[runs.length - 1] = { ...last, length: last.length + run.length };
  else runs.push(run);
}
