import { describe, expect, it } from '@jest/globals';
import { alignDown, alignUp, getU64, isSafeU64, setU64 } from './index.js';

describe('64-bit numbers as two 32-bit halves', () => {
  it.each([0, 1, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER])('reads back %d', (value) => {
    const view = new DataView(new ArrayBuffer(8));
    setU64(view, 0, value);
    expect(getU64(view, 0)).toBe(value);
    expect(view.getBigUint64(0, true)).toBe(BigInt(value));
  });

  it('tells a value above 2^53 apart before it is read', () => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, 2n ** 53n, true);
    expect(isSafeU64(view, 0)).toBe(false);
    expect(() => getU64(view, 0)).toThrow('above 2^53');
  });

  it('aligns down and up', () => {
    expect([alignDown(4097, 4096), alignUp(4097, 4096), alignUp(4096, 4096)]).toEqual([4096, 8192, 4096]);
  });
});
