import { describe, expect, it } from '@jest/globals';
import { BLOCK_BYTES } from '@tidemark/base';
import { subtract, SyncWalk, type SyncRead } from './index.js';

const B = BLOCK_BYTES;

function readAll(walk: SyncWalk, bytesMax: number): SyncRead[] {
  const reads: SyncRead[] = [];
  for (let read = walk.nextRead(bytesMax); read !== undefined; read = walk.nextRead(bytesMax)) reads.push(read);
  return reads;
}
const places = (reads: readonly SyncRead[]): number[][] => reads.map(({ volume, offset, length }) => [volume, offset / B, length / B]);

describe('SyncWalk', () => {
  it('reads marked runs of all volumes in bounded pieces, the short last block included', () => {
    const walk = new SyncWalk([5 * B, 2 * B + 512]);
    walk.mark(0, B, 4 * B);
    walk.mark(1, 2 * B, 2 * B + 1);
    expect(places(readAll(walk, 2 * B))).toEqual([[0, 1, 2], [0, 3, 1], [1, 2, 512 / B]]);
    expect([walk.dirtyBytes, walk.readingBytes, walk.isDone]).toEqual([0, 3 * B + 512, false]);
  });

  it('is done when every read has ended, and each good part is handed out once', () => {
    const walk = new SyncWalk([4 * B]);
    walk.mark(0, 0, 4 * B);
    const [first, second] = readAll(walk, 2 * B);
    expect(walk.readDone(first?.readId ?? 0)?.parts).toEqual([{ start: 0, end: 2 * B }]);
    expect(walk.readDone(first?.readId ?? 0)).toBeUndefined();
    expect(walk.isDone).toBe(false);
    walk.readDone(second?.readId ?? 0);
    expect([walk.isDone, walk.readingBytes]).toEqual([true, 0]);
  });

  it('a captured write cuts its bytes out of a read under way, so a busy block needs no second read', () => {
    const walk = new SyncWalk([4 * B]);
    walk.mark(0, 0, 2 * B);
    const read = walk.nextRead(4 * B);
    expect(walk.nextCleanPart(0, 100, 200)).toEqual({ start: 100, end: 200 });
    walk.overtake(0, 100, 200);
    walk.overtake(0, 150, 300);
    walk.overtake(0, 2 * B - 10, 3 * B);
    expect(walk.readDone(read?.readId ?? 0)?.parts).toEqual([{ start: 0, end: 100 }, { start: 300, end: 2 * B - 10 }]);
    expect(walk.isDone).toBe(true);
  });

  it('splits a range into marked and clean parts', () => {
    const walk = new SyncWalk([6 * B]);
    walk.mark(0, B, 2 * B);
    walk.mark(0, 3 * B, 4 * B);
    expect(walk.nextCleanPart(0, 10, 5 * B)).toEqual({ start: 10, end: B });
    expect(walk.nextCleanPart(0, B, 5 * B)).toEqual({ start: 2 * B, end: 3 * B });
    expect(walk.nextCleanPart(0, 3 * B, 5 * B)).toEqual({ start: 4 * B, end: 5 * B });
    expect(walk.nextCleanPart(0, 3 * B, 4 * B)).toBeUndefined();
  });

  it('marks blocks again whose reads are given up', () => {
    const walk = new SyncWalk([8 * B]);
    walk.mark(0, 2 * B, 5 * B);
    const read = walk.nextRead(8 * B);
    walk.abortReads();
    expect([walk.dirtyBytes, walk.readingBytes]).toEqual([3 * B, 0]);
    expect(walk.readDone(read?.readId ?? 0)).toBeUndefined();
  });

  it('gives a read up rather than note endless small writes into it', () => {
    const walk = new SyncWalk([B]);
    walk.mark(0, 0, B);
    const read = walk.nextRead(B);
    for (let at = 0; at < 300; at += 1) walk.overtake(0, at * 4, at * 4 + 1);
    expect(walk.readDone(read?.readId ?? 0)).toBeUndefined();
    expect(walk.dirtyBytes).toBe(B);
  });

  it('passes over what cannot be read until told to try again, and never ends without it', () => {
    const walk = new SyncWalk([4 * B]);
    walk.mark(0, 0, 4 * B);
    const read = walk.nextRead(B);
    walk.readFailed(read?.readId ?? 0);
    expect(places(readAll(walk, 4 * B))).toEqual([[0, 1, 3]]);
    expect([walk.unreadableBytes, walk.dirtyBytes, walk.isDone]).toEqual([B, B, false]);
    walk.retry();
    expect(places(readAll(walk, 4 * B))).toEqual([[0, 0, 1]]);
  });

  it('tries unreadable blocks again when the guest has written to them', () => {
    const walk = new SyncWalk([2 * B]);
    walk.mark(0, 0, 2 * B);
    walk.readFailed(walk.nextRead(2 * B)?.readId ?? 0);
    expect(walk.nextRead(2 * B)).toBeUndefined();
    walk.overtake(0, B + 10, B + 20);
    expect(places(readAll(walk, 2 * B))).toEqual([[0, 1, 1]]);
  });

  it('walks on from where it was, round and round', () => {
    const walk = new SyncWalk([4 * B]);
    walk.mark(0, 2 * B, 4 * B);
    expect(places([walk.nextRead(B)].flatMap((read) => read ?? []))).toEqual([[0, 2, 1]]);
    walk.mark(0, 0, B);
    expect(places(readAll(walk, B))).toEqual([[0, 3, 1], [0, 0, 1]]);
  });
});

/** Verdict of a comparison in which only these blocks of the volume are the same. */
const equalOf = (offset: number, length: number, same: readonly number[]): Uint8Array =>
  Uint8Array.from({ length: Math.ceil(length / B) }, (_, block) => (same.includes(offset / B + block) ? 1 : 0));

describe('unverified blocks', () => {
  const started = (sizeBytes: number): SyncWalk => {
    const walk = new SyncWalk([sizeBytes]);
    walk.markUnverified();
    return walk;
  };

  it('are not read before they are compared; what differs is read, what is equal is clean', () => {
    const walk = started(5 * B + 100);
    expect(walk.nextRead(4 * B)).toBeUndefined();
    const first = walk.nextCompare(4 * B);
    const second = walk.nextCompare(4 * B);
    expect([first, second, walk.nextCompare(4 * B)]).toMatchObject([{ offset: 0, length: 4 * B }, { offset: 4 * B, length: B + 100 }, undefined]);
    walk.compareDone(second?.compareId ?? 0, equalOf(4 * B, B + 100, [5]));
    expect([walk.dirtyBytes, walk.unverifiedBytes]).toEqual([5 * B, 4 * B]);
    expect(places(readAll(walk, 4 * B))).toEqual([[0, 4, 1]]);
    walk.compareDone(first?.compareId ?? 0, equalOf(0, 4 * B, [0, 3]));
    expect(places(readAll(walk, 4 * B))).toEqual([[0, 1, 2]]);
    expect([walk.dirtyBytes, walk.unverifiedBytes]).toEqual([0, 0]);
  });

  it('are sent when they are written during their comparison, whatever the verdict says', () => {
    const walk = started(4 * B);
    const compare = walk.nextCompare(4 * B);
    walk.overtake(0, B + 5, B + 6);
    walk.compareDone(compare?.compareId ?? 0, equalOf(0, 4 * B, [0, 1, 2, 3]));
    expect(places(readAll(walk, 4 * B))).toEqual([[0, 1, 1]]);
  });

  it('are compared again when a comparison was given up; its late verdict says nothing', () => {
    const walk = started(2 * B);
    const compare = walk.nextCompare(2 * B);
    walk.abortCompares();
    walk.compareDone(compare?.compareId ?? 0, equalOf(0, 2 * B, [0, 1]));
    expect(walk.dirtyBytes).toBe(2 * B);
    expect(walk.nextCompare(2 * B)).toMatchObject({ offset: 0, length: 2 * B });
  });

  it('that cannot be read here wait for another try, and are then sent', () => {
    const walk = started(2 * B);
    walk.compareFailed(walk.nextCompare(2 * B)?.compareId ?? 0);
    expect([walk.nextRead(2 * B), walk.nextCompare(2 * B), walk.unreadableBytes]).toEqual([undefined, undefined, 2 * B]);
    walk.retry();
    expect(places(readAll(walk, 2 * B))).toEqual([[0, 0, 2]]);
  });

  it('can be restricted to some extents; what was written since stays marked', () => {
    const walk = started(8 * B);
    walk.mark(0, 6 * B, 6 * B + 1);
    walk.restrictUnverified([{ volume: 0, start: B + 1, end: 2 * B + 1 }, { volume: 0, start: 7 * B, end: 8 * B }]);
    expect([walk.dirtyBytes, walk.unverifiedBytes]).toEqual([4 * B, 3 * B]);
    expect(places(readAll(walk, 8 * B))).toEqual([[0, 6, 1]]);
    expect([walk.nextCompare(8 * B), walk.nextCompare(8 * B)]).toMatchObject([{ offset: B, length: 2 * B }, { offset: 7 * B, length: B }]);
  });
});

describe('subtract', () => {
  it.each([
    ['nothing', [], [[0, 10]]],
    ['all', [[0, 10]], []],
    ['the middle, twice, in any order', [[6, 8], [2, 7]], [[0, 2], [8, 10]]],
    ['both ends', [[8, 10], [0, 1]], [[1, 8]]],
  ])('takes away %s', (_, holes, parts) => {
    const extents = (list: number[][]) => list.map(([start = 0, end = 0]) => ({ start, end }));
    expect(subtract({ start: 0, end: 10 }, extents(holes))).toEqual(extents(parts));
  });
});
