import { expect, it } from '@jest/globals';
import { brokenJournal, damage, goOn, NEWER, opened } from './testing/broken-journal.js';

const HEADER_AT = 100;
const EPOCH = 5;

it('knows a burned epoch from behind a header that does not read, also where the file before it has higher record numbers', () => {
  const { disk, sender, generationAt } = brokenJournal({ isApplied: false });
  goOn(sender, NEWER);
  expect(sender.bench.ask({ type: 'reserveEpoch', epoch: EPOCH })).toBe(undefined);
  expect(sender.bench.ask({ type: 'burnEpoch', epoch: EPOCH })).toBe(undefined);
  sender.bench.settle();
  // The file before is one that this generation has cut off, of those the one that is left: its records have higher numbers than any behind it.
  disk.remove(generationAt - 2);
  damage(disk, generationAt, HEADER_AT);
  const again = opened(disk);
  expect(again.journal.state.phase).toBe('broken');
  expect(again.ask({ type: 'reserveEpoch', epoch: EPOCH })).toBe('JOURNAL_EPOCH');
  expect(again.ask({ type: 'reserveEpoch', epoch: EPOCH + 1 })).toBe(undefined);
});
