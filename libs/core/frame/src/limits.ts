import { BLOCK_BYTES, KiB, MiB, ProtocolError, unreachable } from '@tidemark/base';
import { FrameCodec, FrameKind, RECORD_BYTES } from './layout.js';
import type { FrameHeader } from './types.js';

/** The longest JSON body (open, opened, refused, control) and the longest JSON payload of a mark (marker, seal, syncStart). */
export const JSON_BYTES_MAX = 1 * MiB;
/** The longest body of ping and pong. */
export const PING_BYTES_MAX = 1 * KiB;
/** Body of an ack: creditBytes u64. */
export const ACK_BODY_BYTES = 8;
/** Body of a hash request, see `hashes.ts`. */
export const HASH_REQUEST_BYTES = 24;
/** What a hash reply begins with: the place that was asked for. */
export const HASH_REPLY_HEAD_BYTES = 16;
/** One digest per 4 KiB block: SHA-256. */
export const HASH_BYTES = 32;
/** The longest extent of one hash request: 1 MiB makes 8 KiB of digests. */
export const HASH_EXTENT_BYTES_MAX = 1 * MiB;

/** Body of hello: these fields, and whatever a later version puts behind them. */
export const HELLO_BYTES = 8;
export const HELLO_BYTES_MAX = 1 * KiB;

/** What a header of its kind may say beyond the limits that hold for all kinds. Throws ProtocolError. */
export function checkKindLimits(header: FrameHeader): void {
  if (header.kind === FrameKind.records) {
    checkRecords(header);
    return;
  }
  const lastSeqMax = header.kind === FrameKind.ack ? Number.MAX_SAFE_INTEGER : 0;
  if (header.count !== 0 || header.firstSeq !== 0 || header.lastSeq > lastSeqMax || header.codec !== FrameCodec.none) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `frame of kind ${header.kind} with fields of a records frame`);
  }
  const [bytesMin, bytesMax] = bodyBounds(header.kind);
  if (header.bodyBytes < bytesMin || header.bodyBytes > bytesMax) {
    throw new ProtocolError('PROTOCOL_LIMIT', `frame of kind ${header.kind} with a body of ${header.bodyBytes} bytes`);
  }
}

function checkRecords(header: FrameHeader): void {
  if (header.count === 0) throw new ProtocolError('PROTOCOL_LAYOUT', 'records frame without records');
  if (header.stream === 0) throw new ProtocolError('PROTOCOL_LAYOUT', 'records frame on stream 0');
  if (header.firstSeq === 0 || header.lastSeq - header.firstSeq + 1 !== header.count) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `${header.count} records numbered ${header.firstSeq} to ${header.lastSeq}`);
  }
  if (header.rawBytes < header.count * RECORD_BYTES) throw new ProtocolError('PROTOCOL_LAYOUT', 'records frame shorter than its table');
}

function bodyBounds(kind: Exclude<FrameKind, typeof FrameKind.records>): readonly [number, number] {
  switch (kind) {
    case FrameKind.open:
    case FrameKind.opened:
    case FrameKind.refused:
    case FrameKind.control:
      return [2, JSON_BYTES_MAX];
    case FrameKind.ack:
      return [ACK_BODY_BYTES, ACK_BODY_BYTES];
    case FrameKind.hashRequest:
      return [HASH_REQUEST_BYTES, HASH_REQUEST_BYTES];
    case FrameKind.hashReply:
      return [HASH_REPLY_HEAD_BYTES, HASH_REPLY_HEAD_BYTES + (HASH_EXTENT_BYTES_MAX / BLOCK_BYTES) * HASH_BYTES];
    case FrameKind.closeStream:
      return [0, 0];
    case FrameKind.hello:
      return [HELLO_BYTES, HELLO_BYTES_MAX];
    case FrameKind.ping:
    case FrameKind.pong:
      return [0, PING_BYTES_MAX];
    default:
      return unreachable(kind);
  }
}
