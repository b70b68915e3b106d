import { describe, expect, it } from '@jest/globals';
import { JOURNAL_RECORD_HEADER_BYTES, RECORD_MAGIC, SEGMENT_HEADER_BYTES } from './layout.js';
import { damage, heldIds, opened, Sender, syncEnd, syncStart } from './testing/broken-journal.js';
import { compactBench } from './testing/compact-bench.js';
import { JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { marker, seal, write } from './testing/stream-records.js';

const CHECKPOINTS = 16;
const SEGMENT_BYTES = 4096;

/** All write one sector, each checkpoint its own number; every other one was dropped and its versions are compacted away. */
function compacted(): { readonly disk: JournalDisk; readonly kept: readonly number[] } {
  const disk = new JournalDisk([64 * 1024]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  for (let id = 1; id <= CHECKPOINTS; id += 1) {
    for (let i = 1; i <= 3; i += 1) sender.send(write(0, id));
    sender.send(marker(id), seal(id));
  }
  const { bench } = sender;
  const dropped = Array.from({ length: CHECKPOINTS - 2 }, (_, index) => index + 2).filter((id) => id % 4 !== 0);
  expect(bench.ask({ type: 'thin', checkpointIds: dropped })).toBe(undefined);
  expect(compactBench(bench)).toBeGreaterThan(0);
  return { disk, kept: heldIds(bench) };
}

const copyOf = (disk: JournalDisk): JournalDisk => {
  const copy = new JournalDisk([64 * 1024]);
  for (const [segment, { bytes }] of disk.files) copy.create(segment, bytes);
  return copy;
};

function recordsIn(disk: JournalDisk): { readonly segment: number; readonly at: number }[] {
  return [...disk.files].flatMap(([segment, { bytes }]) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const found = [];
    for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += 64) if (view.getUint32(at + 4, true) === RECORD_MAGIC) found.push({ segment, at });
    return found;
  });
}

describe('checkpoints that were dropped, and whose versions a compaction has taken away', () => {
  it('do not come back when a bit turns, whatever record it is in', () => {
    const { disk, kept } = compacted();
    const places = recordsIn(disk);
    expect([kept.length, places.length > 30]).toEqual([5, true]);
    let broken = 0;
    for (const { segment, at } of places) {
      for (const behind of [20, JOURNAL_RECORD_HEADER_BYTES + 2]) {
        const copy = copyOf(disk);
        if (at + behind >= copy.sizeOf(segment)) continue;
        damage(copy, segment, at + behind);
        for (let opening = 0; opening < 2; opening += 1) {
          const bench = opened(copy);
          const shown = heldIds(bench);
          broken += bench.journal.state.phase === 'broken' ? 1 : 0;
          const images = bench.journal.checkpoints.map((checkpoint) => bench.image(checkpoint)[0]?.[0]);
          expect([segment, at, shown, images]).toEqual([segment, at, kept.slice(0, shown.length), shown]);
        }
      }
    }
    expect(broken).toBeGreaterThan(places.length);
  });

  it('are said once, however often their segment is compacted', () => {
    const { disk, kept } = compacted();
    const before = [...disk.files.values()].reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    const bench = opened(disk);
    compactBench(bench);
    expect([...disk.files.values()].reduce((sum, { bytes }) => sum + bytes.byteLength, 0)).toBeLessThanOrEqual(before + SEGMENT_HEADER_BYTES);
    expect(heldIds(opened(disk))).toEqual(kept);
  });
});
