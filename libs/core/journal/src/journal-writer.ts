import { assert, type Crc32c } from '@tidemark/base';
import { FrameCodec, type FrameHeader, type StreamRecord } from '@tidemark/frame';
import { encodeJournalRecord, encodeSegmentHeader, paddingAfter, recordBytes, type JournalRecordHeader } from './codec.js';
import type { DurableRecord } from './durable-state.js';
import { SEGMENT_HEADER_BYTES, type JournalRecordKind } from './layout.js';
import type { JournalIdentity } from './types.js';

/** A record that waits for its turn. What depends on its place is filled in when it is written. */
export interface PendingRecord {
  readonly kind: JournalRecordKind;
  readonly epoch: number;
  readonly incarnation: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly body: Uint8Array;
  /** Of a frame: its header as received, and its records. */
  readonly frame: FrameHeader | undefined;
  readonly records: readonly StreamRecord[];
  /** Called when the record is durable, after it has been taken into account; or when it never will be. */
  readonly settle: ((outcome: 'durable' | 'full' | 'failed') => void) | undefined;
}

export interface WrittenRecord extends DurableRecord {
  readonly settle: PendingRecord['settle'];
}

export interface WriterTimes {
  readonly clockMs: number;
  readonly atMs: number;
}

/** Gives records their place: number, chain, segment position. Pure bookkeeping of where the next byte goes. */
export class JournalWriter {
  recordNo = 0;
  chain = 0;
  segment = 0;
  generation = 1;
  at = 0;

  constructor(
    private readonly options: { readonly identity: JournalIdentity; readonly salt: Uint8Array; readonly crc32c: Crc32c },
  ) {}

  /** Continues behind the last durable record. */
  resetTo(place: { readonly recordNo: number; readonly chain: number; readonly segment: number; readonly generation: number; readonly at: number }): void {
    Object.assign(this, place);
  }

  /** Header of the segment that continues behind the last record; from now on records go there. All records so far are durable. */
  openSegment(segment: number, generation: number): Uint8Array {
    const { recordNo, chain } = this;
    const header = encodeSegmentHeader(
      {
        identity: this.options.identity, salt: this.options.salt, generation, segment, resumesSegment: this.segment, resumesAt: this.at,
        firstRecordNo: recordNo + 1, committedRecordNo: recordNo, chainStart: chain,
      },
      this.options.crc32c,
    );
    this.resetTo({ recordNo, chain, segment, generation, at: SEGMENT_HEADER_BYTES });
    return header;
  }

  /** The bytes of `record` at the current place, as chunks; the body is not copied. */
  write(
    record: PendingRecord,
    committed: { readonly recordNo: number; readonly seq: number },
    times: WriterTimes,
  ): { readonly chunks: readonly Uint8Array[]; readonly written: WrittenRecord } {
    const { crc32c, salt } = this.options;
    const { body, frame } = record;
    assert(frame === undefined || frame.bodyBytes === body.byteLength, 'the body that the frame header describes');
    const fields: Omit<JournalRecordHeader, 'chain'> = {
      kind: record.kind,
      recordNo: this.recordNo + 1,
      committedRecordNo: committed.recordNo,
      firstSeq: record.firstSeq,
      lastSeq: record.lastSeq,
      committedSeq: committed.seq,
      epoch: record.epoch,
      incarnation: record.incarnation,
      count: frame?.count ?? 0,
      bodyBytes: body.byteLength,
      rawBytes: frame?.rawBytes ?? body.byteLength,
      bodyCrc: frame?.bodyCrc ?? crc32c(body),
      codec: frame?.codec ?? FrameCodec.none,
      ...times,
    };
    const { bytes, chain } = encodeJournalRecord(fields, { salt, previousChain: this.chain, crc32c });
    const place = { segment: this.segment, at: this.at };
    const endAt = this.at + recordBytes(body.byteLength);
    this.recordNo += 1;
    this.chain = chain;
    this.at = endAt;
    const header = { ...fields, chain, clockMs: Math.floor(times.clockMs), atMs: Math.max(0, Math.floor(times.atMs)) };
    const chunks = [bytes, body, paddingAfter(body.byteLength)].filter((chunk) => chunk.byteLength > 0);
    return { chunks, written: { header, place, endAt, body, records: record.records, settle: record.settle } };
  }
}
