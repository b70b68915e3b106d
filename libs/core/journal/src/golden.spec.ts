import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { FrameCodec } from '@tidemark/frame';
import {
  encodeApplied, encodeDirect, encodeEpoch, encodePromotion, encodeReason, encodeRetirement, encodeSession, encodeSnapshot, encodeThin, encodeVolumes,
} from './control-bodies.js';
import {
  decodeJournalRecord, decodeSegmentHeader, encodeJournalRecord, encodeKept, encodeSegmentHeader, JOURNAL_RECORD_AT, JOURNAL_RECORD_HEADER_BYTES, JournalRecordKind, SEGMENT_AT,
} from './index.js';
import { crc32cTable } from '@tidemark/base/testing';
import { BEING_COPIED } from './volume-set.js';
import { frameOf, IDENTITY } from './testing/journal-bench.js';

const crc32c = crc32cTable;
const SALT = Uint8Array.of(0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

const SEGMENT = {
  identity: IDENTITY, salt: SALT, generation: 1, segment: 2, resumesSegment: 1, resumesAt: 0x1_0000_0040, firstRecordNo: 10, committedRecordNo: 9, chainStart: 0xdeadbeef,
};

const COMPACTED = {
  ...SEGMENT, compacted: { endAt: 0x2040, recordNo: 12, chain: 0x01020304, originalEndAt: 0x400_0080, originalRecordNo: 900, originalChain: 0x0a0b0c0d },
};

const FRAME = frameOf([{ type: 2, volume: 1, offset: 4096, length: 512, payload: undefined }], { firstSeq: 5, incarnation: 3, epoch: 7 });

const BODIES: Record<keyof typeof JournalRecordKind, Uint8Array> = {
  state: encodeSnapshot({
    epoch: 7, reservedEpoch: 8, highestEpoch: 8, isEnded: false, incarnation: 3, sessionId: 's', isBaseComplete: true, sync: 'idle', lastSeq: 5, appliedSeq: 2,
    retiredSeq: 3, promotion: null, brokenReason: null,
    volumes: [{ diskId: 'scsi:0:0', sizeBytes: 8192, baseSeq: 0 }, { diskId: '', sizeBytes: 0, baseSeq: 4 }, { diskId: 'scsi:0:1', sizeBytes: 4096, baseSeq: BEING_COPIED }],
  }),
  frame: FRAME.body,
  incarnation: encodeSession('session'),
  epochReserve: encodeEpoch(8),
  epochCommit: encodeEpoch(8),
  epochBurn: encodeEpoch(8),
  retire: encodeRetirement({ checkpointId: 4, markerSeq: 5 }),
  applied: encodeApplied(4),
  direct: encodeDirect('running'),
  baseFrame: FRAME.body,
  generation: encodeReason('EIO'),
  promotionStart: encodePromotion(4),
  promotionEnd: encodePromotion(4),
  scratch: FRAME.body,
  thin: encodeThin([4, 5]),
  kept: encodeKept([{ type: 2, volume: 1, offset: 4096, length: 512, payload: undefined }], [7], 5),
  volumes: encodeVolumes([{ diskId: 'scsi:0:0', sizeBytes: 8192 }, { diskId: '', sizeBytes: 0 }]),
};

function recordOf(kind: keyof typeof JournalRecordKind): Uint8Array {
  const body = BODIES[kind];
  const isFrame = kind === 'frame' || kind === 'baseFrame' || kind === 'scratch' || kind === 'kept';
  const { bytes } = encodeJournalRecord(
    {
      kind: JournalRecordKind[kind], recordNo: 11, committedRecordNo: 10, firstSeq: isFrame ? 5 : 0, lastSeq: kind === 'kept' ? 8 : 5, committedSeq: 4, epoch: 7, incarnation: 3,
      count: isFrame ? 1 : 0, bodyBytes: body.byteLength, rawBytes: body.byteLength, bodyCrc: crc32c(body), codec: FrameCodec.none, clockMs: 60_000,
      atMs: 1_763_800_000_000,
    },
    { salt: SALT, previousChain: 0x01020304, crc32c },
  );
  return new Uint8Array(Buffer.concat([bytes, body]));
}

/** Written once by hand-checked code; a change of these bytes is a change of the format and needs a new version. */
const golden = JSON.parse(readFileSync(new URL('../testdata/journal-v1.json', import.meta.url), 'utf8')) as Record<string, string>;

describe('bytes on disk, version 1', () => {
  it('segment header', () => {
    const bytes = encodeSegmentHeader(SEGMENT, crc32c);
    expect(hex(bytes)).toBe(golden['segment']);
    expect(decodeSegmentHeader(bytes, crc32c)).toEqual(SEGMENT);
  });

  it('header of a compacted segment', () => {
    const bytes = encodeSegmentHeader(COMPACTED, crc32c);
    expect(hex(bytes)).toBe(golden['compactedSegment']);
    expect(decodeSegmentHeader(bytes, crc32c)).toEqual(COMPACTED);
  });

  it.each(Object.keys(JournalRecordKind) as (keyof typeof JournalRecordKind)[])('record %s', (kind) => {
    const bytes = recordOf(kind);
    expect(hex(bytes)).toBe(golden[kind]);
    expect(decodeJournalRecord(bytes.subarray(0, JOURNAL_RECORD_HEADER_BYTES), SALT, crc32c)).toMatchObject({ kind: JournalRecordKind[kind], recordNo: 11, epoch: 7 });
  });

  it('no single changed bit of a header is accepted', () => {
    const bytes = recordOf('frame').slice(0, JOURNAL_RECORD_HEADER_BYTES);
    for (let bit = 0; bit < bytes.byteLength * 8; bit += 1) {
      const changed = bytes.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeJournalRecord(changed, SALT, crc32c)).toBe(undefined);
    }
  });

  it.each([
    ['kind', (view: DataView): void => view.setUint16(JOURNAL_RECORD_AT.kind, 99, true)],
    ['codec', (view: DataView): void => view.setUint8(JOURNAL_RECORD_AT.codec, 9)],
    ['reserved', (view: DataView): void => view.setUint8(JOURNAL_RECORD_AT.reserved4 + 15, 1)],
    ['body above the limit', (view: DataView): void => view.setUint32(JOURNAL_RECORD_AT.bodyBytes, 0x7fffffff, true)],
    ['sequence above 2^53', (view: DataView): void => view.setUint32(JOURNAL_RECORD_AT.lastSeq + 4, 0xffffffff, true)],
    ['committed at or above itself', (view: DataView): void => view.setUint32(JOURNAL_RECORD_AT.committedRecordNo, 11, true)],
  ])('a header with a right checksum and a wrong %s is refused', (_, change) => {
    const bytes = recordOf('frame').slice(0, JOURNAL_RECORD_HEADER_BYTES);
    const view = new DataView(bytes.buffer);
    change(view);
    view.setUint32(JOURNAL_RECORD_AT.headerCrc, crc32c(bytes.subarray(4)), true);
    expect(decodeJournalRecord(bytes, SALT, crc32c)).toBe(undefined);
  });

  it.each<[string, Partial<typeof COMPACTED.compacted>]>([
    ['ends inside its header', { endAt: 1024 }],
    ['is longer than what it stands for', { originalEndAt: 0x2000 }],
    ['has no record', { recordNo: 9 }],
    ['has more records than it stands for', { originalRecordNo: 11 }],
    ['says one thing only', { endAt: 0 }],
  ])('the header of a compacted segment that %s is refused', (_, change) => {
    const bytes = encodeSegmentHeader({ ...COMPACTED, compacted: { ...COMPACTED.compacted, ...change } }, crc32c);
    expect(decodeSegmentHeader(bytes, crc32c)).toBe(undefined);
  });

  it('a segment header with a right checksum and text that is not UTF-8 is refused', () => {
    const bytes = encodeSegmentHeader(SEGMENT, crc32c);
    const view = new DataView(bytes.buffer);
    view.setUint8(SEGMENT_AT.vmId, 0xff);
    view.setUint32(SEGMENT_AT.headerCrc, crc32c(bytes.subarray(4)), true);
    expect(decodeSegmentHeader(bytes, crc32c)).toBe(undefined);
  });
});
