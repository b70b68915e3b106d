import { expect, it } from '@jest/globals';
import { damage, goOn, heldIds, opened, placeOf, Sender, syncEnd, syncStart } from './testing/broken-journal.js';
import { JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';

const SEGMENT_BYTES = 4096;

function breakAt(disk: JournalDisk, sender: Sender, checkpointId: number): void {
  const { segment, at } = placeOf(disk, sender.bench.journal.checkpoint(checkpointId)?.markerSeq ?? 0);
  damage(disk, segment, at);
  sender.bench = opened(disk);
  expect(sender.bench.journal.state.phase).toBe('broken');
}

it('keeps what comes after a break, in the next generation too, though something was retired at higher positions before', () => {
  const disk = new JournalDisk([64 * 1024]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: SEGMENT_BYTES }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  for (let id = 1; id <= 40; id += 1) sender.checkpoint(id);
  expect(sender.bench.ask({ type: 'retire', checkpointId: 38 })).toBe(undefined);
  // Positions go on behind what is before the break: lower ones than the retired checkpoint had.
  sender.bench.settle();
  const place = placeOf(disk, 9);
  damage(disk, place.segment, place.at);
  sender.bench = opened(disk);
  expect([sender.bench.journal.state.phase, heldIds(sender.bench)]).toEqual(['broken', []]);
  goOn(sender, 50);
  for (const id of [51, 52, 53]) sender.checkpoint(id);
  expect(heldIds(sender.bench)).toEqual([50, 51, 52, 53]);
  breakAt(disk, sender, 52);
  expect(heldIds(sender.bench)).toEqual([50, 51]);
  goOn(sender, 60);
  expect(heldIds(sender.bench)).toEqual([50, 51, 60]);
});
