import { describe, expect, it } from '@jest/globals';
import { crc32cTable } from '@tidemark/base/testing';
import { encodeSyncStart, RecordType } from '@tidemark/frame';
import { decodeFooter, encodeFooter, FOOTER_BYTES, JOURNAL_RECORD_HEADER_BYTES, layoutOf, RECORD_MAGIC, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC } from './index.js';
import { frameOf, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { mark, marker, seal, write } from './testing/stream-records.js';

const SEGMENT_BYTES = 8 * 1024;
const NEWER = expect.objectContaining({ code: 'JOURNAL_VERSION', message: expect.stringMatching(/format version 2, .*version 1 only.*Nothing was changed/) });

/** A journal of several segments with one checkpoint held. */
function journalOnDisk(): JournalDisk {
  const disk = new JournalDisk([64 * 1024]);
  const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
  const begun = bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
  if (typeof begun !== 'object') throw new Error(`refused: ${begun}`);
  const frames = [
    [mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'test' })), mark(RecordType.syncEnd)], [write(0, 1), marker(1)], [seal(1)],
    ...Array.from({ length: 8 }, (_, i) => [write(i, 2 + i, 2048)]),
  ];
  let firstSeq = 1;
  for (const records of frames) {
    const frame = frameOf(records, { firstSeq, incarnation: begun.incarnation, epoch: 1 });
    bench.append(frame);
    bench.settle();
    firstSeq = frame.header.lastSeq + 1;
  }
  expect([disk.files.size > 2, bench.journal.checkpoints.length]).toEqual([true, 1]);
  return disk;
}

/** As a later version writes it: CRC, magic and version at the places that no version changes, and anything in the others. */
function make2(bytes: Uint8Array, at: number, headerBytes: number, otherFrom: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(at + 8, 2, true);
  bytes.fill(0xa5, at + otherFrom, at + headerBytes);
  view.setUint32(at, crc32cTable(bytes.subarray(at + 4, at + headerBytes)), true);
}

const segmentTo2 = (disk: JournalDisk, segment: number): void => change(disk, segment, (bytes) => make2(bytes, 0, SEGMENT_HEADER_BYTES, 10));
/** Its salt stays where it is. */
const recordTo2 = (disk: JournalDisk, segment: number, record: number): void =>
  change(disk, segment, (bytes) => make2(bytes, recordsAt(bytes).at(record) ?? 0, JOURNAL_RECORD_HEADER_BYTES, 24));

function change(disk: JournalDisk, segment: number, act: (bytes: Uint8Array) => void): void {
  const bytes = disk.read(segment, disk.sizeOf(segment)).slice();
  act(bytes);
  disk.create(segment, bytes);
}

function recordsAt(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return Array.from({ length: Math.floor(bytes.byteLength / 64) }, (_, i) => i * 64).filter((at) => at >= SEGMENT_HEADER_BYTES && view.getUint32(at + 4, true) === RECORD_MAGIC);
}

const last = (disk: JournalDisk): number => Math.max(...disk.files.keys());
const contents = (disk: JournalDisk): unknown => [...disk.files].map(([segment, { bytes }]) => [segment, Buffer.from(bytes).toString('base64')]);

describe('a journal that a newer version has written in is not opened, and nothing of it changes', () => {
  it.each<[string, (disk: JournalDisk) => void]>([
    ['the first segment is of it', (disk) => segmentTo2(disk, 1)],
    ['a segment in between is of it', (disk) => segmentTo2(disk, 2)],
    ['the last segment is of it', (disk) => segmentTo2(disk, last(disk))],
    ['the last segment is of it and holds nothing yet: not a file whose creation a crash stopped', (disk) => {
      const made = new Uint8Array(SEGMENT_HEADER_BYTES);
      new DataView(made.buffer).setUint32(4, SEGMENT_MAGIC, true);
      make2(made, 0, SEGMENT_HEADER_BYTES, 10);
      disk.create(last(disk) + 1, made);
    }],
    ['a record in between is of it', (disk) => recordTo2(disk, 2, 1)],
    ['the last record is of it: not a torn tail', (disk) => recordTo2(disk, last(disk), -1)],
    ['a record of it stands behind one that is torn: not a torn tail either', (disk) => {
      recordTo2(disk, last(disk), -1);
      change(disk, last(disk), (bytes) => bytes.fill(0, recordsAt(bytes).at(-2), (recordsAt(bytes).at(-2) ?? 0) + 128));
    }],
    ['the header of the only segment has rotted, and its first record is of it', (disk) => {
      for (const segment of disk.files.keys()) if (segment !== 1) disk.files.delete(segment);
      recordTo2(disk, 1, 0);
      change(disk, 1, (bytes) => bytes.fill(0xff, 30, 40));
    }],
  ])('%s', (_, rewrite) => {
    const disk = journalOnDisk();
    rewrite(disk);
    const before = contents(disk);
    expect(() => new JournalBench(disk, { segmentBytes: SEGMENT_BYTES })).toThrow(NEWER);
    expect(contents(disk)).toEqual(before);
  });

  it('a header of another version whose checksum does not hold is what it was: damage', () => {
    const disk = journalOnDisk();
    segmentTo2(disk, 2);
    change(disk, 2, (bytes) => bytes.fill(0, 500, 501));
    expect(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }).recovered.corruption).toContain('record');
  });
});

describe('an index file of a newer version', () => {
  const footer = { firstSegment: 1, lastSegment: 1, segmentCount: 1, salt: new Uint8Array(8), pageCount: 0, fencePageCount: 0, upperFencesCrc: 0, sectionsBytes: 64, sectionsCrc: 0, entryCount: 0 };

  it('is told from a damaged one, which is made again', () => {
    const bytes = encodeFooter(footer, crc32cTable);
    expect(decodeFooter(bytes, layoutOf(footer).fileBytes, crc32cTable)).toEqual(footer);
    make2(bytes, 0, FOOTER_BYTES, 10);
    expect(() => decodeFooter(bytes, 4711, crc32cTable)).toThrow(NEWER);
    bytes.fill(0, 100, 101);
    expect(decodeFooter(bytes, 4711, crc32cTable)).toBe(undefined);
  });
});
