import { describe, expect, it } from '@jest/globals';
import { SyncBudget } from './sync-budget.js';

describe('SyncBudget', () => {
  it('stays on the loop while writes are fast', () => {
    const budget = new SyncBudget();
    for (let at = 0; at < 100; at += 1) budget.took(at, at + 4.9);
    expect([budget.isSyncAllowed(100), budget.slowCount]).toEqual([true, 0]);
  });

  it('leaves the loop for 20 ms after a slow write', () => {
    const budget = new SyncBudget();
    budget.took(0, 10);
    expect([budget.isSyncAllowed(10), budget.isSyncAllowed(29), budget.isSyncAllowed(30)]).toEqual([false, false, true]);
  });

  it('stays away longer while each return finds the disk throttled, up to 1.28 s, and forgives', () => {
    const budget = new SyncBudget();
    const pauseAfter = (slowAt: number): number => {
      budget.took(slowAt - 10, slowAt);
      let at = slowAt;
      while (!budget.isSyncAllowed(at)) at += 10;
      return at - slowAt;
    };
    expect([100, 1000, 2000, 3000, 4000, 5000, 6000, 9000].map(pauseAfter)).toEqual([20, 40, 80, 160, 320, 640, 1280, 1280]);
    for (let i = 0; i < 16; i += 1) budget.took(20_000, 20_000);
    expect(pauseAfter(20_010)).toBe(20);
  });
});
