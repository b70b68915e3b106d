import { describe, expect, it } from '@jest/globals';
import { contains, ExtentMap, intersection, overlaps } from './index.js';

const bytes = (text: string): ExtentMap<string> => {
  const map = new ExtentMap<string>((value, skip, length) => value.slice(skip, skip + length));
  map.insert(0, text.length, text);
  return map;
};

describe('ExtentMap', () => {
  it('splits an entry that is overwritten in the middle', () => {
    const map = bytes('abcdefgh');
    map.insert(3, 5, 'XY');
    expect([...map.entries()].map((entry) => entry.value)).toEqual(['abc', 'XY', 'fgh']);
  });

  it('gives a looked-up range its slices and gaps', () => {
    const map = bytes('abcd');
    map.insert(6, 8, 'gh');
    expect(map.lookup(2, 7)).toEqual([
      { start: 2, end: 4, value: 'cd' }, { start: 4, end: 6, value: undefined }, { start: 6, end: 7, value: 'g' },
    ]);
  });

  it('looks up nothing in an empty range and one gap in an empty map', () => {
    const map = new ExtentMap<string>((value) => value);
    expect(map.lookup(5, 5)).toEqual([]);
    expect(map.lookup(5, 9)).toEqual([{ start: 5, end: 9, value: undefined }]);
  });

  it('refuses an empty insert as a bug of the caller', () => {
    expect(() => bytes('ab').insert(1, 1, 'x')).toThrow('empty extent');
  });

  it('forgets everything on clear', () => {
    const map = bytes('abcd');
    map.clear();
    expect([map.count, map.coveredBytes, map.hasAny(0, 4)]).toEqual([0, 0, false]);
  });
});

describe('extents', () => {
  it('touching ones do not overlap', () => {
    expect(overlaps({ start: 0, end: 4 }, { start: 4, end: 8 })).toBe(false);
    expect(overlaps({ start: 0, end: 5 }, { start: 4, end: 8 })).toBe(true);
  });

  it('intersect in the bytes of both', () => {
    expect(intersection({ start: 0, end: 5 }, { start: 4, end: 8 })).toEqual({ start: 4, end: 5 });
    expect(intersection({ start: 0, end: 4 }, { start: 4, end: 8 })).toBeUndefined();
    expect(contains({ start: 0, end: 8 }, { start: 4, end: 8 })).toBe(true);
    expect(contains({ start: 0, end: 7 }, { start: 4, end: 8 })).toBe(false);
  });
});
