import { expect, it } from '@jest/globals';
import { EntryBudget } from './entry-budget.js';

it('bounds the entries of each cause, counts those left out, and remembers so many causes and no more', () => {
  let now = 0;
  const budget = new EntryBudget({ monotonicMs: () => now }, { burst: 3, everyMs: 1000 });
  const spend = (cause: string, count: number): (number | undefined)[] => Array.from({ length: count }, () => budget.spend(cause));
  expect(spend('a', 5)).toEqual([0, 0, 0, undefined, undefined]);
  expect(spend('b', 1)).toEqual([0]);
  now += 1000;
  expect(spend('a', 2)).toEqual([2, undefined]);
  expect([budget.isLeft('a'), budget.isLeft('b')]).toEqual([false, true]);
  now += 3_600_000;
  expect(budget.isLeft('a')).toBe(true);
  expect(spend('a', 4)).toEqual([1, 0, 0, undefined]);
  const known = Array.from({ length: 20_000 }, (_, n) => budget.spend(`stranger ${n}`)).filter((leftOut) => leftOut !== undefined).length;
  expect(known).toBeLessThanOrEqual(1003);
  // Those that are as good as new make room.
  now += 3_600_000;
  expect(spend('somebody new', 3)).toEqual([0, 0, 0]);
});
