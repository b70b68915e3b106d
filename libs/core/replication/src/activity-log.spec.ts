import { describe, expect, it } from '@jest/globals';
import { GiB, MiB } from '@tidemark/base';
import { ActivityLog, type ActivityLogOptions } from './activity-log.js';
import { encodeSector, SECTOR_BYTES, SECTOR_WORDS } from './activity-sectors.js';
import { crc32cTable } from '@tidemark/base/testing';

const OPTIONS: ActivityLogOptions = { volumeSizesBytes: [10 * MiB + 100, 8 * GiB], logId: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), crc32c: crc32cTable };

/** Makes every mark durable, in the file given. */
function persist(log: ActivityLog, file: Uint8Array): number {
  const batch = log.takeBatch();
  if (batch === undefined) return 0;
  for (const { at, bytes } of batch.writes) file.set(bytes, at);
  log.batchDurable(batch);
  return batch.writes.length;
}

function gatingLog(): { log: ActivityLog; file: Uint8Array } {
  const log = new ActivityLog(OPTIONS);
  log.isGating = true;
  return { log, file: log.encodeAll() };
}

const markedOf = (log: ActivityLog): string[] => [...log.marked()].map(({ volume, start, end }) => `${String(volume)}:${String(start / MiB)}-${String(end / MiB)}`);

describe('marks', () => {
  it('lets a write pass only when every extent of it is durably marked', () => {
    const { log, file } = gatingLog();
    expect(log.touch(0, MiB - 1, 2)).toBe(false);
    expect(log.isDurable(0, MiB - 1, 2)).toBe(false);
    expect(persist(log, file)).toBe(1);
    expect(log.touch(0, MiB - 1, 2)).toBe(true);
    expect(log.touch(0, 2 * MiB - 1, 2)).toBe(false);
    expect(log.touch(1, 0, 1)).toBe(false);
  });

  it('marks, and keeps nobody waiting, while everything counts as marked', () => {
    const log = new ActivityLog(OPTIONS);
    expect(log.touch(1, 5 * GiB, 3 * MiB)).toBe(true);
    expect(markedOf(log)).toEqual(['1:5120-5121', '1:5121-5122', '1:5122-5123']);
  });

  it('finds again what it wrote: the last extent of a volume is a short one', () => {
    const { log, file } = gatingLog();
    log.touch(0, 10 * MiB, 100);
    log.touch(1, 4 * GiB, 1);
    persist(log, file);
    const restored = ActivityLog.restore(OPTIONS, file);
    expect(restored && [...restored.marked()]).toEqual([{ volume: 0, start: 10 * MiB, end: 10 * MiB + 100 }, { volume: 1, start: 4 * GiB, end: 4 * GiB + MiB }]);
    expect([restored?.isGating, restored?.touch(0, 10 * MiB, 100), restored?.markedBytes]).toEqual([true, true, MiB + 100]);
  });

  it('trusts nothing when a sector is torn, of another log, elsewhere, or the file has another length', () => {
    const { log, file } = gatingLog();
    log.touch(1, 0, 1);
    persist(log, file);
    const broken = (change: (bytes: Uint8Array) => Uint8Array): ActivityLog | undefined => ActivityLog.restore(OPTIONS, change(file.slice()));
    expect(broken((bytes) => bytes)).toBeDefined();
    expect(broken((bytes) => bytes.fill(0, SECTOR_BYTES + 100, SECTOR_BYTES + 101).fill(9, SECTOR_BYTES + 200, SECTOR_BYTES + 201))).toBeUndefined();
    expect(broken((bytes) => bytes.fill(0, 0, SECTOR_BYTES))).toBeUndefined();
    expect(broken((bytes) => bytes.slice(0, -SECTOR_BYTES))).toBeUndefined();
    const swapped = (bytes: Uint8Array): Uint8Array => {
      const first = bytes.slice(SECTOR_BYTES, 2 * SECTOR_BYTES);
      bytes.copyWithin(SECTOR_BYTES, 2 * SECTOR_BYTES, 3 * SECTOR_BYTES);
      bytes.set(first, 2 * SECTOR_BYTES);
      return bytes;
    };
    expect(broken(swapped)).toBeUndefined();
    const stranger = encodeSector({ volume: 0, sector: 0, clearedSeq: 0, words: new Uint32Array(SECTOR_WORDS) }, new Uint8Array(8), crc32cTable);
    expect(broken((bytes) => {
      bytes.set(stranger);
      return bytes;
    })).toBeUndefined();
  });
});

describe('a round', () => {
  it('clears what was cold before it and while it ran, and says up to which position', () => {
    const { log, file } = gatingLog();
    for (const extent of [0, 1, 2]) log.touch(0, extent * MiB, 1);
    persist(log, file);
    expect(log.beginRound()).toEqual([]);
    log.touch(0, MiB, 1);
    expect(log.beginRound()).toEqual([0]);
    log.touch(0, 2 * MiB, 1);
    log.endRound(77);
    expect(markedOf(log)).toEqual(['0:1-2', '0:2-3']);
    expect(log.touch(0, 0, 1)).toBe(false);
    persist(log, file);
    expect(ActivityLog.restore(OPTIONS, file)?.clearedSeq).toBe(77);
  });

  it('never takes a mark for durable that was cleared while its sector was on its way', () => {
    const { log, file } = gatingLog();
    log.touch(0, 0, 1);
    persist(log, file);
    log.beginRound();
    log.beginRound();
    log.touch(1, 0, 1);
    log.touch(0, MiB, 1);
    const batch = log.takeBatch();
    log.endRound(5);
    if (batch) log.batchDurable(batch);
    expect([log.isDurable(0, 0, 1), log.isDurable(0, MiB, 1), log.isDurable(1, 0, 1)]).toEqual([false, true, true]);
  });

  it('forgets its candidates when it is abandoned', () => {
    const { log, file } = gatingLog();
    log.touch(0, 0, 1);
    persist(log, file);
    log.beginRound();
    log.beginRound();
    log.abandonRound();
    log.endRound(5);
    expect(markedOf(log)).toEqual(['0:0-1']);
  });
});

describe('the bytes of a sector', () => {
  it('are those of docs/spec/activity-log.md', () => {
    const words = new Uint32Array(SECTOR_WORDS);
    words[0] = 0x8000_0001;
    words[SECTOR_WORDS - 1] = 0x0001_0000;
    const bytes = encodeSector({ volume: 3, sector: 2, clearedSeq: 0x1_0000_0002, words }, new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), crc32cTable);
    const hex = Buffer.from(bytes).toString('hex');
    expect(hex.slice(8, 72)).toBe('5444414c01000300020000000102030405060708020000000100000001000080');
    expect(hex.slice(72, 1016)).toBe('0'.repeat(944));
    expect(hex.slice(1016)).toBe('00000100');
    expect(hex.slice(0, 8)).toBe(GOLDEN_CRC);
  });
});

/** By a bitwise CRC-32C in another language over the 508 bytes above. */
const GOLDEN_CRC = '6f1310cc';
