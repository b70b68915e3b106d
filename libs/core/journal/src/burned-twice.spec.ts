import { describe, expect, it } from '@jest/globals';
import { JOURNAL_RECORD_HEADER_BYTES, RECORD_MAGIC, SEGMENT_HEADER_BYTES } from './layout.js';
import { damage, opened, Sender, syncEnd, syncStart } from './testing/broken-journal.js';
import { JournalBench } from './testing/journal-bench.js';
import { JournalDisk } from './testing/journal-disk.js';

const EPOCH = 2;
const DISK_BYTES = 64 * 1024;

/** Nothing but checkpoints follows the burn, or nothing at all: no state repeats it. */
function burned(times: number, checkpoints: number): JournalDisk {
  const disk = new JournalDisk([DISK_BYTES]);
  const sender = new Sender(new JournalBench(disk, { segmentBytes: 1024 * 1024 }));
  sender.begin();
  sender.send(syncStart('initialSync'), syncEnd);
  expect(sender.bench.ask({ type: 'reserveEpoch', epoch: EPOCH })).toBe(undefined);
  for (let i = 0; i < times; i += 1) expect(sender.bench.ask({ type: 'burnEpoch', epoch: EPOCH })).toBe(undefined);
  for (let id = 1; id <= checkpoints; id += 1) sender.checkpoint(id);
  return disk;
}

/** How many single bits, of one in every record's header and body, put the burned epoch in force again. */
function comeBack(times: number, checkpoints: number): number {
  const whole = burned(times, checkpoints);
  const bytes = whole.read(1, whole.sizeOf(1));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let back = 0;
  for (let at = SEGMENT_HEADER_BYTES; at + JOURNAL_RECORD_HEADER_BYTES <= bytes.byteLength; at += 64) {
    if (view.getUint32(at + 4, true) !== RECORD_MAGIC) continue;
    for (const behind of [20, JOURNAL_RECORD_HEADER_BYTES + 2]) {
      const disk = new JournalDisk([DISK_BYTES]);
      disk.create(1, bytes.slice());
      damage(disk, 1, at + behind);
      const isBack = [1, 2].some(() => opened(disk).ask({ type: 'reserveEpoch', epoch: EPOCH }) !== 'JOURNAL_EPOCH');
      back += isBack ? 1 : 0;
    }
  }
  return back;
}

describe('an epoch whose burn was written twice, the second time behind the durable first', () => {
  it.each([0, 3])('stays burned whichever record a bit turns in, %s checkpoints behind it', (checkpoints) => {
    expect([comeBack(1, checkpoints), comeBack(2, checkpoints)]).toEqual([expect.any(Number), 0]);
    expect(comeBack(1, checkpoints)).toBeGreaterThan(0);
  });
});
