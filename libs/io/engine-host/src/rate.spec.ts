import { describe, expect, it } from '@jest/globals';
import { RateMeter } from './rate.js';

describe('RateMeter', () => {
  it('finds a steady rate, and none once nothing happens', () => {
    const meter = new RateMeter();
    let rate = 0;
    for (let second = 0; second <= 10; second += 1) rate = meter.sample(second * 500, second * 1000);
    expect(rate).toBeCloseTo(500, 0);
    for (let second = 11; second <= 30; second += 1) rate = meter.sample(5000, second * 1000);
    expect(rate).toBe(0);
  });

  it('leaves out samples that are too close to say anything, and a counter that began again', () => {
    const meter = new RateMeter();
    meter.sample(0, 0);
    expect(meter.sample(1000, 1000)).toBe(1000);
    expect(meter.sample(9_000_000, 1100)).toBe(1000);
    expect(meter.sample(5, 2000)).toBeLessThan(1000);
  });
});
