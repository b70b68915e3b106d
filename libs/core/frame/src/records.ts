import { assert, getU64, isSafeU64, ProtocolError, setU64, unreachable, viewOf } from '@tidemark/base';
import { FRAME_RECORDS_MAX, RECORD_AT, RECORD_BYTES, RECORD_LENGTH_MAX, RecordType } from './layout.js';
import { JSON_BYTES_MAX } from './limits.js';
import type { FrameHeader, StreamRecord } from './types.js';

const TYPES: ReadonlySet<number> = new Set(Object.values(RecordType));

/** True for records that change a volume. */
export const isVolumeRecord = (type: RecordType): boolean => type <= RecordType.syncZeroes;

/** What one record adds to the raw body of a frame, bytes. */
export const recordRawBytes = (payloadBytes: number): number => RECORD_BYTES + payloadBytes;

/**
 * Fills `table` (exactly as long as the records need) and returns the payloads in body order, not copied. Payloads lie in record order
 * without gaps: a body has one encoding only.
 */
export function encodeRecordTable(records: readonly StreamRecord[], table: Uint8Array): Uint8Array[] {
  assert(records.length > 0 && records.length <= FRAME_RECORDS_MAX, 'records of a frame within their limit');
  assert(table.byteLength === records.length * RECORD_BYTES, 'room for the record table');
  const view = viewOf(table);
  const payloads: Uint8Array[] = [];
  let at = 0;
  let payloadAt = table.byteLength;
  for (const record of records) {
    const payloadBytes = record.payload?.byteLength ?? 0;
    setU64(view, at + RECORD_AT.offset, record.offset);
    view.setUint32(at + RECORD_AT.length, record.length, true);
    view.setUint32(at + RECORD_AT.payloadAt, payloadBytes === 0 ? 0 : payloadAt, true);
    view.setUint32(at + RECORD_AT.payloadBytes, payloadBytes, true);
    view.setUint16(at + RECORD_AT.volume, record.volume, true);
    view.setUint8(at + RECORD_AT.type, record.type);
    view.setUint8(at + RECORD_AT.reserved, 0);
    if (record.payload !== undefined && payloadBytes > 0) payloads.push(record.payload);
    payloadAt += payloadBytes;
    at += RECORD_BYTES;
  }
  return payloads;
}

/**
 * The records of a decompressed body, payloads as views into it. Trusts nothing: the body is as long as the header says, every payload
 * lies where the one encoding puts it, lengths are within limits and, if `volumeSizesBytes` is given, inside a volume of the stream.
 * The payloads of marks are only bounded here: decodeMarker, decodeSeal, decodeSyncStart check them. Throws ProtocolError.
 */
export function decodeRecords(header: FrameHeader, body: Uint8Array, volumeSizesBytes?: readonly number[]): StreamRecord[] {
  if (body.byteLength !== header.rawBytes) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `body of ${body.byteLength} bytes, the header says ${header.rawBytes}`);
  }
  if (header.count === 0 || header.count * RECORD_BYTES > body.byteLength) throw new ProtocolError('PROTOCOL_LAYOUT', 'record table outside the body');
  const view = viewOf(body);
  const records: StreamRecord[] = [];
  let payloadAt = header.count * RECORD_BYTES;
  for (let at = 0; records.length < header.count; at += RECORD_BYTES) {
    const record = readRecord(view, at, body, payloadAt);
    checkRecord(record);
    if (volumeSizesBytes !== undefined) checkInsideVolume(record, volumeSizesBytes);
    records.push(record);
    payloadAt += record.payload?.byteLength ?? 0;
  }
  if (payloadAt !== body.byteLength) throw new ProtocolError('PROTOCOL_LAYOUT', 'bytes after the last payload');
  return records;
}

function readRecord(view: DataView, at: number, body: Uint8Array, expectedAt: number): StreamRecord {
  const type = view.getUint8(at + RECORD_AT.type);
  if (!TYPES.has(type)) throw new ProtocolError('PROTOCOL_KIND', `unknown record type ${type}`);
  if (view.getUint8(at + RECORD_AT.reserved) !== 0) throw new ProtocolError('PROTOCOL_RESERVED', 'reserved field of a record is not zero');
  if (!isSafeU64(view, at + RECORD_AT.offset)) throw new ProtocolError('PROTOCOL_LIMIT', 'record offset above 2^53');
  const payloadBytes = view.getUint32(at + RECORD_AT.payloadBytes, true);
  const payloadAt = view.getUint32(at + RECORD_AT.payloadAt, true);
  const isInPlace = payloadBytes === 0 ? payloadAt === 0 : payloadAt === expectedAt && payloadAt + payloadBytes <= body.byteLength;
  if (!isInPlace) throw new ProtocolError('PROTOCOL_LAYOUT', 'record payload out of place');
  return {
    type: type as RecordType,
    volume: view.getUint16(at + RECORD_AT.volume, true),
    offset: getU64(view, at + RECORD_AT.offset),
    length: view.getUint32(at + RECORD_AT.length, true),
    payload: payloadBytes === 0 ? undefined : body.subarray(payloadAt, payloadAt + payloadBytes),
  };
}

function checkRecord(record: StreamRecord): void {
  const payloadBytes = record.payload?.byteLength ?? 0;
  switch (record.type) {
    case RecordType.write:
    case RecordType.syncWrite:
      return checkShape(record.length > 0 && payloadBytes === record.length);
    case RecordType.zeroes:
    case RecordType.syncZeroes:
      return checkShape(record.length > 0 && record.length <= RECORD_LENGTH_MAX && payloadBytes === 0);
    case RecordType.marker:
    case RecordType.seal:
    case RecordType.syncStart:
      return checkShape(isNowhere(record) && payloadBytes > 0 && payloadBytes <= JSON_BYTES_MAX);
    case RecordType.syncEnd:
      return checkShape(isNowhere(record) && payloadBytes === 0);
    default:
      return unreachable(record.type);
  }
}

const isNowhere = (record: StreamRecord): boolean => record.volume === 0 && record.offset === 0 && record.length === 0;

function checkShape(isRight: boolean): void {
  if (!isRight) throw new ProtocolError('PROTOCOL_LAYOUT', 'record fields do not fit its type');
}

/** Throws ProtocolError if a record that changes a volume lies outside the volumes of its stream. */
export function checkInsideVolume(record: StreamRecord, volumeSizesBytes: readonly number[]): void {
  if (!isVolumeRecord(record.type)) return;
  const sizeBytes = volumeSizesBytes[record.volume];
  if (sizeBytes === undefined) throw new ProtocolError('PROTOCOL_LIMIT', `record for volume ${record.volume} of ${volumeSizesBytes.length}`);
  if (record.offset + record.length > sizeBytes) throw new ProtocolError('PROTOCOL_LIMIT', 'record beyond the end of its volume');
}
