import { describe, expect, it } from '@jest/globals';
import { SyncBudget } from './sync-budget.js';

describe('SyncBudget', () => {
  it('stays on the loop while writes are fast', () => {
    const budget = new SyncBudget();
    for (let at = 0; at < 100; at += 1) budget.took(at, at + 4.9);
    expect([budget.isSyncAllowed(100), budget.slowCount]).toEqual([true, 0]);
  });

  it('leaves the loop for 50 ms after a slow write', () => {
    const budget = new SyncBudget();
    budget.took(0, 10);
    expect([budget.isSyncAllowed(10), budget.isSyncAllowed(59), budget.isSyncAllowed(60)]).toEqual([false, false, true]);
  });

  it('stays away longer while they go on, up to 1.6 s, and forgives', () => {
    const budget = new SyncBudget();
    let at = 0;
    const pauses: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      budget.took(at, at + 10);
      const slowAt = at + 10;
      for (at = slowAt; !budget.isSyncAllowed(at); ) at += 10;
      pauses.push(at - slowAt);
    }
    expect(pauses).toEqual([50, 100, 200, 400, 800, 1600, 1600, 1600]);
    budget.took(at + 10_000, at + 10_010);
    expect(budget.isSyncAllowed(at + 10_060)).toBe(true);
  });
});
