import { describe, expect, it } from '@jest/globals';
import { thin, type ThinningCandidate, thinningLevels } from './thinning.js';

const HOUR_MS = 3_600_000;
const LEVELS = thinningLevels({ keepAllMs: HOUR_MS, hourlyAfterMs: 4 * HOUR_MS });

/** One checkpoint every `everyMs`, for `forMs`, the newest of age 0. */
function history(forMs: number, everyMs: number, keptIds: readonly number[] = []): ThinningCandidate[] {
  const count = Math.floor(forMs / everyMs);
  return Array.from({ length: count }, (_, i) => ({ checkpointId: i + 1, atMs: 10 * HOUR_MS + i * everyMs, ageMs: (count - 1 - i) * everyMs, isKept: keptIds.includes(i + 1) }));
}

function thinned(checkpoints: readonly ThinningCandidate[]): ThinningCandidate[] {
  let left = [...checkpoints];
  for (const level of LEVELS) {
    const { dropIds } = thin(left, level);
    left = left.filter(({ checkpointId }) => !dropIds.includes(checkpointId));
  }
  return left;
}

describe('thinning', () => {
  it('keeps every one for an hour, then one a minute, then one an hour', () => {
    const left = thinned(history(8 * HOUR_MS, 5000));
    const ages = left.map(({ ageMs }) => ageMs);
    expect(ages.filter((age) => age < HOUR_MS)).toHaveLength(720);
    expect(ages.filter((age) => age >= HOUR_MS && age < 4 * HOUR_MS).length).toBeGreaterThanOrEqual(179);
    expect(ages.filter((age) => age >= HOUR_MS && age < 4 * HOUR_MS).length).toBeLessThanOrEqual(181);
    expect(ages.filter((age) => age >= 4 * HOUR_MS)).toHaveLength(4);
  });

  it('never drops a tagged or pinned one, and says the same again', () => {
    const left = thinned(history(8 * HOUR_MS, 5000, [3, 4, 2000]));
    expect(left.map(({ checkpointId }) => checkpointId)).toEqual(expect.arrayContaining([3, 4, 2000]));
    expect(thinned(left)).toEqual(left);
  });

  it('goes on from the last one that stays with the same result', () => {
    const all = history(3 * HOUR_MS, 5000);
    const [level] = LEVELS;
    if (level === undefined) throw new Error('levels');
    const whole = thin(all, level).dropIds;
    const parts: number[] = [];
    for (let from = 1; ;) {
      const page = all.filter(({ checkpointId }) => checkpointId >= from && !parts.includes(checkpointId)).slice(0, 100);
      const { dropIds, nextId } = thin(page, level);
      parts.push(...dropIds);
      if (dropIds.length === 0) break;
      from = nextId;
    }
    expect(parts).toEqual(whole);
  });
});
