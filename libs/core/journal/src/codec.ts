import { alignUp, assert, getU64, isSafeU64, setU64, utf8Bytes, utf8Text, viewOf, type Crc32c } from '@tidemark/base';
import { FRAME_BODY_BYTES_MAX, FRAME_RECORDS_MAX, FrameCodec } from '@tidemark/frame';
import {
  JOURNAL_RECORD_AT as AT, CONTROL_BODY_BYTES_MAX, JOURNAL_RECORD_HEADER_BYTES, JOURNAL_VERSION, JournalRecordKind, RECORD_ALIGN_BYTES,
  RECORD_MAGIC, SEGMENT_AT, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, VM_ID_BYTES_MAX, VPG_ID_BYTES_MAX,
} from './layout.js';
import { JournalError, otherVersion } from './journal-error.js';
import type { JournalIdentity } from './types.js';

const KINDS: ReadonlySet<number> = new Set(Object.values(JournalRecordKind));
const CODECS: ReadonlySet<number> = new Set(Object.values(FrameCodec));

export interface SegmentHeader {
  readonly identity: JournalIdentity;
  /** 8 bytes. */
  readonly salt: Uint8Array;
  readonly generation: number;
  readonly segment: number;
  /** Where the records before the first one here end; segment 0: there are none. */
  readonly resumesSegment: number;
  readonly resumesAt: number;
  readonly firstRecordNo: number;
  readonly committedRecordNo: number;
  readonly chainStart: number;
  /** Set in a segment of which a compaction left only what checkpoints show. */
  readonly compacted?: CompactedEnds | undefined;
}

/** Where the records of a compacted segment end, and where those ended that they stand for: what the next segment continues from. */
export interface CompactedEnds {
  readonly endAt: number;
  readonly recordNo: number;
  readonly chain: number;
  readonly originalEndAt: number;
  readonly originalRecordNo: number;
  readonly originalChain: number;
}

export interface JournalRecordHeader {
  readonly kind: JournalRecordKind;
  readonly chain: number;
  readonly recordNo: number;
  readonly committedRecordNo: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly committedSeq: number;
  readonly epoch: number;
  readonly incarnation: number;
  readonly count: number;
  readonly bodyBytes: number;
  readonly rawBytes: number;
  readonly bodyCrc: number;
  readonly codec: FrameCodec;
  readonly clockMs: number;
  readonly atMs: number;
}

/** Bytes of a record with this body in its segment. */
export const recordBytes = (bodyBytes: number): number => alignUp(JOURNAL_RECORD_HEADER_BYTES + bodyBytes, RECORD_ALIGN_BYTES);

const PADDING = new Uint8Array(RECORD_ALIGN_BYTES);

/** What follows the body so that the next record is aligned. */
export const paddingAfter = (bodyBytes: number): Uint8Array =>
  PADDING.subarray(0, recordBytes(bodyBytes) - JOURNAL_RECORD_HEADER_BYTES - bodyBytes);

/** The header's bytes; `chain` in the answer follows from `previousChain` and all other fields. */
export function encodeJournalRecord(
  header: Omit<JournalRecordHeader, 'chain'>,
  key: { readonly salt: Uint8Array; readonly previousChain: number; readonly crc32c: Crc32c },
): { readonly bytes: Uint8Array; readonly chain: number } {
  const bytes = new Uint8Array(JOURNAL_RECORD_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(AT.magic, RECORD_MAGIC, true);
  view.setUint16(AT.version, JOURNAL_VERSION, true);
  view.setUint16(AT.kind, header.kind, true);
  bytes.set(key.salt, AT.salt);
  setU64(view, AT.recordNo, header.recordNo);
  setU64(view, AT.committedRecordNo, header.committedRecordNo);
  setU64(view, AT.firstSeq, header.firstSeq);
  setU64(view, AT.lastSeq, header.lastSeq);
  setU64(view, AT.committedSeq, header.committedSeq);
  view.setUint32(AT.epoch, header.epoch, true);
  view.setUint32(AT.incarnation, header.incarnation, true);
  view.setUint32(AT.count, header.count, true);
  view.setUint32(AT.bodyBytes, header.bodyBytes, true);
  view.setUint32(AT.rawBytes, header.rawBytes, true);
  view.setUint32(AT.bodyCrc, header.bodyCrc, true);
  view.setUint8(AT.codec, header.codec);
  setU64(view, AT.clockMs, Math.floor(header.clockMs));
  setU64(view, AT.atMs, Math.max(0, Math.floor(header.atMs)));
  const chain = chainOf(bytes, view, key);
  view.setUint32(AT.chain, chain, true);
  view.setUint32(AT.headerCrc, key.crc32c(bytes.subarray(AT.magic)), true);
  return { bytes, chain };
}

/** The kind stands before the chained bytes: it is fed in front of them, so that one record cannot pass for another kind. */
function chainOf(bytes: Uint8Array, view: DataView, key: { readonly previousChain: number; readonly crc32c: Crc32c }): number {
  const kind = bytes.subarray(AT.kind, AT.kind + 2);
  assert(view.byteLength === JOURNAL_RECORD_HEADER_BYTES, 'a whole record header');
  return key.crc32c(bytes.subarray(AT.salt), key.crc32c(kind, key.previousChain));
}

/** The chain value that a header must carry after a record whose chain value is `previousChain`. */
export const expectedChain = (bytes: Uint8Array, previousChain: number, crc32c: Crc32c): number =>
  chainOf(bytes, viewOf(bytes), { previousChain, crc32c });

/**
 * Reads 128 bytes as a record header of the journal with this salt. Trusts nothing: checksum, magic, version, kind, salt, reserved fields,
 * limits. `undefined`: not a record of this journal. The chain is the caller's to check. Throws JOURNAL_VERSION for a whole header of another version.
 */
export function decodeJournalRecord(bytes: Uint8Array, salt: Uint8Array, crc32c: Crc32c): JournalRecordHeader | undefined {
  assert(bytes.byteLength === JOURNAL_RECORD_HEADER_BYTES, 'a whole record header');
  const view = viewOf(bytes);
  if (view.getUint32(AT.magic, true) !== RECORD_MAGIC || !isEqual(bytes.subarray(AT.salt, AT.recordNo), salt)) return undefined;
  if (view.getUint32(AT.headerCrc, true) !== crc32c(bytes.subarray(AT.magic))) return undefined;
  const version = view.getUint16(AT.version, true);
  if (version !== JOURNAL_VERSION) throw otherVersion('a record of the journal', version, JOURNAL_VERSION);
  if (!hasZeroReserve(bytes, view)) return undefined;
  const kind = view.getUint16(AT.kind, true);
  const codec = view.getUint8(AT.codec);
  if (!KINDS.has(kind) || !CODECS.has(codec) || !hasSafeNumbers(view)) return undefined;
  const header = readHeader(view, kind as JournalRecordKind, codec as FrameCodec);
  return isWithinLimits(header) ? header : undefined;
}

/**
 * True when these 128 bytes carry the salt of this journal and a header checksum that holds. What then does not decode was written whole, by a fault of
 * ours: it is no torn write.
 */
export function isSealedByUs(bytes: Uint8Array, salt: Uint8Array, crc32c: Crc32c): boolean {
  return isEqual(bytes.subarray(AT.salt, AT.recordNo), salt) && viewOf(bytes).getUint32(AT.headerCrc, true) === crc32c(bytes.subarray(AT.magic));
}

/**
 * The salt out of the first record of a segment whose header does not read. Only that place may be believed: no byte of a guest ever stands there. Anywhere
 * else a guest could have written a record of its own making.
 */
export function saltOfFirstRecord(bytes: Uint8Array, crc32c: Crc32c): Uint8Array | undefined {
  if (bytes.byteLength < SEGMENT_HEADER_BYTES + JOURNAL_RECORD_HEADER_BYTES) return undefined;
  const record = bytes.subarray(SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + JOURNAL_RECORD_HEADER_BYTES);
  const salt = record.slice(AT.salt, AT.recordNo);
  return decodeJournalRecord(record, salt, crc32c) === undefined ? undefined : salt;
}

function hasZeroReserve(bytes: Uint8Array, view: DataView): boolean {
  const isZero = view.getUint8(AT.reserved1) === 0 && view.getUint16(AT.reserved2, true) === 0 && view.getUint32(AT.reserved3, true) === 0;
  return isZero && bytes.subarray(AT.reserved4).every((byte) => byte === 0);
}

function hasSafeNumbers(view: DataView): boolean {
  const places = [AT.recordNo, AT.committedRecordNo, AT.firstSeq, AT.lastSeq, AT.committedSeq, AT.clockMs, AT.atMs];
  return places.every((at) => isSafeU64(view, at));
}

function readHeader(view: DataView, kind: JournalRecordKind, codec: FrameCodec): JournalRecordHeader {
  return {
    kind,
    chain: view.getUint32(AT.chain, true),
    recordNo: getU64(view, AT.recordNo),
    committedRecordNo: getU64(view, AT.committedRecordNo),
    firstSeq: getU64(view, AT.firstSeq),
    lastSeq: getU64(view, AT.lastSeq),
    committedSeq: getU64(view, AT.committedSeq),
    epoch: view.getUint32(AT.epoch, true),
    incarnation: view.getUint32(AT.incarnation, true),
    count: view.getUint32(AT.count, true),
    bodyBytes: view.getUint32(AT.bodyBytes, true),
    rawBytes: view.getUint32(AT.rawBytes, true),
    bodyCrc: view.getUint32(AT.bodyCrc, true),
    codec,
    clockMs: getU64(view, AT.clockMs),
    atMs: getU64(view, AT.atMs),
  };
}

/** Kinds whose body is a record table with payloads. */
export const isFrameKind = (kind: JournalRecordKind): boolean =>
  kind === JournalRecordKind.frame || kind === JournalRecordKind.baseFrame || kind === JournalRecordKind.scratch || kind === JournalRecordKind.kept;

function isWithinLimits(header: JournalRecordHeader): boolean {
  const bodyMax = isFrameKind(header.kind) ? FRAME_BODY_BYTES_MAX : CONTROL_BODY_BYTES_MAX;
  if (header.bodyBytes > bodyMax || header.rawBytes > bodyMax || header.count > FRAME_RECORDS_MAX) return false;
  return header.recordNo > 0 && header.committedRecordNo < header.recordNo;
}

export function encodeSegmentHeader(header: SegmentHeader, crc32c: Crc32c): Uint8Array {
  const vpgId = utf8Bytes(header.identity.vpgId);
  const vmId = utf8Bytes(header.identity.vmId);
  if (vpgId.byteLength > VPG_ID_BYTES_MAX || vmId.byteLength > VM_ID_BYTES_MAX) {
    throw new JournalError('JOURNAL_IDENTITY', 'VPG or VM identifier too long for a journal');
  }
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(SEGMENT_AT.magic, SEGMENT_MAGIC, true);
  view.setUint16(SEGMENT_AT.version, JOURNAL_VERSION, true);
  view.setUint32(SEGMENT_AT.generation, header.generation, true);
  bytes.set(header.salt, SEGMENT_AT.salt);
  view.setUint32(SEGMENT_AT.segment, header.segment, true);
  view.setUint32(SEGMENT_AT.resumesSegment, header.resumesSegment, true);
  setU64(view, SEGMENT_AT.resumesAt, header.resumesAt);
  setU64(view, SEGMENT_AT.firstRecordNo, header.firstRecordNo);
  setU64(view, SEGMENT_AT.committedRecordNo, header.committedRecordNo);
  view.setUint32(SEGMENT_AT.chainStart, header.chainStart, true);
  view.setUint16(SEGMENT_AT.vpgIdBytes, vpgId.byteLength, true);
  view.setUint16(SEGMENT_AT.vmIdBytes, vmId.byteLength, true);
  bytes.set(vpgId, SEGMENT_AT.vpgId);
  bytes.set(vmId, SEGMENT_AT.vmId);
  if (header.compacted !== undefined) writeCompacted(view, header.compacted);
  view.setUint32(SEGMENT_AT.headerCrc, crc32c(bytes.subarray(SEGMENT_AT.magic)), true);
  return bytes;
}

function writeCompacted(view: DataView, ends: CompactedEnds): void {
  setU64(view, SEGMENT_AT.compactedEndAt, ends.endAt);
  setU64(view, SEGMENT_AT.compactedRecordNo, ends.recordNo);
  setU64(view, SEGMENT_AT.originalRecordNo, ends.originalRecordNo);
  setU64(view, SEGMENT_AT.originalEndAt, ends.originalEndAt);
  view.setUint32(SEGMENT_AT.compactedChain, ends.chain, true);
  view.setUint32(SEGMENT_AT.originalChain, ends.originalChain, true);
}

/** null: fields that no compaction writes. */
function readCompacted(view: DataView, firstRecordNo: number): CompactedEnds | undefined | null {
  const places = [SEGMENT_AT.compactedEndAt, SEGMENT_AT.compactedRecordNo, SEGMENT_AT.originalRecordNo, SEGMENT_AT.originalEndAt];
  if (!places.every((at) => isSafeU64(view, at))) return null;
  const ends = {
    endAt: getU64(view, SEGMENT_AT.compactedEndAt),
    recordNo: getU64(view, SEGMENT_AT.compactedRecordNo),
    originalRecordNo: getU64(view, SEGMENT_AT.originalRecordNo),
    originalEndAt: getU64(view, SEGMENT_AT.originalEndAt),
    chain: view.getUint32(SEGMENT_AT.compactedChain, true),
    originalChain: view.getUint32(SEGMENT_AT.originalChain, true),
  };
  if (Object.values(ends).every((value) => value === 0)) return undefined;
  const isSound = ends.endAt > SEGMENT_HEADER_BYTES && ends.originalEndAt >= ends.endAt && ends.recordNo >= firstRecordNo && ends.originalRecordNo >= ends.recordNo;
  return isSound ? ends : null;
}

/** Reads the start of a segment file; `undefined` for bytes that are not a whole, valid segment header. Throws JOURNAL_VERSION for a whole one of another version. */
export function decodeSegmentHeader(bytes: Uint8Array, crc32c: Crc32c): SegmentHeader | undefined {
  if (bytes.byteLength < SEGMENT_HEADER_BYTES) return undefined;
  const header = bytes.subarray(0, SEGMENT_HEADER_BYTES);
  const view = viewOf(header);
  if (view.getUint32(SEGMENT_AT.headerCrc, true) !== crc32c(header.subarray(SEGMENT_AT.magic))) return undefined;
  if (view.getUint32(SEGMENT_AT.magic, true) !== SEGMENT_MAGIC) return undefined;
  const version = view.getUint16(SEGMENT_AT.version, true);
  if (version !== JOURNAL_VERSION) throw otherVersion('a segment', version, JOURNAL_VERSION);
  const vpgIdBytes = view.getUint16(SEGMENT_AT.vpgIdBytes, true);
  const vmIdBytes = view.getUint16(SEGMENT_AT.vmIdBytes, true);
  const isSound = vpgIdBytes <= VPG_ID_BYTES_MAX && vmIdBytes <= VM_ID_BYTES_MAX
    && [SEGMENT_AT.resumesAt, SEGMENT_AT.firstRecordNo, SEGMENT_AT.committedRecordNo].every((at) => isSafeU64(view, at));
  const vpgId = textOf(header.subarray(SEGMENT_AT.vpgId, SEGMENT_AT.vpgId + vpgIdBytes));
  const vmId = textOf(header.subarray(SEGMENT_AT.vmId, SEGMENT_AT.vmId + vmIdBytes));
  if (!isSound || vpgId === undefined || vmId === undefined) return undefined;
  const compacted = readCompacted(view, getU64(view, SEGMENT_AT.firstRecordNo));
  if (compacted === null || header.subarray(SEGMENT_AT.reserved2).some((byte) => byte !== 0)) return undefined;
  return {
    compacted,
    identity: { vpgId, vmId },
    salt: header.slice(SEGMENT_AT.salt, SEGMENT_AT.salt + 8),
    generation: view.getUint32(SEGMENT_AT.generation, true),
    segment: view.getUint32(SEGMENT_AT.segment, true),
    resumesSegment: view.getUint32(SEGMENT_AT.resumesSegment, true),
    resumesAt: getU64(view, SEGMENT_AT.resumesAt),
    firstRecordNo: getU64(view, SEGMENT_AT.firstRecordNo),
    committedRecordNo: getU64(view, SEGMENT_AT.committedRecordNo),
    chainStart: view.getUint32(SEGMENT_AT.chainStart, true),
  };
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8Text(bytes);
  } catch {
    return undefined;
  }
}

export const isEqual = (a: Uint8Array, b: Uint8Array): boolean => a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
