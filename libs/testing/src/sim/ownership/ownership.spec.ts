import { describe, expect, it } from '@jest/globals';
import { runOwnership } from './run-ownership.js';

describe('ownership of a VPG between two sites', () => {
  it('has one writer through 200 seeds of partitions, crashes and people', async () => {
    const sums = { failovers: 0, commits: 0, fenced: 0, forced: 0, crashes: 0, lies: 0, settled: 0 };
    for (let seed = 1; seed <= 200; seed += 1) {
      const { violation, truth } = await runOwnership(seed);
      expect([seed, violation?.message]).toEqual([seed, undefined]);
      sums.failovers += truth.failoverCount;
      sums.commits += truth.commitCount;
      sums.crashes += truth.crashCount;
      sums.fenced += truth.hasFenced ? 1 : 0;
      sums.forced += truth.isEverClaimed ? 1 : 0;
      sums.lies += truth.lieCount;
      sums.settled += truth.settledCount;
    }
    // What was to be tried was tried.
    expect(sums.commits).toBeGreaterThan(80);
    expect(sums.failovers - sums.commits).toBeGreaterThan(80);
    expect(sums.fenced).toBeGreaterThan(80);
    expect(sums.forced).toBeGreaterThan(3);
    expect(sums.crashes).toBeGreaterThan(300);
    expect(sums.lies).toBeGreaterThan(20);
    expect(sums.settled).toBeGreaterThan(5);
  });

  it('is the same run again for the same seed', async () => {
    const [one, other] = [await runOwnership(7), await runOwnership(7)];
    expect(one.truth.writeCount).toBeGreaterThan(10);
    expect(JSON.stringify(one.truth)).toBe(JSON.stringify(other.truth));
  });
});
