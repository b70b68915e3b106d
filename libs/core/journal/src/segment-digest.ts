import { alignUp, getU64, isSafeU64, setU64, viewOf } from '@tidemark/base';
import { RecordType } from '@tidemark/frame';
import type { JournalRecordHeader } from './codec.js';
import { CONTROL_BODY_BYTES_MAX, JournalRecordKind } from './layout.js';

/** A stream record that is no write: marker, seal, start or end of a sync. */
export interface StreamMark {
  readonly seq: number;
  readonly type: RecordType;
  readonly payload: Uint8Array | undefined;
}

/** What the durable state takes from one record of a segment. */
export interface NotedRecord {
  readonly header: Pick<JournalRecordHeader, 'kind' | 'incarnation' | 'firstSeq' | 'lastSeq' | 'clockMs' | 'atMs'>;
  /** Of control records; empty for frames. */
  readonly body: Uint8Array;
  readonly marks: readonly StreamMark[];
}

/** One item of a digest. docs/spec/journal-index.md */
export const DIGEST_AT = {
  kind: 0, // u16
  reserved: 2, // u16
  incarnation: 4, // u32
  firstSeq: 8, // u64
  lastSeq: 16, // u64
  precedingSeq: 24, // u64, stream position before this record
  clockMs: 32, // u64
  atMs: 40, // u64
  bodyBytes: 48, // u32, body of a control record
  marks: 52, // u32
} as const;
export const DIGEST_ITEM_BYTES = 56;
/** Before the payload of a mark. */
export const MARK_AT = { seq: 0, payloadBytes: 8, type: 12 } as const;
export const MARK_BYTES = 16;
const ALIGN = 8;

const KINDS: ReadonlySet<number> = new Set(Object.values(JournalRecordKind));
const TYPES: ReadonlySet<number> = new Set(Object.values(RecordType));

export const hasStream = (kind: JournalRecordKind): boolean =>
  kind === JournalRecordKind.frame || kind === JournalRecordKind.baseFrame || kind === JournalRecordKind.kept;

/** A frame of nothing but writes that follows the one before changes nothing but the position: it is not noted. */
export const isPlain = ({ header, marks }: NotedRecord, precedingSeq: number): boolean =>
  (header.kind === JournalRecordKind.frame || header.kind === JournalRecordKind.kept) && marks.length === 0 && header.firstSeq === precedingSeq + 1;

export function encodeNoted({ header, body, marks }: NotedRecord, precedingSeq: number): Uint8Array {
  const bodyBytes = hasStream(header.kind) ? 0 : body.byteLength;
  const marksBytes = marks.reduce((sum, { payload }) => sum + MARK_BYTES + alignUp(payload?.byteLength ?? 0, ALIGN), 0);
  const bytes = new Uint8Array(DIGEST_ITEM_BYTES + alignUp(bodyBytes, ALIGN) + marksBytes);
  const view = viewOf(bytes);
  view.setUint16(DIGEST_AT.kind, header.kind, true);
  view.setUint32(DIGEST_AT.incarnation, header.incarnation, true);
  setU64(view, DIGEST_AT.firstSeq, header.firstSeq);
  setU64(view, DIGEST_AT.lastSeq, header.lastSeq);
  // A state says itself where it stands, and what stood before it may be gone.
  setU64(view, DIGEST_AT.precedingSeq, header.kind === JournalRecordKind.state ? 0 : precedingSeq);
  setU64(view, DIGEST_AT.clockMs, header.clockMs);
  setU64(view, DIGEST_AT.atMs, header.atMs);
  view.setUint32(DIGEST_AT.bodyBytes, bodyBytes, true);
  view.setUint32(DIGEST_AT.marks, marks.length, true);
  if (bodyBytes > 0) bytes.set(body, DIGEST_ITEM_BYTES);
  let at = DIGEST_ITEM_BYTES + alignUp(bodyBytes, ALIGN);
  for (const { seq, type, payload } of marks) {
    setU64(view, at + MARK_AT.seq, seq);
    view.setUint32(at + MARK_AT.payloadBytes, payload?.byteLength ?? 0, true);
    view.setUint8(at + MARK_AT.type, type);
    if (payload !== undefined) bytes.set(payload, at + MARK_BYTES);
    at += MARK_BYTES + alignUp(payload?.byteLength ?? 0, ALIGN);
  }
  return bytes;
}

/** The items of a digest whose checksum holds; `undefined` when they make no sense all the same. */
export function decodeDigest(bytes: Uint8Array): { readonly record: NotedRecord; readonly precedingSeq: number }[] | undefined {
  const items: { readonly record: NotedRecord; readonly precedingSeq: number }[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const item = decodeItem(bytes, at);
    if (item === undefined) return undefined;
    items.push({ record: item.record, precedingSeq: item.precedingSeq });
    at = item.endAt;
  }
  return items;
}

function decodeItem(bytes: Uint8Array, at: number): { readonly record: NotedRecord; readonly precedingSeq: number; readonly endAt: number } | undefined {
  if (at + DIGEST_ITEM_BYTES > bytes.byteLength) return undefined;
  const view = viewOf(bytes);
  const kind = view.getUint16(at + DIGEST_AT.kind, true);
  const numbers = [DIGEST_AT.firstSeq, DIGEST_AT.lastSeq, DIGEST_AT.precedingSeq, DIGEST_AT.clockMs, DIGEST_AT.atMs];
  const bodyBytes = view.getUint32(at + DIGEST_AT.bodyBytes, true);
  if (!KINDS.has(kind) || !numbers.every((field) => isSafeU64(view, at + field)) || bodyBytes > CONTROL_BODY_BYTES_MAX) return undefined;
  const bodyAt = at + DIGEST_ITEM_BYTES;
  if (bodyAt + bodyBytes > bytes.byteLength) return undefined;
  const marks = decodeMarks(bytes, bodyAt + alignUp(bodyBytes, ALIGN), view.getUint32(at + DIGEST_AT.marks, true));
  if (marks === undefined) return undefined;
  const header = {
    kind: kind as JournalRecordKind,
    incarnation: view.getUint32(at + DIGEST_AT.incarnation, true),
    firstSeq: getU64(view, at + DIGEST_AT.firstSeq),
    lastSeq: getU64(view, at + DIGEST_AT.lastSeq),
    clockMs: getU64(view, at + DIGEST_AT.clockMs),
    atMs: getU64(view, at + DIGEST_AT.atMs),
  };
  const record = { header, body: bytes.subarray(bodyAt, bodyAt + bodyBytes), marks: marks.marks };
  return { record, precedingSeq: getU64(view, at + DIGEST_AT.precedingSeq), endAt: marks.endAt };
}

function decodeMarks(bytes: Uint8Array, from: number, count: number): { readonly marks: StreamMark[]; readonly endAt: number } | undefined {
  const view = viewOf(bytes);
  const marks: StreamMark[] = [];
  let at = from;
  while (marks.length < count) {
    if (at + MARK_BYTES > bytes.byteLength || !isSafeU64(view, at + MARK_AT.seq)) return undefined;
    const payloadBytes = view.getUint32(at + MARK_AT.payloadBytes, true);
    const type = view.getUint8(at + MARK_AT.type);
    const payloadAt = at + MARK_BYTES;
    if (payloadAt + payloadBytes > bytes.byteLength || !TYPES.has(type)) return undefined;
    const payload = payloadBytes === 0 ? undefined : bytes.subarray(payloadAt, payloadAt + payloadBytes);
    marks.push({ seq: getU64(view, at + MARK_AT.seq), type: type as RecordType, payload });
    at = payloadAt + alignUp(payloadBytes, ALIGN);
  }
  return { marks, endAt: at };
}
