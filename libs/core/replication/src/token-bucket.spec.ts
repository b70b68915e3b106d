import { describe, expect, it } from '@jest/globals';
import { KiB } from '@tidemark/base';
import { TokenBucket } from './index.js';

/** Frames of these sizes, one after the other, for so long; the bytes that left and the longest gap. */
function run(bucket: TokenBucket, frameBytes: (index: number) => number, forMs: number, fromMs = 0): number {
  let nowMs = fromMs;
  let sentBytes = 0;
  for (let index = 0; nowMs < fromMs + forMs; index += 1) {
    const waitMs = bucket.waitMs(nowMs);
    if (waitMs > 0) {
      nowMs += waitMs;
      continue;
    }
    bucket.take(frameBytes(index));
    sentBytes += frameBytes(index);
  }
  return sentBytes;
}

describe('token bucket', () => {
  it('lets rate × time through, whatever the frames', () => {
    for (const frameBytes of [100, 64 * KiB, 700 * KiB]) {
      const bucket = new TokenBucket(0);
      bucket.setRate(5_000_000, 0);
      const sent = run(bucket, () => frameBytes, 10_000);
      expect(sent).toBeGreaterThan(49_000_000);
      expect(sent).toBeLessThan(50_000_000 + 1_000_000 + frameBytes);
    }
  });

  it('saves no more than its burst while nothing is sent', () => {
    const bucket = new TokenBucket(0);
    bucket.setRate(1_000_000, 0);
    const sent = run(bucket, () => 1000, 100, 3_600_000);
    expect(sent).toBeLessThan(100_000 + 200_000 + 2000);
  });

  it('has no limit at Infinity, and begins empty when one is set', () => {
    const bucket = new TokenBucket(0);
    bucket.take(1e12);
    expect(bucket.waitMs(1)).toBe(0);
    bucket.setRate(1000, 1000);
    expect(bucket.waitMs(1000)).toBeGreaterThan(0);
  });

  it('keeps a debt when the rate changes, and takes back what was too much', () => {
    const bucket = new TokenBucket(0);
    bucket.setRate(1_000_000, 0);
    bucket.take(1_000_000);
    bucket.setRate(2_000_000, 0);
    expect(bucket.waitMs(0)).toBeCloseTo(500, 0);
    bucket.take(-900_000);
    expect(bucket.waitMs(0)).toBeCloseTo(50, 0);
  });

  it('gives nothing for a clock that is set back', () => {
    const bucket = new TokenBucket(1000);
    bucket.setRate(1000, 1000);
    bucket.take(1000);
    const waitMs = bucket.waitMs(1000);
    expect(bucket.waitMs(0)).toBeCloseTo(waitMs, 5);
  });
});
