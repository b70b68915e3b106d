import { describe, expect, it } from '@jest/globals';
import { encodeSyncStart, RecordType } from '@tidemark/frame';
import { JOURNAL_RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES } from './index.js';
import { frameOf, JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { mark, marker, seal, write } from './testing/stream-records.js';

const SEGMENT_BYTES = 4096;
const SEGMENTS = 3;

/** Three segments; epoch 2 was reserved in the first and burned in the last. */
function journalWithBurnedEpoch(): JournalDisk {
  const disk = new JournalDisk([64 * 1024]);
  const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
  bench.ask({ type: 'beginIncarnation', sessionId: 'a', epoch: 1 });
  let seq = 0;
  const send = (...records: Parameters<typeof frameOf>[0]): void => {
    const frame = frameOf(records, { firstSeq: seq + 1, incarnation: 1, epoch: 1 });
    bench.append(frame);
    bench.settle();
    seq = frame.header.lastSeq;
  };
  send(mark(RecordType.syncStart, encodeSyncStart({ kind: 'initialSync', reason: 'test' })), mark(RecordType.syncEnd));
  bench.ask({ type: 'reserveEpoch', epoch: 2 });
  for (let id = 1; disk.files.size < SEGMENTS; id += 1) send(write(id * 512, id), marker(id), seal(id));
  bench.ask({ type: 'burnEpoch', epoch: 2 });
  expect(disk.files.size).toBe(SEGMENTS);
  return disk;
}

const opened = (disk: JournalDisk): JournalBench => {
  const bench = new JournalBench(disk, { segmentBytes: SEGMENT_BYTES });
  bench.settle();
  return bench;
};

function damage(disk: JournalDisk, segment: number, at: number): void {
  const bytes = disk.read(segment, disk.sizeOf(segment));
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  disk.create(segment, bytes);
}

const BOOLEANS = [false, true];
/** Which of the three headers are damaged, and whether the first record behind each damaged one is as well. */
const BREAKS = BOOLEANS.flatMap((one) => BOOLEANS.flatMap((two) => BOOLEANS.flatMap((three) => BOOLEANS.map((withFirstRecord) => ({
  headers: [one, two, three], withFirstRecord,
}))))).filter(({ headers }) => headers.includes(true));

describe('ownership behind damaged segment headers', () => {
  it.each(BREAKS)('is never forgotten: headers damaged $headers, the record behind them too: $withFirstRecord', ({ headers, withFirstRecord }) => {
    const disk = journalWithBurnedEpoch();
    headers.forEach((isDamaged, i) => {
      if (isDamaged) damage(disk, i + 1, 20);
      if (isDamaged && withFirstRecord) damage(disk, i + 1, SEGMENT_HEADER_BYTES + 20);
    });
    const bench = opened(disk);
    expect(bench.journal.state.phase).toBe('broken');
    const isUnreadable = withFirstRecord && !headers.includes(false);
    expect(bench.ask({ type: 'reserveEpoch', epoch: 2 })).toBe(isUnreadable ? 'JOURNAL_IO' : 'JOURNAL_EPOCH');
    // Nor in what was written then, when it is opened again.
    const again = opened(disk);
    expect(again.ask({ type: 'reserveEpoch', epoch: 2 })).toBe(isUnreadable ? 'JOURNAL_IO' : 'JOURNAL_EPOCH');
    expect(again.ask({ type: 'reserveEpoch', epoch: 3 })).toBe(isUnreadable ? 'JOURNAL_IO' : undefined);
  });

  it('says what to do when nothing tells which records belong to the journal, and writes nothing', () => {
    const disk = new JournalDisk([4096]);
    opened(disk).ask({ type: 'reserveEpoch', epoch: 2 });
    damage(disk, 1, 0);
    damage(disk, 1, SEGMENT_HEADER_BYTES + JOURNAL_RECORD_HEADER_BYTES - 1);
    const before = disk.read(1, disk.sizeOf(1));
    const { journal } = opened(disk);
    expect([journal.isDead, journal.state.reason]).toEqual([true, expect.stringContaining('remove this journal')]);
    expect([disk.files.size, Buffer.compare(disk.read(1, disk.sizeOf(1)), before)]).toEqual([1, 0]);
  });
});
