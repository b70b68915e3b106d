import { MiB } from '@tidemark/base';
import { decodeMarker, decodeSeal, isVolumeRecord, RecordType, type StreamRecord } from '@tidemark/frame';
import type { JournalRecordHeader } from './codec.js';
import { Coverage } from './coverage.js';
import { keptRawBytes, type PlacedRecords } from './kept-frame.js';

/** What a compaction has to keep readable. */
export interface KeptImages {
  /** Positions of the markers of all checkpoints that are held or may still come to be, ascending: each shows what lies below it. */
  readonly markerSeqs: readonly number[];
  readonly checkpointIds: ReadonlySet<number>;
  /** By volume: records up to here count in the mirrors only. */
  readonly baseSeqs: readonly number[];
}

/** A part of a stream record that is kept: bytes of its volume; of a mark both 0. */
export interface KeptPiece {
  readonly index: number;
  readonly start: number;
  readonly end: number;
}

/** What is kept of a frame. */
export interface FrameRemains {
  /** undefined: all of it, as it is. */
  readonly pieces: readonly KeptPiece[] | undefined;
  /** Its position in the journal's time counts, or the phase of a sync changes with it. */
  readonly hasMarks: boolean;
  readonly hasSyncMarks: boolean;
  readonly rawBytes: number;
}

/** Longer runs of zeroes cost a table entry and are not looked at block by block. */
const ZEROES_LOOKED_AT_MAX = 16 * MiB;

/**
 * Walks frames from the newest to the oldest and says what of each any kept checkpoint shows: of versions of a sector between two neighbouring markers
 * only the newest. Works over as many segments as it is fed, in bounded memory.
 */
export class VersionSweep {
  readonly #coverage: Coverage;
  /** The newest marker below what has been visited. */
  #marker: number;

  constructor(
    private readonly images: KeptImages,
    coverage = new Coverage(),
  ) {
    this.#coverage = coverage;
    this.#marker = images.markerSeqs.length - 1;
  }

  /** Segments are left out that are newer than the next one: nothing that they hold is known. */
  forget(): void {
    this.#coverage.clear();
  }

  /** The frame before the one that was given before. `isWhole`: nothing may be dropped of it, but it covers what is older. */
  frame(header: Pick<JournalRecordHeader, 'firstSeq' | 'rawBytes'>, { records, seqs }: PlacedRecords, isWhole = false): FrameRemains {
    const pieces: KeptPiece[] = [];
    let rawBytes = 0;
    let isAllKept = true;
    let hasMarks = false;
    let hasSyncMarks = false;
    for (let index = records.length - 1; index >= 0; index -= 1) {
      const record = records[index];
      if (record === undefined) continue;
      const seq = seqs?.[index] ?? header.firstSeq + index;
      this.#passMarkers(seq);
      if (!isVolumeRecord(record.type)) {
        const isSync = record.type === RecordType.syncStart || record.type === RecordType.syncEnd;
        const isKept = isSync || this.#isKeptMark(record);
        if (isKept) pieces.push({ index, start: 0, end: 0 });
        if (isKept) rawBytes += keptRawBytes(record.payload?.byteLength ?? 0);
        isAllKept &&= isKept;
        hasMarks ||= isKept;
        hasSyncMarks ||= isSync;
        continue;
      }
      // Pieces of one write do not overlap, so that they may be visited in any order.
      const shown = this.#shown(record, seq, index);
      for (let i = shown.length - 1; i >= 0; i -= 1) {
        const piece = shown[i];
        if (piece === undefined) continue;
        pieces.push(piece);
        rawBytes += keptRawBytes(record.payload === undefined ? 0 : piece.end - piece.start);
      }
      isAllKept &&= shown.length === 1 && shown[0]?.start === record.offset && shown[0].end === record.offset + record.length;
    }
    const isKept = isWhole || isAllKept || rawBytes >= header.rawBytes;
    return { pieces: isKept ? undefined : pieces.reverse(), hasMarks, hasSyncMarks, rawBytes };
  }

  /** A checkpoint below needs versions of its own, whatever was written behind it. */
  #passMarkers(seq: number): void {
    const { markerSeqs } = this.images;
    if ((markerSeqs[this.#marker] ?? -1) <= seq) return;
    this.#coverage.clear();
    while ((markerSeqs[this.#marker] ?? -1) > seq) this.#marker -= 1;
  }

  #isKeptMark({ type, payload }: StreamRecord): boolean {
    if (payload === undefined) return false;
    const { checkpointId } = type === RecordType.marker ? decodeMarker(payload) : decodeSeal(payload);
    return this.images.checkpointIds.has(checkpointId);
  }

  /** Of a record that counts in the mirrors only nothing shows, nor does it hide anything. */
  #shown({ volume, offset, length, payload }: StreamRecord, seq: number, index: number): KeptPiece[] {
    if (seq <= (this.images.baseSeqs[volume] ?? 0)) return [];
    const end = offset + length;
    const shown: KeptPiece[] = [];
    if (payload === undefined && length > ZEROES_LOOKED_AT_MAX) shown.push({ index, start: offset, end });
    else this.#coverage.uncovered(volume, offset, end, (from, to) => shown.push({ index, start: from, end: to }));
    this.#coverage.add(volume, offset, end);
    return shown;
  }
}
