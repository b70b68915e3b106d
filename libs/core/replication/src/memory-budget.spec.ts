import { describe, expect, it } from '@jest/globals';
import { MemoryBudget, MemoryPool, type BudgetShare } from './index.js';

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

  it('says for how many shares it can guarantee so much', () => {
    const budget = new MemoryBudget(1000);
    expect(budget.sharesOf(150)).toEqual({ most: 3, taken: 0 });
    const shares = [1, 2, 3].map(() => budget.share());
    expect(shares[0]?.guaranteedBytes).toBeGreaterThanOrEqual(150);
    expect(budget.sharesOf(150)).toEqual({ most: 3, taken: 3 });
    budget.share();
    expect(shares[0]?.guaranteedBytes).toBeLessThan(150);
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

  it('whoever holds the most beyond its guarantee gives way to one that needs its own, and to nobody else', () => {
    const budget = new MemoryBudget(1000);
    const gone: string[] = [];
    const share = (name: string): BudgetShare => {
      const each: BudgetShare = budget.share({
        giveWay: () => {
          gone.push(name);
          each.release(each.usedBytes);
        },
      });
      return each;
    };
    const first = share('first');
    expect(first.tryReserve(1000)).toBe(true);
    const [second, third] = [share('second'), share('third')];
    expect([second.tryReserve(second.guaranteedBytes), gone]).toEqual([true, ['first']]);
    expect([second.tryReserve(400), first.tryReserve(600), third.tryReserve(third.guaranteedBytes), gone]).toEqual([true, false, true, ['first']]);
    // Within its guarantee nobody is asked for more.
    expect([first.tryReserve(first.guaranteedBytes), third.tryReserve(400), gone, budget.usedBytes <= 1000]).toEqual([true, false, ['first'], true]);
  });

  it('what has come already is counted, and leaves less for the others', () => {
    const budget = new MemoryBudget(1000);
    const [one, two] = [budget.share(), budget.share()];
    one.reserve(900);
    expect([two.tryReserve(101), two.tryReserve(100), budget.usedBytes]).toEqual([false, true, 1000]);
  });

  it('two roles fill one pool, each up to its own limit', () => {
    const pool = new MemoryPool(1000);
    const [capturing, receiving] = [new MemoryBudget(900, pool).share(), new MemoryBudget(750, pool).share()];
    expect([capturing.tryReserve(901), capturing.tryReserve(900), receiving.tryReserve(101), receiving.tryReserve(100)]).toEqual([false, true, false, true]);
    capturing.release(800);
    expect([receiving.tryReserve(651), receiving.tryReserve(650), pool.usedBytes]).toEqual([false, true, 850]);
  });

  it('has a cap for a protection', () => {
    const share = new MemoryBudget(1000).share({ capBytes: 100 });
    expect([share.tryReserve(100), share.tryReserve(1)]).toEqual([true, false]);
  });

  it('refuses to give back what was not taken', () => {
    expect(() => new MemoryBudget(10).share().release(1)).toThrow('release of bytes that were reserved');
  });
});
