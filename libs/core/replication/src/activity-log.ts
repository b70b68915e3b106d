import { assert, type Crc32c } from '@tidemark/base';
import { ACTIVITY_EXTENT_BYTES, decodeSector, encodeSector, SECTOR_BYTES, SECTOR_WORDS, sectorsOf } from './activity-sectors.js';

interface VolumeMarks {
  readonly sizeBytes: number;
  /** Its first sector in the file. */
  readonly firstSector: number;
  readonly sectorCount: number;
  /** Extents that may differ from the recovery site after a crash. */
  readonly marked: Uint32Array;
  /** Of those, the ones whose mark a crash cannot lose. */
  readonly durable: Uint32Array;
  /** Written since the last round began. */
  readonly touched: Uint32Array;
  /** What the running round may clear. */
  readonly candidates: Uint32Array;
  readonly isSectorDirty: Uint8Array;
}

/** Sectors on their way to the disk. One batch at a time. */
export interface ActivityBatch {
  /** Where in the file, and what. */
  readonly writes: readonly { readonly at: number; readonly bytes: Uint8Array }[];
  readonly parts: readonly { readonly volume: number; readonly sector: number; readonly words: Uint32Array }[];
}

export interface MarkedExtent {
  /** Volume index in the protection. */
  readonly volume: number;
  readonly start: number;
  readonly end: number;
}

export interface ActivityLogOptions {
  readonly volumeSizesBytes: readonly number[];
  /** Random, new with every file: a sector of another file is then never taken for one of this. */
  readonly logId: Uint8Array;
  readonly crc32c: Crc32c;
}

/**
 * Which coarse extents of a protection's volumes may differ from the recovery site after a crash of this host. A mark is durable before the
 * first write to its extent begins, and goes only when everything written there is durable at both ends ({@link ActivityKeeper}).
 *
 * Invariant, while `isGating`: an extent with a write that is submitted to the volume, or is not durable there, or not at the
 * recovery site, has its durable bit set.
 */
export class ActivityLog {
  readonly #volumes: readonly VolumeMarks[];
  readonly #options: ActivityLogOptions;
  #clearedSeq = 0;
  #hasDirty = false;
  /** Writes wait for their marks. Not while everything counts as marked anyway. */
  isGating = false;

  constructor(options: ActivityLogOptions) {
    this.#options = options;
    let firstSector = 0;
    this.#volumes = options.volumeSizesBytes.map((sizeBytes) => {
      const marks = emptyMarks(sizeBytes, firstSector);
      firstSector += marks.sectorCount;
      return marks;
    });
  }

  /** The log as its file holds it; undefined when one sector is not whole: then nothing is known. */
  static restore(options: ActivityLogOptions, bytes: Uint8Array): ActivityLog | undefined {
    const log = new ActivityLog(options);
    if (bytes.length !== log.fileBytes) return undefined;
    for (const [volume, marks] of log.#volumes.entries()) {
      for (let sector = 0; sector < marks.sectorCount; sector += 1) {
        const at = (marks.firstSector + sector) * SECTOR_BYTES;
        const found = decodeSector(bytes.subarray(at, at + SECTOR_BYTES), { volume, sector, logId: options.logId }, options.crc32c);
        if (found === undefined) return undefined;
        marks.marked.set(found.words, sector * SECTOR_WORDS);
        marks.durable.set(found.words, sector * SECTOR_WORDS);
        log.#clearedSeq = Math.max(log.#clearedSeq, found.clearedSeq);
      }
    }
    log.isGating = true;
    return log;
  }

  get fileBytes(): number {
    return this.#volumes.reduce((sum, { sectorCount }) => sum + sectorCount * SECTOR_BYTES, 0);
  }

  /** Position in the stream up to which the recovery site must be durable for the missing marks to be right. */
  get clearedSeq(): number {
    return this.#clearedSeq;
  }

  /** Every sector, as for a new file. */
  encodeAll(): Uint8Array {
    const bytes = new Uint8Array(this.fileBytes);
    for (const [volume, marks] of this.#volumes.entries()) {
      for (let sector = 0; sector < marks.sectorCount; sector += 1) {
        bytes.set(this.#encode(volume, sector, marks.marked), (marks.firstSector + sector) * SECTOR_BYTES);
      }
    }
    return bytes;
  }

  /**
   * A write to this range is about to begin. True: it may. False: not before the batch that {@link takeBatch} gives is durable. Hot path: two
   * words per extent, nothing allocated.
   */
  touch(volume: number, offset: number, length: number): boolean {
    const marks = this.#at(volume);
    const last = Math.floor((offset + length - 1) / ACTIVITY_EXTENT_BYTES);
    let isDurable = true;
    for (let extent = Math.floor(offset / ACTIVITY_EXTENT_BYTES); extent <= last; extent += 1) {
      const word = extent >>> 5;
      const bit = 1 << (extent & 31);
      marks.touched[word] = (marks.touched[word] ?? 0) | bit;
      if (((marks.durable[word] ?? 0) & bit) !== 0) continue;
      isDurable = false;
      if (((marks.marked[word] ?? 0) & bit) !== 0) continue;
      marks.marked[word] = (marks.marked[word] ?? 0) | bit;
      this.#setDirty(marks, word);
    }
    return isDurable || !this.isGating;
  }

  /** True if every mark of the range is durable: what {@link touch} says, without marking. */
  isDurable(volume: number, offset: number, length: number): boolean {
    const { durable } = this.#at(volume);
    const last = Math.floor((offset + length - 1) / ACTIVITY_EXTENT_BYTES);
    for (let extent = Math.floor(offset / ACTIVITY_EXTENT_BYTES); extent <= last; extent += 1) {
      if (((durable[extent >>> 5] ?? 0) & (1 << (extent & 31))) === 0) return false;
    }
    return true;
  }

  /** The sectors that changed since the last batch. To be written, made durable, and then told with {@link batchDurable}, before another is taken. */
  takeBatch(): ActivityBatch | undefined {
    if (!this.#hasDirty) return undefined;
    this.#hasDirty = false;
    const writes: { at: number; bytes: Uint8Array }[] = [];
    const parts: { volume: number; sector: number; words: Uint32Array }[] = [];
    for (const [volume, marks] of this.#volumes.entries()) {
      for (let sector = 0; sector < marks.sectorCount; sector += 1) {
        if (marks.isSectorDirty[sector] !== 1) continue;
        marks.isSectorDirty[sector] = 0;
        writes.push({ at: (marks.firstSector + sector) * SECTOR_BYTES, bytes: this.#encode(volume, sector, marks.marked) });
        parts.push({ volume, sector, words: marks.marked.slice(sector * SECTOR_WORDS, (sector + 1) * SECTOR_WORDS) });
      }
    }
    return { writes, parts };
  }

  batchDurable(batch: ActivityBatch): void {
    for (const { volume, sector, words } of batch.parts) {
      const { marked, durable } = this.#at(volume);
      for (const [index, word] of words.entries()) {
        const at = sector * SECTOR_WORDS + index;
        // A mark that was cleared meanwhile is not durable: the next batch takes it from the disk.
        durable[at] = (durable[at] ?? 0) | (word & (marked[at] ?? 0));
      }
    }
  }

  /** What was not written since the last round began becomes a candidate. The bytes of the volumes that have some. */
  beginRound(): readonly number[] {
    const volumes: number[] = [];
    for (const [volume, { marked, durable, touched, candidates }] of this.#volumes.entries()) {
      let hasSome = false;
      for (let word = 0; word < marked.length; word += 1) {
        const cold = (marked[word] ?? 0) & (durable[word] ?? 0) & ~(touched[word] ?? 0);
        candidates[word] = cold;
        hasSome ||= cold !== 0;
      }
      touched.fill(0);
      if (hasSome) volumes.push(volume);
    }
    return volumes;
  }

  /** Both ends hold durably what was written to the candidates before the round, up to `seq`: those that were not written meanwhile are clean. */
  endRound(seq: number): void {
    this.#clearedSeq = Math.max(this.#clearedSeq, seq);
    for (const marks of this.#volumes) {
      const { marked, durable, touched, candidates } = marks;
      for (let word = 0; word < marked.length; word += 1) {
        const clean = (candidates[word] ?? 0) & ~(touched[word] ?? 0);
        candidates[word] = 0;
        if (clean === 0) continue;
        marked[word] = (marked[word] ?? 0) & ~clean;
        durable[word] = (durable[word] ?? 0) & ~clean;
        this.#setDirty(marks, word);
      }
    }
  }

  abandonRound(): void {
    for (const { candidates } of this.#volumes) candidates.fill(0);
  }

  /** Marked extents, in order. */
  *marked(onlyVolume?: number): Iterable<MarkedExtent> {
    for (const [volume, { marked, sizeBytes }] of this.#volumes.entries()) {
      if (onlyVolume !== undefined && volume !== onlyVolume) continue;
      for (let start = 0; start < sizeBytes; start += ACTIVITY_EXTENT_BYTES) {
        const extent = start / ACTIVITY_EXTENT_BYTES;
        if (((marked[extent >>> 5] ?? 0) & (1 << (extent & 31))) !== 0) yield { volume, start, end: Math.min(sizeBytes, start + ACTIVITY_EXTENT_BYTES) };
      }
    }
  }

  get markedBytes(): number {
    let bytes = 0;
    for (const { start, end } of this.marked()) bytes += end - start;
    return bytes;
  }

  #encode(volume: number, sector: number, marked: Uint32Array): Uint8Array {
    const words = marked.subarray(sector * SECTOR_WORDS, (sector + 1) * SECTOR_WORDS);
    return encodeSector({ volume, sector, clearedSeq: this.#clearedSeq, words }, this.#options.logId, this.#options.crc32c);
  }

  #setDirty(marks: VolumeMarks, word: number): void {
    marks.isSectorDirty[Math.floor(word / SECTOR_WORDS)] = 1;
    this.#hasDirty = true;
  }

  #at(volume: number): VolumeMarks {
    const marks = this.#volumes[volume];
    assert(marks !== undefined, 'volume of the protection');
    return marks;
  }
}

function emptyMarks(sizeBytes: number, firstSector: number): VolumeMarks {
  const sectorCount = sectorsOf(sizeBytes);
  const bits = (): Uint32Array => new Uint32Array(sectorCount * SECTOR_WORDS);
  return {
    sizeBytes, firstSector, sectorCount, marked: bits(), durable: bits(), touched: bits(), candidates: bits(), isSectorDirty: new Uint8Array(sectorCount),
  };
}
