import { describe, expect, it } from '@jest/globals';
import { bytesText, secondsText } from '../terminal.js';
import { complaint } from './proof.js';
import { ratioText } from './stage.js';
import { timelineOf } from './story.js';

const checkpoint = (second: number, tag: string | null = null) => ({
  CheckpointIdentifier: String(second),
  TimeStamp: `2026-11-22T10:42:${String(second).padStart(2, '0')}.000Z`,
  Tag: tag,
  Type: tag === null ? 0 : 1,
});

describe('what the demo shows', () => {
  it('the damage stands between the checkpoints before and after it', () => {
    const checkpoints = [checkpoint(5), checkpoint(10, 'good'), checkpoint(15), checkpoint(20)];
    expect(timelineOf(checkpoints, { damageAtMs: 0 }).map((entry) => entry.kind)).toEqual(['automatic', 'tagged', 'automatic', 'automatic']);
    const damageAtMs = Date.parse('2026-11-22T10:42:16.500Z');
    expect(timelineOf(checkpoints, { damageAtMs }).map((entry) => [entry.kind, entry.caption])).toEqual([
      ['automatic', '10:42:05'],
      ['tagged', "'good'"],
      ['automatic', '10:42:15'],
      ['damage', 'damage 10:42:16'],
      ['automatic', '10:42:20'],
    ]);
  });

  it('the complaint of e2fsck is shown without paths', () => {
    expect(complaint('e2fsck 1.47.0\n/usr/sbin/e2fsck: Bad magic number in super-block while trying to open /x/y.raw\n\nThe superblock could not be read')).toBe(
      'Bad magic number in super-block',
    );
    expect(complaint('first\nUNEXPECTED INCONSISTENCY')).toBe('UNEXPECTED INCONSISTENCY');
  });

  it('sizes, times and ratios are what a person would say', () => {
    expect([0, 1023, 1536, 64 * 2 ** 20, 300 * 2 ** 20, 2.25 * 2 ** 40].map(bytesText)).toEqual(['0 B', '1023 B', '1.5 KiB', '64 MiB', '300 MiB', '2.3 TiB']);
    expect([950, 12_400].map(secondsText)).toEqual(['0.9 s', '12 s']);
    expect(ratioText(3 * 2 ** 20, 2 * 2 ** 20)).toBe('3 MiB written, 2 MiB sent: 1.50 : 1');
    expect(ratioText(1, 0)).toBe('nothing sent');
  });
});
