import { describe, expect, it } from '@jest/globals';
import { BLOCK_BYTES } from '@tidemark/base';
import fc from 'fast-check';
import { DirtyBitmap, type Extent } from './index.js';

// 100 blocks and a bit: several words, the last block a short one.
const SIZE = 100 * BLOCK_BYTES + 700;
const BLOCKS = 101;

const extent = fc.tuple(fc.nat(SIZE), fc.oneof(fc.nat(3 * BLOCK_BYTES), fc.nat(SIZE)), fc.boolean()).map(([at, length, isAligned]) => {
  const start = isAligned ? Math.floor(at / BLOCK_BYTES) * BLOCK_BYTES : at;
  return { start, end: Math.min(SIZE, start + length) };
});
type Kind = 'mark' | 'clear';
const actions = fc.array(fc.record({ kind: fc.constantFrom<Kind>('mark', 'mark', 'clear'), at: extent }), { maxLength: 30 });
type Actions = readonly { kind: Kind; at: Extent }[];

const blockExtent = (block: number): Extent => ({ start: block * BLOCK_BYTES, end: Math.min(SIZE, (block + 1) * BLOCK_BYTES) });

function run(list: Actions): { bitmap: DirtyBitmap; model: Set<number> } {
  const bitmap = new DirtyBitmap(SIZE);
  const model = new Set<number>();
  for (const { kind, at } of list) {
    bitmap[kind](at.start, at.end);
    for (let block = 0; block < BLOCKS; block += 1) {
      const { start, end } = blockExtent(block);
      if (kind === 'mark' && at.start < end && start < at.end && at.start < at.end) model.add(block);
      if (kind === 'clear' && at.start <= start && end <= at.end) model.delete(block);
    }
  }
  return { bitmap, model };
}

function walk(bitmap: DirtyBitmap, from: number, until: number, bytesMax?: number): Extent[] {
  const runs: Extent[] = [];
  for (let at = from; ; ) {
    const next = bitmap.nextRun(at, until, bytesMax);
    if (next === undefined) return runs;
    runs.push(next);
    at = next.end;
  }
}

describe('DirtyBitmap against a set of blocks', () => {
  it('counts what the model counts', () => {
    fc.assert(fc.property(actions, (list) => {
      const { bitmap, model } = run(list);
      expect(bitmap.dirtyBlocks).toBe(model.size);
      expect(bitmap.isClean).toBe(model.size === 0);
      expect(bitmap.dirtyBytes).toBe([...model].map(blockExtent).reduce((sum, { start, end }) => sum + end - start, 0));
    }));
  });

  it('walks exactly the dirty bytes of a range, in runs as long as they go', () => {
    fc.assert(fc.property(actions, extent, (list, range) => {
      const { bitmap, model } = run(list);
      const runs = walk(bitmap, range.start, range.end);
      for (let i = 1; i < runs.length; i += 1) expect(runs[i]?.start).toBeGreaterThan(runs[i - 1]?.end ?? Infinity);
      const isDirty = (byte: number): boolean => model.has(Math.floor(byte / BLOCK_BYTES));
      let wrong = 0; // counted, not expected one by one: 4,000 matchers a run take seconds
      for (let byte = range.start; byte < range.end; byte += 97) {
        if (runs.some(({ start, end }) => start <= byte && byte < end) !== isDirty(byte)) wrong += 1;
      }
      expect(wrong).toBe(0);
      expect(bitmap.hasAny(range.start, range.end)).toBe(runs.length > 0);
      const dirtyBytes = runs.reduce((sum, { start, end }) => sum + end - start, 0);
      expect(bitmap.hasAll(range.start, range.end)).toBe(dirtyBytes === Math.max(0, range.end - range.start));
    }));
  });

  it('walks the same bytes in bounded runs', () => {
    fc.assert(fc.property(actions, fc.integer({ min: 1000, max: 9 * BLOCK_BYTES }), (list, bytesMax) => {
      const { bitmap } = run(list);
      const runs = walk(bitmap, 0, SIZE, bytesMax);
      expect(Math.max(0, ...runs.map(({ start, end }) => end - start))).toBeLessThanOrEqual(bytesMax);
      expect(runs.reduce((sum, { start, end }) => sum + end - start, 0)).toBe(bitmap.dirtyBytes);
    }));
  });

  it('a union marks the blocks of both', () => {
    fc.assert(fc.property(actions, actions, (a, b) => {
      const first = run(a);
      const second = run(b);
      first.bitmap.union(second.bitmap);
      const both = new Set([...first.model, ...second.model]);
      expect(first.bitmap.dirtyBlocks).toBe(both.size);
      for (let block = 0; block < BLOCKS; block += 1) {
        const { start, end } = blockExtent(block);
        expect(first.bitmap.hasAny(start, end)).toBe(both.has(block));
      }
    }));
  });
});

describe('DirtyBitmap', () => {
  it('marks and clears the whole volume, short last block included', () => {
    const bitmap = new DirtyBitmap(SIZE);
    bitmap.markAll();
    expect([bitmap.dirtyBlocks, bitmap.dirtyBytes]).toEqual([BLOCKS, SIZE]);
    bitmap.clear(0, SIZE);
    expect(bitmap.isClean).toBe(true);
    bitmap.markAll();
    bitmap.clearAll();
    expect(bitmap.nextRun(0)).toBeUndefined();
  });

  it('stays dirty where only a part of a block is cleared', () => {
    const bitmap = new DirtyBitmap(SIZE);
    bitmap.mark(10, 20);
    bitmap.clear(0, BLOCK_BYTES - 1);
    expect(bitmap.nextRun(0)).toEqual({ start: 0, end: BLOCK_BYTES });
  });
});

describe('DirtyBitmap of several chunks', () => {
  // Three chunks of 32 Ki blocks and a part of one; ranges begin and end near their borders.
  const CHUNK = 32 * 1024;
  const COUNT = 3 * CHUNK + 77;
  const border = fc.tuple(fc.nat(4), fc.integer({ min: -3, max: 3 })).map(([chunk, shift]) => Math.min(COUNT, Math.max(0, chunk * CHUNK + shift)));
  const ranges = fc.array(fc.record({ isDirty: fc.boolean(), from: border, to: border }), { maxLength: 12 });
  type Ranges = readonly { isDirty: boolean; from: number; to: number }[];

  function made(list: Ranges): { bitmap: DirtyBitmap; model: Uint8Array } {
    const bitmap = new DirtyBitmap(COUNT * BLOCK_BYTES);
    const model = new Uint8Array(COUNT);
    for (const { isDirty, from, to } of list) {
      bitmap[isDirty ? 'mark' : 'clear'](from * BLOCK_BYTES, Math.max(from, to) * BLOCK_BYTES);
      model.fill(isDirty ? 1 : 0, from, Math.max(from, to));
    }
    return { bitmap, model };
  }
  function runsOf(model: Uint8Array): number[][] {
    const runs: number[][] = [];
    for (let from = model.indexOf(1); from >= 0; ) {
      const end = model.indexOf(0, from);
      runs.push([from, end < 0 ? COUNT : end]);
      from = end < 0 ? -1 : model.indexOf(1, end);
    }
    return runs;
  }
  const blocksOf = (bitmap: DirtyBitmap): number[][] => walk(bitmap, 0, bitmap.sizeBytes).map(({ start, end }) => [start / BLOCK_BYTES, end / BLOCK_BYTES]);
  const sum = (model: Uint8Array): number => model.reduce((total, bit) => total + bit, 0);

  it('counts and walks as one', () => {
    fc.assert(fc.property(ranges, (list) => {
      const { bitmap, model } = made(list);
      expect([bitmap.dirtyBlocks, blocksOf(bitmap)]).toEqual([sum(model), runsOf(model)]);
    }), { numRuns: 60 });
  });

  it('takes in another one', () => {
    fc.assert(fc.property(ranges, ranges, (first, second) => {
      const one = made(first);
      const other = made(second);
      one.bitmap.union(other.bitmap);
      const model = one.model.map((bit, block) => bit | (other.model[block] ?? 0));
      expect([one.bitmap.dirtyBlocks, blocksOf(one.bitmap)]).toEqual([sum(model), runsOf(model)]);
    }), { numRuns: 60 });
  });
});
