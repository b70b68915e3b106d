import { assert, KiB, MiB } from '@tidemark/base';

/** Start of every segment file. docs/spec/journal.md; little-endian. */
export const SEGMENT_AT = {
  headerCrc: 0, // u32, CRC-32C of bytes 4..1023; its place never moves between versions
  magic: 4, // u32
  version: 8, // u16
  reserved1: 10, // u16
  generation: 12, // u32, grows when an earlier one may take no more
  salt: 16, // 8 random bytes, chosen once per journal: nothing that a guest writes can look like a record
  segment: 24, // u32, number of this file, from 1
  resumesSegment: 28, // u32, the records before the first one here end in this segment (0: there are none) ...
  resumesAt: 32, // u64, ... at this byte; what lies beyond belongs to nobody
  firstRecordNo: 40, // u64
  committedRecordNo: 48, // u64, durable when this file was made
  chainStart: 56, // u32, chain value of the record before the first one here
  vpgIdBytes: 60, // u16
  vmIdBytes: 62, // u16
  vpgId: 64, // UTF-8, zero-filled to 256 bytes
  vmId: 320, // UTF-8, zero-filled to 640 bytes
  // Of a compacted segment, else zeroes: where its own records end, and where the ones that it stands for ended.
  compactedEndAt: 960, // u64, end of the last record in this file; 0: not compacted
  compactedRecordNo: 968, // u64, number of the last record in this file
  originalRecordNo: 976, // u64, and of the last one that it stands for
  originalEndAt: 984, // u64, where that one ended: the next segment resumes there
  compactedChain: 992, // u32, chain value of the last record in this file
  originalChain: 996, // u32, and of the last one that it stands for: the next segment starts from it
  reserved2: 1000, // 24 zero bytes
} as const;
export const SEGMENT_HEADER_BYTES = 1024;
export const VPG_ID_BYTES_MAX = 256;
export const VM_ID_BYTES_MAX = 640;
assert(SEGMENT_AT.vpgId + VPG_ID_BYTES_MAX === SEGMENT_AT.vmId, 'segment header layout: vpgId');
assert(SEGMENT_AT.vmId + VM_ID_BYTES_MAX === SEGMENT_AT.compactedEndAt, 'segment header layout: vmId');
assert(SEGMENT_AT.reserved2 + 24 === SEGMENT_HEADER_BYTES, 'segment header layout: end');

/** Start of every record. The body follows; zero bytes fill it up to a multiple of {@link RECORD_ALIGN_BYTES}. */
export const JOURNAL_RECORD_AT = {
  headerCrc: 0, // u32, CRC-32C of bytes 4..127; its place never moves between versions
  magic: 4, // u32
  version: 8, // u16
  kind: 10, // u16
  chain: 12, // u32, CRC-32C of bytes 16..127 continued from the chain value of the record before
  salt: 16, // as in the segment header
  recordNo: 24, // u64, from 1, without gaps
  committedRecordNo: 32, // u64, highest record that was durable when this one was written
  firstSeq: 40, // u64, stream position of the first write inside; 0: none
  lastSeq: 48, // u64, of the last; in records without stream data: the stream's end so far
  committedSeq: 56, // u64, durable stream position when this record was written
  epoch: 64, // u32
  incarnation: 68, // u32
  count: 72, // u32, stream records in the body
  bodyBytes: 76, // u32, as stored
  rawBytes: 80, // u32, after decompression
  bodyCrc: 84, // u32, CRC-32C of the body as stored
  codec: 88, // u8, as in the frame
  reserved1: 89, // u8
  reserved2: 90, // u16
  reserved3: 92, // u32
  clockMs: 96, // u64, running time of the journal: monotonic, goes on where the last process stopped
  atMs: 104, // u64, wall clock, ms since 1970
  reserved4: 112, // 16 zero bytes
} as const;
export const JOURNAL_RECORD_HEADER_BYTES = 128;
assert(JOURNAL_RECORD_AT.reserved4 + 16 === JOURNAL_RECORD_HEADER_BYTES, 'record header layout');
/** Records begin at multiples of this, so that a scan past a break knows where to look. */
export const RECORD_ALIGN_BYTES = 64;

export const SEGMENT_MAGIC = 0x534a4454; // 'TDJS'
export const RECORD_MAGIC = 0x524a4454; // 'TDJR'
export const JOURNAL_VERSION = 1;

export const JournalRecordKind = {
  state: 1, // JSON JournalSnapshot: first record of every segment
  frame: 2, // body of a records frame as received
  incarnation: 3, // JSON {sessionId}; header: the new incarnation and its epoch
  epochReserve: 4, // JSON {epoch}
  epochCommit: 5, // JSON {epoch}; ends the history
  epochBurn: 6, // JSON {epoch}
  retire: 7, // JSON {checkpointId, markerSeq}: older checkpoints are dropped
  applied: 8, // JSON {appliedSeq}: the mirrors durably hold everything up to it
  direct: 9, // no body: firstSeq..lastSeq are durable in the mirrors
  baseFrame: 10, // as frame; its syncEnd completes the base, and its records up to there are in the mirrors too
  generation: 11, // JSON {reason}: the generation before takes no more
  promotionStart: 12, // JSON {checkpointId}
  promotionEnd: 13, // JSON {checkpointId}: the mirrors are the whole disks
  scratch: 14, // record table + payloads, as a frame; only in scratch journals
  volumes: 15, // JSON {volumeDisks, volumeBytes}: the volumes of the protection from here on
  thin: 16, // JSON {checkpointIds}: these are dropped, their writes stay
  kept: 17, // what a compaction left of the frames firstSeq..lastSeq: record table + payloads + the position of each record
} as const;
export type JournalRecordKind = (typeof JournalRecordKind)[keyof typeof JournalRecordKind];

export const SEGMENT_BYTES_DEFAULT = 64 * MiB;
/** Bodies of records that are not frames. A VPG id, a VM id, a session id and some numbers fit many times. */
export const CONTROL_BODY_BYTES_MAX = 64 * KiB;
