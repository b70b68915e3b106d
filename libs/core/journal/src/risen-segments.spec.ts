import { describe, expect, it } from '@jest/globals';
import { brokenJournal, damage, goOn, heldIds, imageOf, NEWER, opened, type Sender, WHOLE } from './testing/broken-journal.js';
import type { JournalDisk } from './testing/journal-disk.js';

/** What the first generation had before the break is applied and freed, and the files that the second one has cut off are left, for the disk did not let them be removed. */
function cutOff(): { readonly disk: JournalDisk; readonly sender: Sender; readonly generationAt: number } {
  const { disk, sender, segment, generationAt } = brokenJournal({ isApplied: true });
  sender.bench.plan = (effect) => (effect.type === 'removeSegment' && effect.segment > segment ? 'io' : undefined);
  goOn(sender, NEWER);
  // A view was open and is closed: what is applied is freed.
  sender.bench.step({ type: 'pin', key: 'view', checkpointId: NEWER, isReading: true });
  sender.bench.step({ type: 'unpin', key: 'view' });
  sender.bench.settle();
  expect(Math.min(...disk.files.keys())).toBe(segment + 1);
  return { disk, sender, generationAt };
}

describe('files that a generation has cut off, when its header does not read any more', () => {
  it('show nothing that needs what stood before them and is freed', () => {
    const { disk, generationAt } = cutOff();
    expect(heldIds(opened(disk))).toEqual([NEWER]);
    damage(disk, generationAt, 20);
    const { journal } = opened(disk);
    expect([journal.state.phase, heldIds({ journal })]).toEqual(['broken', []]);
  });

  it('are stood on by the next generation, whose checkpoints stay', () => {
    const { disk, sender, generationAt } = cutOff();
    damage(disk, generationAt, 20);
    sender.bench = opened(disk);
    goOn(sender, NEWER + 1);
    const again = opened(disk);
    expect([again.journal.state.phase, heldIds(again), imageOf(again, NEWER + 1)]).toEqual(['open', [NEWER + 1], WHOLE]);
  });
});
