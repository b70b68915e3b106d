import { describe, expect, it } from '@jest/globals';
import { areSharesWorthTelling, divideShares, throttleAt, type SendingDemand, type Throttle } from './index.js';

const at = (hour: number, minute = 0): number => Date.UTC(2026, 10, 22, hour, minute);
const MB = 1_000_000;
const DAY: Throttle = { bytesPerSecond: 10 * MB, window: { fromMinute: 8 * 60, toMinute: 18 * 60, bytesPerSecond: 2 * MB }, utcOffsetMinutes: 0 };
const NIGHT: Throttle = { bytesPerSecond: 5 * MB, window: { fromMinute: 22 * 60, toMinute: 6 * 60, bytesPerSecond: null }, utcOffsetMinutes: 0 };

describe('the limit of a site', () => {
  it('is the general one outside its window and the window\'s own inside, ends exclusive', () => {
    expect([at(7, 59), at(8), at(17, 59), at(18)].map((when) => throttleAt(DAY, when) / MB)).toEqual([10, 2, 2, 10]);
  });

  it('goes over midnight', () => {
    expect([at(21, 59), at(22), at(0), at(5, 59), at(6)].map((when) => throttleAt(NIGHT, when))).toEqual([5 * MB, Infinity, Infinity, Infinity, 5 * MB]);
  });

  it('follows the local time of the site, on both sides of Greenwich', () => {
    expect(throttleAt({ ...DAY, utcOffsetMinutes: 330 }, at(2, 30)) / MB).toBe(2);
    expect(throttleAt({ ...DAY, utcOffsetMinutes: -480 }, at(15)) / MB).toBe(10);
    expect(throttleAt({ ...DAY, utcOffsetMinutes: -480 }, at(1)) / MB).toBe(2);
  });

  it('is none without limit and window', () => {
    expect(throttleAt({ bytesPerSecond: null, window: null, utcOffsetMinutes: 0 }, at(1))).toBe(Infinity);
  });
});

describe('shares of the VRAs', () => {
  const idle: SendingDemand = { bytesPerSecond: 0, isThrottled: false };
  const held = (bytesPerSecond: number): SendingDemand => ({ bytesPerSecond, isThrottled: true });

  it('add up to one, whoever wants what', () => {
    for (const demands of [[idle], [idle, idle, held(1)], [held(1), held(5), idle, { bytesPerSecond: 3, isThrottled: false }], Array<SendingDemand>(200).fill(idle)]) {
      expect(divideShares(demands, 10).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
    }
  });

  it('let one busy VRA use nearly all', () => {
    const [busy, other] = divideShares([held(5), idle], 10);
    expect(busy).toBeGreaterThan(0.98);
    expect(other).toBeGreaterThan(0);
  });

  it('are equal for VRAs that are held back, after those that need little', () => {
    const [first, second, small] = divideShares([held(4), held(1), { bytesPerSecond: 1, isThrottled: false }], 10);
    expect(first).toBeCloseTo(second ?? 0, 9);
    expect(small).toBeCloseTo(0.125, 9);
  });

  it('are told only when someone gains', () => {
    expect(areSharesWorthTelling([0.5, 0.5], [0.98, 0.02], [held(5), idle])).toBe(true);
    expect(areSharesWorthTelling([0.9, 0.1], [0.95, 0.05], [held(5), idle])).toBe(false);
    expect(areSharesWorthTelling([0.9, 0.1], [0.1, 0.9], [idle, idle])).toBe(false);
    expect(areSharesWorthTelling([1], [0.5, 0.5], [idle, idle])).toBe(true);
  });
});
