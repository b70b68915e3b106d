import { describe, expect, it } from '@jest/globals';
import type { CycleResult } from './crash-loop.js';
import { faultOrder, possibleFaults } from './faults.js';
import { SeededRandom } from './random.js';
import { reportOf } from './report.js';

const EVERYTHING = { hasDatastore: true, hasClocks: true, hasFirewall: true };

function firstNames(seed: number, count: number): string[] {
  const names: string[] = [];
  for (const { name } of faultOrder(possibleFaults(EVERYTHING), new SeededRandom(seed))) {
    names.push(name);
    if (names.length === count) return names;
  }
  return names;
}

describe('the order of faults', () => {
  it('follows from the seed alone', () => {
    expect(firstNames(7, 100)).toEqual(firstNames(7, 100));
    expect(firstNames(7, 100)).not.toEqual(firstNames(8, 100));
  });

  it('brings every fault once before any comes more often than it is listed', () => {
    const all = possibleFaults(EVERYTHING).map(({ name }) => name);
    expect(firstNames(3, all.length).sort()).toEqual([...all].sort());
  });

  it('leaves out what the machine cannot do', () => {
    const names = possibleFaults({ hasDatastore: false, hasClocks: false, hasFirewall: false }).map(({ name }) => name);
    expect(names.filter((name) => /disk|clock|link/.test(name))).toEqual([]);
    expect(names).toContain('kill a/vra1');
  });

  it('knows which faults hit the process that answers guests', () => {
    const hit = new Set(possibleFaults(EVERYTHING).filter(({ isCaptureHit }) => isCaptureHit).map(({ name }) => name));
    expect([...hit].sort()).toEqual(['kill a/vra1', 'kill a/vra1 and a/vra2', 'kill a/vra1 and b/vra1', 'kill a/vra2', 'kill a/vra2 and the NBD server']);
  });
});

describe('the report', () => {
  const result = (fault: string, recoveredMs: number, violations: string[] = []): CycleResult => ({
    fault, heldMs: 1000, recoveredMs, guestWaitMs: 20, guestWaitMsMax: 100, checkpointCount: 5, examinedId: '3', violations,
  });

  it('counts violations of cycles and of the failover at the end, and says so in its last line', () => {
    const report = reportOf({ results: [result('x', 1), result('y', 2, ['lost', 'late'])], lastProblems: ['no prefix'], seed: 5, elapsedMs: 1000 });
    expect(report.violationCount).toBe(3);
    expect(report.lastLine).toBe('2 cycles, 3 violations');
  });

  it('has one row per fault, with the median and the longest recovery', () => {
    const results = [result('x', 1000), result('x', 9000), result('x', 3000), result('a', 500)];
    const { markdown } = reportOf({ results, lastProblems: [], seed: 5, elapsedMs: 1000 });
    const rows = markdown.split('\n').filter((line) => /^\| [ax] /.test(line));
    expect(rows).toEqual(['| a | 1 | 0.5 s | 0.5 s | 20 ms | 0 |', '| x | 3 | 3.0 s | 9.0 s | 20 ms | 0 |']);
  });
});
