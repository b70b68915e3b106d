import { describe, expect, it } from '@jest/globals';
import { ReadCache } from './read-cache.js';

const KIB = 1024;
const page = (): Uint8Array => new Uint8Array(KIB);

describe('a cache that all journals share', () => {
  it('holds no more than its bytes, whoever put them; who has not read for the longest gives way', () => {
    const cache = new ReadCache(8 * KIB);
    const shares = Array.from({ length: 100 }, () => cache.share<Uint8Array>(4 * KIB));
    const [first] = shares;
    for (const share of shares) {
      for (let at = 0; at < 3; at += 1) share.put(String(at), page());
      expect(first?.get('0')).toBeDefined(); // read all the time: it stays
      expect(cache.bytes).toBeLessThanOrEqual(8 * KIB);
    }
    expect(shares.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(cache.bytes);
    expect(cache.bytes).toBe(8 * KIB);
    expect(shares[98]?.get('2')).toBeDefined();
    expect([shares[1]?.bytes, shares[1]?.get('0')]).toEqual([0, undefined]);
  });

  it('gives each user its own names, its own bound, and what it held back to the others', () => {
    const cache = new ReadCache(8 * KIB);
    const [a, b] = [cache.share<Uint8Array>(2 * KIB), cache.share<Uint8Array>(8 * KIB)];
    a.put('x', page());
    expect(b.get('x')).toBeUndefined();
    for (const name of ['y', 'z', 'z']) a.put(name, page());
    expect([a.bytes, a.get('x')]).toEqual([2 * KIB, undefined]);
    b.put('x', page());
    a.clear();
    expect([a.bytes, a.get('z'), cache.bytes]).toEqual([0, undefined, KIB]);
  });

  it('reserves only room that nobody uses, of the share and of the whole', () => {
    const cache = new ReadCache(8 * KIB);
    const [a, b] = [cache.share<Uint8Array>(4 * KIB), cache.share<Uint8Array>(8 * KIB)];
    b.put('x', page());
    expect([a.reserve(5 * KIB), a.reserve(4 * KIB), a.reserve(1), b.reserve(4 * KIB), b.reserve(3 * KIB), cache.bytes]).toEqual([false, true, false, false, true, 8 * KIB]);
    a.release(4 * KIB);
    expect([a.reserve(1 * KIB), b.get('x')?.byteLength, cache.bytes]).toEqual([true, KIB, 5 * KIB]);
    a.release(1 * KIB);
    b.release(3 * KIB);
    expect(cache.bytes).toBe(KIB);
  });

  it('does not keep what is larger than all of it', () => {
    const cache = new ReadCache(2 * KIB);
    const share = cache.share<Uint8Array>(16 * KIB);
    share.put('a', new Uint8Array(3 * KIB));
    expect([share.get('a'), cache.bytes]).toEqual([undefined, 0]);
  });
});
