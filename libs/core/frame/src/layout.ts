import { assert, GiB, MiB } from '@tidemark/base';

/** Frame header: one fixed 64-byte little-endian layout for 4007, 4008 and (with the body as received) the journal. docs/spec/replication.md */
export const FRAME_AT = {
  headerCrc: 0, // u32, CRC-32C of bytes 4..63; its place never moves between versions
  magic: 4, // u32
  version: 8, // u16
  kind: 10, // u16
  stream: 12, // u32, chosen by the opener of the stream, unique on its connection; 0 = the connection itself
  incarnation: 16, // u32
  count: 20, // u32, records in the body
  firstSeq: 24, // u64
  lastSeq: 32, // u64
  bodyBytes: 40, // u32, as on the wire
  rawBytes: 44, // u32, after decompression
  bodyCrc: 48, // u32, CRC-32C of the body as on the wire
  codec: 52, // u8
  reserved1: 53, // u8
  reserved2: 54, // u16
  epoch: 56, // u32
  reserved3: 60, // u32
} as const;
export const FRAME_HEADER_BYTES = 64;
assert(FRAME_AT.reserved3 + 4 === FRAME_HEADER_BYTES, 'frame header layout');

export const FRAME_MAGIC = 0x4b4d4454; // 'TDMK' read as little-endian u32
export const FRAME_VERSION = 1;
/** One frame holds at most this much after decompression: one 32 MiB guest write and its descriptor fit. */
export const FRAME_BODY_BYTES_MAX = 33 * MiB;
export const FRAME_RECORDS_MAX = 65_536;
/** The longest range of one record without payload (zeroes). */
export const RECORD_LENGTH_MAX = 2 * GiB;

export const FrameKind = {
  open: 1, // JSON: a protecting VRA opens a protection's stream
  opened: 2, // JSON: incarnation, durable position, credit
  refused: 3, // JSON: why
  records: 4, // record table + payloads
  ack: 5, // lastSeq = durable up to; body: AckBody
  closeStream: 6, // no body
  ping: 7, // body echoed
  pong: 8,
  hello: 9, // first frame of each side: versions and features, see hello.ts
  hashRequest: 16, // an extent of the head, by its place; to recovering
  hashReply: 17, // digests of its blocks; to protecting
  control: 32, // 4007: JSON {type, …}
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

export const FrameCodec = { none: 0, lz4: 1, zstd: 2 } as const;
export type FrameCodec = (typeof FrameCodec)[keyof typeof FrameCodec];

/** Record descriptor: the table of `count` of them opens the body, payloads follow. Record i has writeSeq firstSeq + i. */
export const RECORD_AT = {
  offset: 0, // u64, bytes in the volume
  length: 8, // u32, bytes covered in the volume
  payloadAt: 12, // u32, from the start of the body
  payloadBytes: 16, // u32; = length for writes, 0 for zeroes, JSON bytes for marks
  volume: 20, // u16, index in the protection
  type: 22, // u8
  reserved: 23, // u8
} as const;
export const RECORD_BYTES = 24;
assert(RECORD_AT.reserved + 1 === RECORD_BYTES, 'record layout');

export const RecordType = {
  write: 1,
  zeroes: 2,
  syncWrite: 3,
  syncZeroes: 4,
  marker: 5, // payload: JSON CheckpointMarker
  seal: 6, // payload: JSON CheckpointSeal
  syncStart: 7, // payload: JSON {kind, reason}
  syncEnd: 8, // no payload
} as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];
