import { describe, expect, it } from '@jest/globals';
import { BROKEN, brokenJournal, damage, goOn, heldIds, imageOf, NEWER, opened, WHOLE } from './testing/broken-journal.js';
import { frameOf, type JournalBench } from './testing/journal-bench.js';
import type { JournalDisk } from './testing/journal-disk.js';
import { write } from './testing/stream-records.js';

const bytesOn = (disk: JournalDisk): number => [...disk.files.keys()].reduce((sum, segment) => sum + disk.sizeOf(segment), 0);
const numbers = (disk: JournalDisk): number[] => [...disk.files.keys()].sort((a, b) => a - b);
/** Up to the last checkpoint before the break the first generation has what it had. */
const BEFORE = WHOLE.slice(0, BROKEN - 1);
const imageAt = (id: number): (number | undefined)[] => WHOLE.map((each) => (each <= id ? each : 0));

function removals(bench: JournalBench): number[] {
  const removed: number[] = [];
  bench.plan = (effect) => {
    if (effect.type === 'removeSegment') removed.push(effect.segment);
    return undefined;
  };
  return removed;
}

describe('what lies behind a break', () => {
  it('counts in the size of the journal, when it is opened, while it goes on, and when it is opened again', () => {
    const { disk, sender } = brokenJournal({ isApplied: false });
    expect(sender.bench.journal.journalBytes).toBe(bytesOn(disk));
    goOn(sender, NEWER);
    expect(sender.bench.journal.journalBytes).toBe(bytesOn(disk));
    expect(opened(disk).journal.journalBytes).toBe(bytesOn(disk));
  });

  it('counts as well where an fsync failed, and what was written stays behind the last record', () => {
    const { disk, sender } = brokenJournal({ isApplied: false });
    goOn(sender, NEWER);
    const { bench } = sender;
    const { lastSeq } = bench.journal.durable;
    bench.plan = (effect) => (effect.type === 'sync' ? 'io' : undefined);
    bench.append(frameOf([write(0, 1)], { firstSeq: lastSeq + 1, incarnation: bench.journal.durable.incarnation, epoch: 1 }));
    bench.complete('append');
    bench.complete('sync');
    bench.plan = () => undefined;
    bench.settle();
    expect([bench.journal.state.phase, bench.journal.durable.lastSeq]).toEqual(['broken', lastSeq]);
    expect(bench.journal.journalBytes).toBe(bytesOn(disk));
    expect(opened(disk).journal.journalBytes).toBe(bytesOn(disk));
  });

  it('is not removed before a second segment says what was said in it', () => {
    const { disk, sender, segment, generationAt } = brokenJournal({ isApplied: false });
    const removed = removals(sender.bench);
    sender.bench.step({ type: 'freeCutOff', bytes: Infinity });
    sender.bench.settle();
    expect(removed).toEqual([]);
    sender.bench.step({ type: 'reopen' });
    sender.begin(); // a record: it has a segment of its own
    sender.bench.step({ type: 'freeCutOff', bytes: Infinity });
    sender.bench.settle();
    expect(numbers(disk)).toEqual([...numbers(disk).filter((each) => each <= segment), generationAt, generationAt + 1]);
  });

  it('goes, last file first, before any history is given up for want of space', () => {
    const { disk, sender, segment, generationAt } = brokenJournal({ isApplied: false });
    goOn(sender, NEWER);
    const { bench } = sender;
    const behind = numbers(disk).filter((each) => each > segment && each < generationAt);
    const cutOffBytes = behind.reduce((sum, each) => sum + disk.sizeOf(each), 0);
    expect([bench.journal.checkpointThatFrees(cutOffBytes), bench.journal.checkpointThatFrees(cutOffBytes + 1)?.checkpointId]).toEqual([undefined, 3]);
    const removed = removals(bench);
    bench.step({ type: 'freeCutOff', bytes: 1 });
    bench.settle();
    expect(removed).toEqual(behind.slice(-1));
    bench.step({ type: 'freeCutOff', bytes: cutOffBytes });
    bench.settle();
    expect(removed).toEqual(behind.toReversed());
    expect([bench.journal.journalBytes, heldIds(bench)]).toEqual([bytesOn(disk), [...BEFORE, NEWER]]);
    const again = opened(disk);
    expect([again.journal.state.phase, heldIds(again), imageOf(again, 3), imageOf(again, NEWER)]).toEqual(['open', [...BEFORE, NEWER], imageAt(3), WHOLE]);
  });

  it('is not missed where the header behind it does not read any more', () => {
    for (const count of [1, Infinity]) {
      const { disk, sender, generationAt } = brokenJournal({ isApplied: false });
      goOn(sender, NEWER);
      sender.bench.step({ type: 'freeCutOff', bytes: count });
      sender.bench.settle();
      damage(disk, generationAt, 20);
      const again = opened(disk);
      expect([again.journal.state.phase, heldIds(again), imageOf(again, 3)]).toEqual(['broken', BEFORE, imageAt(3)]);
    }
  });

  it('goes by itself with the history before it', () => {
    const { disk, sender, generationAt } = brokenJournal({ isApplied: false });
    goOn(sender, NEWER);
    expect(numbers(disk)).toContain(generationAt - 1);
    for (const type of ['retire', 'allowApply'] as const) expect(sender.bench.ask({ type, checkpointId: NEWER })).toBe(undefined);
    sender.bench.settle();
    expect(numbers(disk).filter((each) => each < generationAt)).toEqual([]);
    expect(sender.bench.journal.journalBytes).toBe(bytesOn(disk));
  });
});
