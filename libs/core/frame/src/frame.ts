import { assert, type Crc32c } from '@tidemark/base';
import { encodeHeader } from './header.js';
import { FRAME_BODY_BYTES_MAX, FRAME_HEADER_BYTES, FrameCodec, FrameKind, RECORD_BYTES } from './layout.js';
import { checkKindLimits } from './limits.js';
import { encodeRecordTable } from './records.js';
import type { FrameHeader, StreamRecord } from './types.js';

/** What the sender of a frame decides; all else in the header follows from the body. */
export interface FrameFields {
  readonly kind: FrameKind;
  /** 0: the connection itself. */
  readonly stream?: number;
  readonly incarnation?: number;
  readonly epoch?: number;
  readonly count?: number;
  readonly firstSeq?: number;
  readonly lastSeq?: number;
  readonly codec?: FrameCodec;
  /** Only with a codec: bytes after decompression. */
  readonly rawBytes?: number;
}

/** A frame as chunks for writev: the header, then `body` as given (not copied). */
export function encodeFrame(fields: FrameFields, body: readonly Uint8Array[], crc32c: Crc32c): Uint8Array[] {
  return [encodeHeader(headerOf(fields, body, crc32c), crc32c), ...body];
}

/** As {@link encodeFrame} for an uncompressed records frame: [header and table, payload, payload, …], payloads not copied. */
export function encodeRecordsFrame(
  fields: Pick<FrameFields, 'stream' | 'incarnation' | 'epoch'> & { readonly firstSeq: number },
  records: readonly StreamRecord[],
  crc32c: Crc32c,
): Uint8Array[] {
  const head = new Uint8Array(FRAME_HEADER_BYTES + records.length * RECORD_BYTES);
  const table = head.subarray(FRAME_HEADER_BYTES);
  const payloads = encodeRecordTable(records, table);
  const lastSeq = fields.firstSeq + records.length - 1;
  const all = { ...fields, kind: FrameKind.records, count: records.length, lastSeq };
  encodeHeader(headerOf(all, [table, ...payloads], crc32c), crc32c, head);
  return [head, ...payloads];
}

/** The raw body of a records frame as chunks [table, payload, …]: what a codec compresses as a unit before {@link encodeFrame}. */
export function encodeRecordsBody(records: readonly StreamRecord[]): Uint8Array[] {
  const table = new Uint8Array(records.length * RECORD_BYTES);
  return [table, ...encodeRecordTable(records, table)];
}

function headerOf(fields: FrameFields, body: readonly Uint8Array[], crc32c: Crc32c): FrameHeader {
  let bodyBytes = 0;
  let bodyCrc = 0;
  for (const chunk of body) {
    bodyBytes += chunk.byteLength;
    bodyCrc = crc32c(chunk, bodyCrc);
  }
  assert(bodyBytes <= FRAME_BODY_BYTES_MAX, 'frame body within its limit');
  const codec = fields.codec ?? FrameCodec.none;
  const header: FrameHeader = {
    kind: fields.kind,
    stream: fields.stream ?? 0,
    incarnation: fields.incarnation ?? 0,
    epoch: fields.epoch ?? 0,
    count: fields.count ?? 0,
    firstSeq: fields.firstSeq ?? 0,
    lastSeq: fields.lastSeq ?? 0,
    bodyBytes,
    rawBytes: codec === FrameCodec.none ? bodyBytes : (fields.rawBytes ?? 0),
    bodyCrc,
    codec,
  };
  assert(header.rawBytes <= FRAME_BODY_BYTES_MAX, 'raw bytes within their limit');
  checkKindLimits(header);
  return header;
}
