import { describe, expect, it } from '@jest/globals';
import { MemoryBudget } from './index.js';

describe('MemoryBudget', () => {
  it('is a hard limit, and gives back what is released', () => {
    const budget = new MemoryBudget(1000);
    const share = budget.share();
    expect([share.tryReserve(1000), share.tryReserve(1)]).toEqual([true, false]);
    share.release(400);
    expect([share.tryReserve(401), share.tryReserve(400), budget.usedBytes]).toEqual([false, true, 1000]);
  });

  it('keeps its guarantee for each share, whatever the others took first', () => {
    const budget = new MemoryBudget(1000);
    const [greedy, other] = [budget.share(), budget.share()];
    expect([greedy.tryReserve(750), greedy.tryReserve(1)]).toEqual([true, false]);
    expect([other.tryReserve(250), other.tryReserve(1), budget.usedBytes]).toEqual([true, false, 1000]);
  });

  it('a share that comes late finds room as soon as the others give back, and never beyond the limit', () => {
    const budget = new MemoryBudget(1000);
    const first = budget.share();
    first.tryReserve(1000);
    const second = budget.share();
    expect(second.tryReserve(1)).toBe(false);
    first.release(300);
    expect([first.tryReserve(51), second.tryReserve(250), second.tryReserve(51)]).toEqual([false, true, false]);
    first.close();
    expect([budget.usedBytes, second.tryReserve(750)]).toEqual([250, true]);
  });

  it('guarantees by weight: four times as much to one as to another, whoever came first', () => {
    const budget = new MemoryBudget(1000);
    const [low, high] = [budget.share({ weight: 1 }), budget.share({ weight: 4 })];
    expect([low.tryReserve(600), low.tryReserve(1)]).toEqual([true, false]);
    expect([high.tryReserve(400), high.tryReserve(1)]).toEqual([true, false]);
    low.close();
    expect(high.tryReserve(600)).toBe(true);
  });

  it('has a cap for a protection', () => {
    const share = new MemoryBudget(1000).share({ capBytes: 100 });
    expect([share.tryReserve(100), share.tryReserve(1)]).toEqual([true, false]);
  });

  it('refuses to give back what was not taken', () => {
    expect(() => new MemoryBudget(10).share().release(1)).toThrow('release of bytes that were reserved');
  });
});
