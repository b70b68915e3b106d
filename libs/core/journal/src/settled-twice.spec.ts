import { describe, expect, it } from '@jest/globals';
import { JOURNAL_RECORD_HEADER_BYTES, RECORD_MAGIC, SEGMENT_HEADER_BYTES } from './layout.js';
import { damage, opened, Sender, syncEnd, syncStart } from './testing/broken-journal.js';
import { JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';

const EPOCH = 2;
const DISK_BYTES = 64 * 1024;

type Step = 'burnEpoch' | 'commitEpoch';

/** What a journal that remembers the step answers, whatever the number. */
const ANSWERS = { burnEpoch: 'JOURNAL_EPOCH', commitEpoch: 'JOURNAL_ENDED' } as const;

/** Nothing but checkpoints follows the step, or nothing at all: no state repeats it. */
function settled(step: Step, times: number, checkpoints: number): JournalDisk {
  const disk = new JournalDisk([DISK_BYTES]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: 1024 * 1024 }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  expect(sender.bench.ask({ type: 'reserveEpoch', epoch: EPOCH })).toBe(undefined);
  for (let i = 0; i < times; i += 1) expect(sender.bench.ask({ type: step, epoch: EPOCH })).toBe(undefined);
  for (let id = 1; id <= checkpoints; id += 1) sender.checkpoint(id);
  return disk;
}

/** How many single bits, of one in every record's header and body, undo the step. */
function undone(step: Step, times: number, checkpoints: number): number {
  const whole = settled(step, times, checkpoints);
  const bytes = whole.read(1, whole.sizeOf(1));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let back = 0;
  for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += 64) {
    if (view.getUint32(at + 4, true) !== RECORD_MAGIC) continue;
    for (const behind of [20, JOURNAL_RECORD_HEADER_BYTES + 2]) {
      const disk = new JournalDisk([DISK_BYTES]);
      disk.create(1, bytes.slice());
      damage(disk, 1, at + behind);
      const isBack = [1, 2].some(() => opened(disk).ask({ type: 'reserveEpoch', epoch: EPOCH }) !== ANSWERS[step]);
      back += isBack ? 1 : 0;
    }
  }
  return back;
}

describe('an epoch that was burned or committed twice, the second time behind the durable first', () => {
  it.each([['burnEpoch', 0], ['burnEpoch', 3], ['commitEpoch', 0]] as const)('stays so whichever record a bit turns in: %s, %s checkpoints behind it', (step, checkpoints) => {
    expect(undone(step, 1, checkpoints)).toBeGreaterThan(0);
    expect(undone(step, 2, checkpoints)).toBe(0);
  });
});
