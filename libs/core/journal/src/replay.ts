import type { Crc32c } from '@tidemark/base';
import { isVolumeRecord, type StreamRecord } from '@tidemark/frame';
import { decodeJournalRecord, isFrameKind, recordBytes } from './codec.js';
import { JOURNAL_RECORD_HEADER_BYTES } from './layout.js';
import { decodePlaced, type PlacedRecords } from './kept-frame.js';
import type { DecompressBody } from './scanner.js';
import type { MirrorReplay } from './types.js';

/** Carries out a `mirrorReplay`, frame by frame: which records go into the mirrors, and where it stops. */
export class Replay {
  /** Every record below has been dealt with. */
  at: number;
  /** Of the record at `at`. */
  recordNo: number;
  #lastSeq: number;
  #bytes = 0;

  constructor(private readonly effect: MirrorReplay) {
    this.at = effect.at;
    this.recordNo = effect.recordNo;
    this.#lastSeq = effect.afterSeq;
  }

  get isDone(): boolean {
    return this.at >= this.effect.endAt || this.#bytes >= this.effect.bytesMax || this.#lastSeq >= this.effect.throughSeq;
  }

  /** Position that the mirrors reach with it. */
  get lastSeq(): number {
    const { throughSeq, endAt, endSeq } = this.effect;
    return Math.min(throughSeq, this.at >= endAt ? endSeq : this.#lastSeq);
  }

  /**
   * Is this the record that stands at `at`? A whole record, with all its checksums, may lie in another one's place: of a write that the disk put there.
   * Everything behind it would count as applied, and the segment be freed.
   */
  isNext(header: { readonly recordNo: number }): boolean {
    return header.recordNo === this.recordNo;
  }

  /** A record of another kind. */
  skip(bodyBytes: number): void {
    this.#next(bodyBytes);
  }

  #next(bodyBytes: number): void {
    this.at += recordBytes(bodyBytes);
    this.recordNo += 1;
  }

  /** The records of the frame at `at` that go into the mirrors, in order. */
  frame(header: { readonly firstSeq: number; readonly lastSeq: number; readonly bodyBytes: number; readonly rawBytes: number }, { records, seqs }: PlacedRecords): StreamRecord[] {
    const { afterSeq, throughSeq, baseSeqs } = this.effect;
    const isDue = (volume: number, seq: number): boolean => seq > Math.max(afterSeq, baseSeqs[volume] ?? 0) && seq <= throughSeq;
    const wanted = records.filter(({ type, volume }, i) => isVolumeRecord(type) && isDue(volume, seqs?.[i] ?? header.firstSeq + i));
    this.#bytes += header.rawBytes;
    this.#lastSeq = Math.max(this.#lastSeq, Math.min(header.lastSeq, throughSeq));
    // What a frame holds beyond the end is wanted another time.
    if (header.lastSeq <= throughSeq) this.#next(header.bodyBytes);
    return wanted;
  }
}

/** As {@link Replay}, over a segment's bytes in memory. */
export function replaySegment(
  effect: MirrorReplay,
  bytes: Uint8Array,
  { salt, crc32c, decompress, write }: { readonly salt: Uint8Array; readonly crc32c: Crc32c; readonly decompress: DecompressBody; readonly write: (record: StreamRecord) => void },
): Replay | undefined {
  const replay = new Replay(effect);
  while (!replay.isDone) {
    const bodyAt = replay.at + JOURNAL_RECORD_HEADER_BYTES;
    const header = decodeJournalRecord(bytes.subarray(replay.at, bodyAt), salt, crc32c);
    if (header === undefined || !replay.isNext(header)) return undefined;
    if (!isFrameKind(header.kind)) replay.skip(header.bodyBytes);
    else {
      const body = bytes.subarray(bodyAt, bodyAt + header.bodyBytes);
      if (crc32c(body) !== header.bodyCrc) return undefined;
      for (const record of replay.frame(header, decodePlaced(header, decompress(header.codec, body, header.rawBytes)))) write(record);
    }
  }
  return replay;
}
