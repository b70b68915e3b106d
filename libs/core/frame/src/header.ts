import { assert, getU64, isSafeU64, ProtocolError, setU64, type Crc32c, viewOf } from '@tidemark/base';
import { checkKindLimits } from './limits.js';
import { FRAME_AT, FRAME_BODY_BYTES_MAX, FRAME_HEADER_BYTES, FRAME_MAGIC, FRAME_RECORDS_MAX, FRAME_VERSION, FrameCodec, FrameKind } from './layout.js';
import type { FrameHeader } from './types.js';

const KINDS: ReadonlySet<number> = new Set(Object.values(FrameKind));
const CODECS: ReadonlySet<number> = new Set(Object.values(FrameCodec));

/** Writes the 64 bytes of `header` to `target` (at its start) and returns them. A header that the decoder would refuse is our bug. */
export function encodeHeader(header: FrameHeader, crc32c: Crc32c, target = new Uint8Array(FRAME_HEADER_BYTES)): Uint8Array {
  assert(target.byteLength >= FRAME_HEADER_BYTES, 'room for the frame header');
  const bytes = target.subarray(0, FRAME_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setUint32(FRAME_AT.magic, FRAME_MAGIC, true);
  view.setUint16(FRAME_AT.version, FRAME_VERSION, true);
  view.setUint16(FRAME_AT.kind, header.kind, true);
  view.setUint32(FRAME_AT.stream, header.stream, true);
  view.setUint32(FRAME_AT.incarnation, header.incarnation, true);
  view.setUint32(FRAME_AT.count, header.count, true);
  setU64(view, FRAME_AT.firstSeq, header.firstSeq);
  setU64(view, FRAME_AT.lastSeq, header.lastSeq);
  view.setUint32(FRAME_AT.bodyBytes, header.bodyBytes, true);
  view.setUint32(FRAME_AT.rawBytes, header.rawBytes, true);
  view.setUint32(FRAME_AT.bodyCrc, header.bodyCrc, true);
  view.setUint8(FRAME_AT.codec, header.codec);
  view.setUint8(FRAME_AT.reserved1, 0);
  view.setUint16(FRAME_AT.reserved2, 0, true);
  view.setUint32(FRAME_AT.epoch, header.epoch, true);
  view.setUint32(FRAME_AT.reserved3, 0, true);
  view.setUint32(FRAME_AT.headerCrc, crc32c(bytes.subarray(FRAME_AT.magic)), true);
  return bytes;
}

/**
 * Reads and checks the 64 bytes of a frame header: checksum, magic, version, kind, reserved fields, limits, in this order.
 * Whoever holds the result may allocate `bodyBytes`. Throws {@link ProtocolError}.
 */
export function decodeHeader(bytes: Uint8Array, crc32c: Crc32c): FrameHeader {
  assert(bytes.byteLength === FRAME_HEADER_BYTES, 'a whole frame header');
  const view = viewOf(bytes);
  if (view.getUint32(FRAME_AT.headerCrc, true) !== crc32c(bytes.subarray(FRAME_AT.magic))) {
    throw new ProtocolError('PROTOCOL_CHECKSUM', 'frame header checksum');
  }
  if (view.getUint32(FRAME_AT.magic, true) !== FRAME_MAGIC) throw new ProtocolError('PROTOCOL_MAGIC', 'not a Tidemark frame');
  const version = view.getUint16(FRAME_AT.version, true);
  if (version !== FRAME_VERSION) throw new ProtocolError('PROTOCOL_VERSION', `frame version ${version}, this side speaks ${FRAME_VERSION}`);
  const kind = view.getUint16(FRAME_AT.kind, true);
  if (!KINDS.has(kind)) throw new ProtocolError('PROTOCOL_KIND', `unknown frame kind ${kind}`);
  checkReserved(view);
  const header = readFields(view, kind as FrameKind);
  checkLimits(header);
  checkKindLimits(header);
  return header;
}

function checkReserved(view: DataView): void {
  const isZero =
    view.getUint8(FRAME_AT.reserved1) === 0 && view.getUint16(FRAME_AT.reserved2, true) === 0 && view.getUint32(FRAME_AT.reserved3, true) === 0;
  if (!isZero) throw new ProtocolError('PROTOCOL_RESERVED', 'reserved field of a frame header is not zero');
}

function readFields(view: DataView, kind: FrameKind): FrameHeader {
  const codec = view.getUint8(FRAME_AT.codec);
  if (!CODECS.has(codec)) throw new ProtocolError('PROTOCOL_KIND', `unknown frame codec ${codec}`);
  if (!isSafeU64(view, FRAME_AT.firstSeq) || !isSafeU64(view, FRAME_AT.lastSeq)) {
    throw new ProtocolError('PROTOCOL_LIMIT', 'sequence number above 2^53');
  }
  return {
    kind,
    stream: view.getUint32(FRAME_AT.stream, true),
    incarnation: view.getUint32(FRAME_AT.incarnation, true),
    epoch: view.getUint32(FRAME_AT.epoch, true),
    count: view.getUint32(FRAME_AT.count, true),
    firstSeq: getU64(view, FRAME_AT.firstSeq),
    lastSeq: getU64(view, FRAME_AT.lastSeq),
    bodyBytes: view.getUint32(FRAME_AT.bodyBytes, true),
    rawBytes: view.getUint32(FRAME_AT.rawBytes, true),
    bodyCrc: view.getUint32(FRAME_AT.bodyCrc, true),
    codec: codec as FrameCodec,
  };
}

function checkLimits(header: FrameHeader): void {
  if (header.bodyBytes > FRAME_BODY_BYTES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `frame body of ${header.bodyBytes} bytes`);
  if (header.rawBytes > FRAME_BODY_BYTES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `frame of ${header.rawBytes} raw bytes`);
  if (header.count > FRAME_RECORDS_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `frame of ${header.count} records`);
  if (header.codec === FrameCodec.none && header.rawBytes !== header.bodyBytes) {
    throw new ProtocolError('PROTOCOL_LAYOUT', 'raw and wire length of an uncompressed frame differ');
  }
}
