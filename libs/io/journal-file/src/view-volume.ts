import { assert, type Done } from '@tidemark/base';
import { ExtentMap } from '@tidemark/extent';
import { RECORD_LENGTH_MAX } from '@tidemark/frame';
import type { FramePlace, ImageMap, ImagePiece } from '@tidemark/journal';
import {
  type AllocationRun, assertInVolume, checkOpen, checkWritable, type Volume, VolumeError, type WriteOptions, type WriteZeroesOptions,
} from '@tidemark/volume';
import type { FrameReader } from './frame-reader.js';
import type { ScratchJournal } from './scratch-journal.js';
import type { WriteGate } from './write-gate.js';

/** Where a run of scratch lies; segment 0: zeroes. */
const SCRATCH_ZEROES: FramePlace = { segment: 0, at: 0 };

export interface ViewVolumeParts {
  readonly index: number;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly mirror: Volume;
  /** undefined: promoted before this view was opened. */
  readonly base: ImageMap | undefined;
  readonly reader: FrameReader;
  readonly scratch: ScratchJournal | undefined;
  readonly gate: WriteGate;
}

type Layer = { readonly kind: 'scratch'; readonly place: FramePlace } | { readonly kind: 'journal'; readonly piece: ImagePiece } | { readonly kind: 'mirror' };

/**
 * One disk at a checkpoint: scratch over the journal up to the checkpoint over the mirror. Later appends and allowed applies do not show:
 * what an apply may write into the mirror is covered by the journal here. After promotion it is the mirror alone.
 */
export class ViewVolume implements Volume {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly #overlay = new ExtentMap<FramePlace>((place, skip) => (place.segment === 0 ? place : { segment: place.segment, at: place.at + skip }));
  /** Scratch that the mirror lacks, while a promotion is under way. */
  #dirty: ExtentMap<true> | undefined;
  #isPromoted: boolean;
  #isClosed = false;
  readonly #reading = new Set<Promise<void>>();

  constructor(private readonly parts: ViewVolumeParts) {
    this.sizeBytes = parts.sizeBytes;
    this.isReadOnly = parts.isReadOnly;
    this.#isPromoted = parts.base === undefined;
  }

  /** The scratch journal holds a write now, in this order. */
  noteScratch(offset: number, length: number, place: FramePlace | undefined): void {
    this.#overlay.insert(offset, offset + length, place ?? SCRATCH_ZEROES);
    this.#dirty?.insert(offset, offset + length, true);
  }

  read(offset: number, target: Uint8Array): Done {
    assertInVolume(this, offset, target.byteLength);
    checkOpen(this.#isClosed);
    if (this.#isPromoted) return this.parts.mirror.read(offset, target);
    const reads: Promise<void>[] = [];
    this.#visit(offset, offset + target.byteLength, (start, end, layer) => {
      const done = this.#readLayer(start, target.subarray(start - offset, end - offset), layer);
      if (done !== undefined) reads.push(done);
    });
    if (reads.length === 0) return undefined;
    const reading = Promise.all(reads).then(() => undefined);
    this.#track(reading);
    return reading;
  }

  async write(offset: number, source: Uint8Array, options?: WriteOptions): Promise<void> {
    assertInVolume(this, offset, source.byteLength);
    checkWritable(this, this.#isClosed);
    if (source.byteLength === 0) return;
    await this.parts.gate.run(async () => {
      if (this.#isPromoted) await this.parts.mirror.write(offset, source, options);
      else await this.#writeScratch({ offset, length: source.byteLength, payload: source }, options);
    });
  }

  async writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Promise<void> {
    assertInVolume(this, offset, length);
    checkWritable(this, this.#isClosed);
    if (length === 0) return;
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
    const pieces: { start: number; end: number; layer: Layer }[] = [];
    this.#visit(offset, offset + length, (start, end, layer) => pieces.push({ start, end, layer }));
    const runs: AllocationRun[] = [];
    for (const { start, end, layer } of pieces) {
      if (layer.kind === 'mirror') runs.push(...(await this.parts.mirror.allocation(start, end - start)));
      else runs.push({ length: end - start, isHole: isZeroes(layer), isZero: isZeroes(layer) });
    }
    return mergeRuns(runs);
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
  get promotableBytes(): number {
    let bytes = 0;
    this.#visit(0, this.sizeBytes, (start, end, layer) => {
      if (layer.kind !== 'mirror') bytes += end - start;
    });
    return bytes;
  }

  /** Copies the journal's runs in `[start, end)` that scratch does not cover now into the mirror. */
  async copyJournal(start: number, end: number): Promise<number> {
    const runs: { start: number; end: number; layer: Layer }[] = [];
    this.#visit(start, end, (from, to, layer) => {
      if (layer.kind === 'journal') runs.push({ start: from, end: to, layer });
    });
    let copiedBytes = 0;
    for (const run of runs) {
      await this.#copy(run.start, run.end, run.layer);
      copiedBytes += run.end - run.start;
    }
    return copiedBytes;
  }

  /** Copies the next dirty run of scratch, at most `bytesMax`, into the mirror; 0: none is left. What is rewritten meanwhile is dirty again. */
  async copyDirty(bytesMax: number): Promise<number> {
    const next = this.#dirty?.nextEntry(0);
    if (next === undefined) return 0;
    const end = Math.min(next.end, next.start + bytesMax);
    this.#dirty?.remove(next.start, end);
    try {
      const runs: { start: number; end: number; layer: Layer }[] = [];
      this.#visit(next.start, end, (from, to, layer) => runs.push({ start: from, end: to, layer }));
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

  #visit(start: number, end: number, visit: (start: number, end: number, layer: Layer) => void): void {
    const { base } = this.parts;
    this.#overlay.visit(start, end, (from, to, place) => {
      if (place !== undefined) return visit(from, to, { kind: 'scratch', place });
      if (base === undefined) return visit(from, to, { kind: 'mirror' });
      base.visit(from, to, (a, b, piece) => visit(a, b, piece === undefined ? { kind: 'mirror' } : { kind: 'journal', piece }));
    });
  }

  #readLayer(start: number, target: Uint8Array, layer: Layer): Promise<void> | undefined {
    if (isZeroes(layer)) {
      target.fill(0);
      return undefined;
    }
    if (layer.kind === 'mirror') return this.parts.mirror.read(start, target) ?? undefined;
    if (layer.kind === 'scratch') return this.parts.scratch?.read(layer.place, target);
    const cached = this.parts.reader.cached(layer.piece);
    if (cached === undefined) return this.#readJournal(layer.piece, target);
    copyPayload(cached, layer.piece, target);
    return undefined;
  }

  async #readJournal(piece: ImagePiece, target: Uint8Array): Promise<void> {
    try {
      copyPayload(await this.parts.reader.body(piece), piece, target);
    } catch (cause) {
      throw new VolumeError('VOLUME_IO', 'the journal cannot be read', { cause });
    }
  }

  #track(reading: Promise<void>): void {
    this.#reading.add(reading);
    const forget = (): void => void this.#reading.delete(reading);
    reading.then(forget, forget);
  }
}

const isZeroes = (layer: Layer): boolean =>
  (layer.kind === 'journal' && layer.piece.payloadAt === 0) || (layer.kind === 'scratch' && layer.place.segment === 0);

function copyPayload(body: Uint8Array, { payloadAt }: ImagePiece, target: Uint8Array): void {
  target.set(body.subarray(payloadAt, payloadAt + target.byteLength));
}

function mergeRuns(runs: readonly AllocationRun[]): AllocationRun[] {
  const merged: AllocationRun[] = [];
  for (const run of runs) {
    const last = merged.at(-1);
    const isSame = last !== undefined && last.isHole === run.isHole && last.isZero === run.isZero;
    if (isSame) merged[merged.length - 1] = { ...last, length: last.length + run.length };
    else merged.push(run);
  }
  return merged;
}
