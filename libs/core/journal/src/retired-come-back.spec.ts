import { expect, it } from '@jest/globals';
import { JOURNAL_RECORD_HEADER_BYTES, JournalRecordKind, RECORD_MAGIC, SEGMENT_HEADER_BYTES } from './layout.js';
import { damage, heldIds, opened, Sender, syncEnd, syncStart } from './testing/broken-journal.js';
import { compactBench } from './testing/compact-bench.js';
import { JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';
import { marker, seal, write } from './testing/stream-records.js';

const CHECKPOINTS = 24;
const SECTORS = 6;
const SECTOR_BYTES = 512;
const DISK_BYTES = 64 * 1024;
/** Which segment ends between a version and the marker that shows it is chance: of so many histories some have it so. */
const HISTORIES = 60;

/** The same numbers for the same seed. */
function numbers(seed: number): (below: number) => number {
  let at = seed * 7919;
  return (below) => {
    at = (at * 1103515245 + 12345) % 2 ** 31;
    return Math.floor((at / 2 ** 31) * below);
  };
}

/** Some are retired, nothing is applied, all is compacted, and then a bit turns in the record that retired them. */
function damaged(seed: number): { readonly disk: JournalDisk; readonly images: ReadonlyMap<number, number[]> } {
  const pick = numbers(seed);
  const disk = new JournalDisk([DISK_BYTES]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: 4096 }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  const sectors = new Array<number>(SECTORS).fill(0);
  const images = new Map<number, number[]>();
  let value = 0;
  for (let id = 1; id <= CHECKPOINTS; id += 1) {
    for (let writes = pick(4); writes > 0; writes -= 1) {
      const sector = pick(SECTORS);
      sectors[sector] = value += 1;
      sender.send(write(sector * SECTOR_BYTES, value));
    }
    images.set(id, [...sectors]);
    sender.send(marker(id), seal(id));
  }
  expect(sender.bench.ask({ type: 'retire', checkpointId: 2 + pick(CHECKPOINTS - 4) })).toBe(undefined);
  compactBench(sender.bench);
  // What follows tells that the record was durable.
  for (let i = 0; i < 2; i += 1) sender.send(write(SECTORS * SECTOR_BYTES, 1));
  const { segment, at } = retireIn(disk);
  damage(disk, segment, at + 20);
  return { disk, images };
}

function retireIn(disk: JournalDisk): { readonly segment: number; readonly at: number } {
  for (const [segment, { bytes }] of disk.files) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += 64) {
      if (view.getUint32(at + 4, true) === RECORD_MAGIC && view.getUint16(at + 10, true) === JournalRecordKind.retire) return { segment, at };
    }
  }
  throw new Error('no such record');
}

it('checkpoints that were retired and not yet applied do not come back with what a compaction has left of them', () => {
  let listed = 0;
  for (let seed = 1; seed <= HISTORIES; seed += 1) {
    const { disk, images } = damaged(seed);
    for (let opening = 1; opening <= 2; opening += 1) {
      const bench = opened(disk);
      expect(bench.journal.state.phase).toBe('broken');
      const shown = bench.journal.checkpoints.map((checkpoint) => Array.from({ length: SECTORS }, (_, sector) => bench.image(checkpoint)[0]?.[sector * SECTOR_BYTES]));
      expect([seed, shown]).toEqual([seed, heldIds(bench).map((id) => images.get(id))]);
      listed += shown.length;
    }
  }
  expect(listed).toBeGreaterThan(HISTORIES);
});

it('retired checkpoints are remembered until they are applied, and no longer', () => {
  const disk = new JournalDisk([DISK_BYTES]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: 4096 }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  for (let id = 1; id <= 5; id += 1) sender.checkpoint(id);
  const remembered = ({ recovered }: JournalBench): number[] => recovered.state.ledger.thinnedBetween(0, Infinity);
  expect(sender.bench.ask({ type: 'retire', checkpointId: 4 })).toBe(undefined);
  expect([remembered(sender.bench), remembered(opened(disk))]).toEqual([[1, 2, 3], [1, 2, 3]]);
  expect(sender.bench.ask({ type: 'allowApply', checkpointId: 4 })).toBe(undefined);
  sender.bench.settle();
  expect([remembered(sender.bench), remembered(opened(disk))]).toEqual([[], []]);
});
