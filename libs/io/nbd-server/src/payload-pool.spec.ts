import { describe, expect, it } from '@jest/globals';
import { PayloadPool } from './payload-pool.js';

const KiB = 1024;

describe('PayloadPool', () => {
  it('gives the same memory again, once, and only for the same length', () => {
    const pool = new PayloadPool();
    const payload = pool.take(64 * KiB);
    pool.giveBack(payload);
    expect(pool.take(32 * KiB)).toHaveLength(32 * KiB);
    expect(pool.take(64 * KiB)).toBe(payload);
    expect(pool.take(64 * KiB)).not.toBe(payload);
  });

  it('takes neither small payloads nor parts of a larger buffer', () => {
    const pool = new PayloadPool();
    const small = pool.take(4 * KiB);
    const part = Buffer.allocUnsafeSlow(128 * KiB).subarray(0, 64 * KiB);
    pool.giveBack(small);
    pool.giveBack(part);
    expect(pool.take(4 * KiB)).not.toBe(small);
    expect(pool.take(64 * KiB)).not.toBe(part);
  });

  it('keeps at most 16 MiB', () => {
    const pool = new PayloadPool();
    const payloads = Array.from({ length: 20 }, () => pool.take(1024 * KiB));
    for (const payload of payloads) pool.giveBack(payload);
    const again = Array.from({ length: 20 }, () => pool.take(1024 * KiB));
    expect(again.filter((payload) => payloads.includes(payload))).toHaveLength(16);
  });
});
