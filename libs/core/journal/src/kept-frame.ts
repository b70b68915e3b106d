import { ProtocolError, viewOf } from '@tidemark/base';
import { decodeRecords, encodeRecordTable, RECORD_BYTES, recordRawBytes, type StreamRecord } from '@tidemark/frame';
import type { JournalRecordHeader } from './codec.js';
import { JournalRecordKind } from './layout.js';
import { frameHeaderOf } from './scanner.js';

/** Behind the payloads of a `kept` record: of each of its records the position, counted from the first one. */
const SEQ_BYTES = 4;
/** Of a `kept` record, so that the distance fits. */
export const KEPT_SEQS_MAX = 2 ** 32;

/** Stream records with the place of each in the stream. */
export interface PlacedRecords {
  readonly records: readonly StreamRecord[];
  /** undefined: they stand one behind the other, from the record's firstSeq on. */
  readonly seqs?: readonly number[] | undefined;
}

export const NO_RECORDS: PlacedRecords = { records: [], seqs: undefined };

/** What one stream record adds to the raw body of a `kept` record, bytes. */
export const keptRawBytes = (payloadBytes: number): number => recordRawBytes(payloadBytes) + SEQ_BYTES;

/** The stream records of a frame, `kept` or scratch record whose checksums hold. Throws ProtocolError when they do not decode. */
export function decodePlaced(header: JournalRecordHeader, rawBody: Uint8Array): PlacedRecords {
  const frame = frameHeaderOf(header);
  if (header.kind !== JournalRecordKind.kept) return { records: decodeRecords(frame, rawBody), seqs: undefined };
  if (header.count === 0 && rawBody.byteLength === 0) return { records: [], seqs: [] };
  const seqsAt = rawBody.byteLength - header.count * SEQ_BYTES;
  if (rawBody.byteLength !== header.rawBytes || seqsAt < 0) throw new ProtocolError('PROTOCOL_LAYOUT', 'kept records without their positions');
  const records = decodeRecords({ ...frame, rawBytes: seqsAt }, rawBody.subarray(0, seqsAt));
  return { records, seqs: decodeSeqs(header, rawBody, seqsAt) };
}

/** Pieces of one write have one position. */
function decodeSeqs({ firstSeq, lastSeq, count }: JournalRecordHeader, body: Uint8Array, seqsAt: number): number[] {
  const view = viewOf(body);
  const seqs: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const seq = firstSeq + view.getUint32(seqsAt + i * SEQ_BYTES, true);
    if (seq > lastSeq || seq < (seqs[i - 1] ?? 0)) throw new ProtocolError('PROTOCOL_LAYOUT', 'positions of kept records out of order');
    seqs.push(seq);
  }
  return seqs;
}

/** The raw body: record table, payloads, positions. */
export function encodeKept(records: readonly StreamRecord[], seqs: readonly number[], firstSeq: number): Uint8Array {
  if (records.length === 0) return new Uint8Array(0);
  const payloadBytes = records.reduce((sum, { payload }) => sum + (payload?.byteLength ?? 0), 0);
  const tableBytes = records.length * RECORD_BYTES;
  const body = new Uint8Array(tableBytes + payloadBytes + records.length * SEQ_BYTES);
  let at = tableBytes;
  for (const payload of encodeRecordTable(records, body.subarray(0, tableBytes))) {
    body.set(payload, at);
    at += payload.byteLength;
  }
  const view = viewOf(body);
  seqs.forEach((seq, i) => view.setUint32(at + i * SEQ_BYTES, seq - firstSeq, true));
  return body;
}
