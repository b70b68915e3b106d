import { describe, expect, it } from '@jest/globals';
import { sys } from './load-sys.js';
import { PAGE_BYTES } from './page-aligned.js';
import { PayloadPool } from './payload-pool.js';

const KiB = 1024;

describe('PayloadPool', () => {
  it('gives memory again when its last holder has let go, not before', () => {
    const pool = new PayloadPool();
    const slab = pool.take(64 * KiB);
    const parts = [slab.subarray(0, 4 * KiB), slab.subarray(4 * KiB)];
    for (const part of parts) pool.retain(part);
    pool.release(parts[0] ?? slab);
    expect(pool.take(64 * KiB).buffer).not.toBe(slab.buffer);
    pool.release(parts[1] ?? slab);
    expect(pool.take(64 * KiB).buffer).toBe(slab.buffer);
    expect(pool.take(64 * KiB).buffer).not.toBe(slab.buffer);
  });

  it('gives exactly as much as was asked for, from memory that a little less or more had', () => {
    const pool = new PayloadPool();
    const body = pool.take(513 * KiB);
    pool.retain(body);
    pool.release(body);
    const other = pool.take(700 * KiB);
    expect([body.length, other.length, other.buffer === body.buffer]).toEqual([513 * KiB, 700 * KiB, true]);
  });

  it('gives memory that begins on a page from 64 KiB on, new or used before, as direct reads want it', () => {
    const pool = new PayloadPool();
    for (const bytes of [64 * KiB, 256 * KiB, 200 * KiB, 1000 * KiB, 256 * KiB]) {
      const memory = pool.take(bytes);
      expect([memory.length, sys.addressOf(memory) % BigInt(PAGE_BYTES)]).toEqual([bytes, 0n]);
      pool.retain(memory);
      pool.release(memory);
    }
  });

  it('leaves alone what is not its own, and what nobody ever held', () => {
    const pool = new PayloadPool();
    const foreign = Buffer.allocUnsafeSlow(64 * KiB);
    pool.retain(foreign);
    pool.release(foreign);
    const forgotten = pool.take(64 * KiB);
    expect([foreign.buffer, forgotten.buffer]).not.toContain(pool.take(64 * KiB).buffer);
  });

  it('says so when memory is released twice', () => {
    const pool = new PayloadPool();
    const memory = pool.take(64 * KiB);
    pool.retain(memory);
    pool.release(memory);
    expect(() => pool.release(memory)).toThrow('held');
  });

  it('keeps at most 128 MiB after a burst, and 32 MiB once they were not needed between two trims', () => {
    const pool = new PayloadPool();
    const burst = (count: number): Buffer[] => Array.from({ length: count }, () => pool.take(1024 * KiB));
    const letGo = (taken: readonly Buffer[]): void => {
      for (const memory of taken) pool.retain(memory);
      for (const memory of taken) pool.release(memory);
    };
    letGo(burst(140));
    expect(pool.readyBytes).toBe(128 * KiB * KiB);
    pool.trim();
    letGo(burst(100));
    pool.trim(); // 28 MiB lay idle
    expect(pool.readyBytes).toBe(100 * KiB * KiB);
    pool.trim();
    expect(pool.readyBytes).toBe(32 * KiB * KiB);
    pool.trim();
    expect(pool.readyBytes).toBe(32 * KiB * KiB);
  });
});
