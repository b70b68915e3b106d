import { describe, expect, it } from '@jest/globals';
import { GiB, MiB } from '@tidemark/base';
import { bytesToFree, guardBytesOf, segmentBytesFor } from './space-limits.js';

describe('the guard of a datastore', () => {
  it.each([[100 * GiB, 15 * GiB], [200 * GiB, 30 * GiB], [10_000 * GiB, 30 * GiB]])('of %d bytes is %d', (capacity, guard) => {
    expect(guardBytesOf(capacity)).toBe(guard);
  });
});

describe('what a journal gives up', () => {
  it.each<[string, number, number | null, boolean, number]>([
    ['nothing without a limit', 10 ** 15, null, false, 0],
    ['nothing while a twentieth is left', 912 * GiB, 960 * GiB, false, 0],
    ['so much that twice that is free again', 950 * GiB, 960 * GiB, false, 86 * GiB],
    ['so much that twice the credit is free twice, of a small journal', 60 * MiB, 64 * MiB, false, 28 * MiB],
    ['something as soon as it is full, whatever it was that filled it', 55 * MiB, 64 * MiB, true, 23 * MiB],
  ])('is %s', (_name, journalBytes, hardBytes, isFull, expected) => {
    expect(bytesToFree({ journalBytes, hardBytes, isFull, neededBytes: 0 })).toBe(expected);
  });

  it('is counted in segments that fit its limit', () => {
    expect([segmentBytesFor(null), segmentBytesFor(150 * GiB), segmentBytesFor(64 * MiB), segmentBytesFor(1)].map((bytes) => bytes / MiB)).toEqual([64, 64, 2, 1]);
  });
});
