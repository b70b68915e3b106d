import { describe, expect, it } from '@jest/globals';
import { isIndexOf, JournalRecovery, type SegmentHeader, sectionOf, type SegmentSpan } from './index.js';
import { crc32cTable } from '@tidemark/base/testing';
import { frameOf, IDENTITY, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { write } from './testing/stream-records.js';

const SALT = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const header = (more: Partial<SegmentHeader>): SegmentHeader => ({
  generation: 1, salt: SALT, segment: 4, resumesSegment: 3, resumesAt: 9000, firstRecordNo: 100, committedRecordNo: 99, chainStart: 0xaaaa, identity: { vpgId: 'vpg', vmId: 'vm' }, ...more,
});
const FOUND = { fileBytes: 8192, header: header({}) };
const NEXT = header({ segment: 5, resumesSegment: 4, resumesAt: 8192, firstRecordNo: 121, committedRecordNo: 120, chainStart: 0xbbbb });
const SECTION: SegmentSpan = { segment: 4, generation: 1, firstRecordNo: 100, chainStart: 0xaaaa, endAt: 8192, recordNo: 120, chain: 0xbbbb, lastSeq: 500, clockMs: 60_000 };

describe('an index of a segment', () => {
  it('is believed when both headers say the same, also of a file with more behind its end', () => {
    expect(isIndexOf(SECTION, FOUND, NEXT)).toBe(true);
    expect(isIndexOf(SECTION, { ...FOUND, fileBytes: 9000 }, NEXT)).toBe(true);
  });

  // One thing is another at a time: no condition stands in for one that is missing.
  it.each<[string, Partial<SegmentSpan>]>([
    ['generation', { generation: 2 }],
    ['first record', { firstRecordNo: 101 }],
    ['chain value at its start', { chainStart: 0xaaab }],
    ['end', { endAt: 8128 }],
    ['last record', { recordNo: 119 }],
    ['chain value at its end', { chain: 0xbbba }],
  ])('is not believed when it is of another %s', (_, stale) => {
    expect(isIndexOf({ ...SECTION, ...stale }, FOUND, NEXT)).toBe(false);
  });

  it('is not believed of another segment, a file that ends before it, or when another segment follows', () => {
    // Each differs in one place: the header's own number, and the number that the next one resumes.
    expect(isIndexOf(SECTION, { ...FOUND, header: header({ segment: 3 }) }, NEXT)).toBe(false);
    expect(isIndexOf(SECTION, FOUND, { ...NEXT, resumesSegment: 3 })).toBe(false);
    expect(isIndexOf(SECTION, { ...FOUND, fileBytes: 8191 }, NEXT)).toBe(false);
  });

  it('is taken for the records of its segment with the salt of the journal only', () => {
    const disk = new JournalDisk([64 * 1024]);
    const bench = new JournalBench(disk, { segmentBytes: 4096 });
    const begun = bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
    if (typeof begun !== 'object') throw new Error('refused');
    for (let seq = begun.durableSeq + 1; disk.files.size < 2; seq += 1) {
      bench.append(frameOf([write(0, 1, 1024)], { firstSeq: seq, incarnation: begun.incarnation, epoch: 1 }));
      bench.settle();
    }
    const [span] = bench.journal.segments;
    const [writes] = bench.journal.unindexed;
    if (span === undefined || writes === undefined) throw new Error('a sealed segment');
    const isTaken = (change: Partial<SegmentSpan>, salt = SALT): boolean => {
      const recovery = new JournalRecovery({ identity: IDENTITY, epoch: 1, crc32c: crc32cTable, decompress: (_, body) => body }, disk.found());
      const [found, next] = disk.found();
      if (found === undefined || next === undefined) throw new Error('two segments');
      return recovery.takeIndexed(found, next, { salt, section: { ...sectionOf(span, writes), ...change } });
    };
    expect([isTaken({}), isTaken({}, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 9)), isTaken({ chain: 7 })]).toEqual([true, false, false]);
  });
});
