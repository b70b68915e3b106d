import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ExtentMap } from './index.js';

const SPACE = 64;

/** Value of an entry: which insert it came from and which byte of that insert the entry starts with. */
interface Part {
  readonly id: number;
  readonly from: number;
}
const slicePart = (part: Part, skip: number): Part => ({ id: part.id, from: part.from + skip });

type Action = { kind: 'insert' | 'remove'; start: number; end: number };
const extent = fc.tuple(fc.nat(SPACE - 1), fc.integer({ min: 1, max: SPACE })).map(([start, length]) => ({ start, end: Math.min(SPACE, start + length) }));
const action = fc.record({ kind: fc.constantFrom<Action['kind']>('insert', 'insert', 'insert', 'remove'), at: extent })
  .map(({ kind, at }): Action => ({ kind, ...at }));

/** The dumb model: for every byte, the insert that wrote it last and where in it. */
type Model = (Part | undefined)[];

function run(actions: readonly Action[]): { map: ExtentMap<Part>; model: Model } {
  const map = new ExtentMap<Part>(slicePart);
  const model: Model = new Array<Part | undefined>(SPACE).fill(undefined);
  actions.forEach(({ kind, start, end }, id) => {
    if (kind === 'insert') map.insert(start, end, { id, from: 0 });
    else map.remove(start, end);
    for (let byte = start; byte < end; byte += 1) model[byte] = kind === 'insert' ? { id, from: byte - start } : undefined;
  });
  return { map, model };
}

function flatten(map: ExtentMap<Part>, start: number, end: number): Model {
  const bytes: Model = [];
  let at = start;
  for (const piece of map.lookup(start, end)) {
    expect(piece.start).toBe(at);
    expect(piece.end).toBeGreaterThan(piece.start);
    for (let byte = piece.start; byte < piece.end; byte += 1) {
      bytes.push(piece.value && { id: piece.value.id, from: piece.value.from + byte - piece.start });
    }
    at = piece.end;
  }
  expect(at).toBe(end);
  return bytes;
}

describe('ExtentMap against one value per byte', () => {
  it('reads every range as the model does', () => {
    fc.assert(fc.property(fc.array(action, { maxLength: 60 }), extent, (actions, { start, end }) => {
      const { map, model } = run(actions);
      expect(flatten(map, start, end)).toEqual(model.slice(start, end));
      expect(map.hasAny(start, end)).toBe(model.slice(start, end).some((part) => part !== undefined));
    }));
  });

  it('keeps entries sorted and disjoint, and counts them', () => {
    fc.assert(fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const { map, model } = run(actions);
      const entries = [...map.entries()];
      entries.reduce((end, entry) => {
        expect(entry.start).toBeGreaterThanOrEqual(end);
        expect(entry.end).toBeGreaterThan(entry.start);
        return entry.end;
      }, 0);
      expect(map.count).toBe(entries.length);
      expect(map.coveredBytes).toBe(model.filter((part) => part !== undefined).length);
    }));
  });

  it('finds the entry at an offset and the next one', () => {
    fc.assert(fc.property(fc.array(action, { maxLength: 40 }), fc.nat(SPACE - 1), (actions, offset) => {
      const { map, model } = run(actions);
      expect(map.entryAt(offset) !== undefined).toBe(model[offset] !== undefined);
      const next = model.findIndex((part, byte) => byte >= offset && part !== undefined);
      expect(Math.max(map.nextEntry(offset)?.start ?? -1, next < 0 ? -1 : offset)).toBe(next < 0 ? -1 : Math.max(next, offset));
    }));
  });
});

describe('ExtentMap with many chunks', () => {
  /** Few bytes would never fill a chunk: here thousands of entries are written, overwritten across chunks and removed. */
  it('agrees with a model over 20,000 blocks', () => {
    const blocks = fc.array(fc.record({ start: fc.nat(19_999), length: fc.integer({ min: 1, max: 3000 }), isInsert: fc.boolean() }), { minLength: 1, maxLength: 30 });
    fc.assert(fc.property(blocks, (ranges) => {
      const map = new ExtentMap<Part>(slicePart);
      const model: Model = [];
      for (let i = 0; i < 20_000; i += 1) {
        const at = (i * 7919) % 20_000; // 7919 is prime and no divisor of 20,000: every block once, in scattered order
        map.insert(at, at + 1, { id: at, from: 0 });
        model[at] = { id: at, from: 0 };
      }
      ranges.forEach(({ start, length, isInsert }, i) => {
        const end = Math.min(20_000, start + length);
        if (isInsert) map.insert(start, end, { id: 100_000 + i, from: 0 });
        else map.remove(start, end);
        for (let at = start; at < end; at += 1) model[at] = isInsert ? { id: 100_000 + i, from: at - start } : undefined;
      });
      const seen: Model = new Array<Part | undefined>(20_000).fill(undefined);
      map.visit(0, 20_000, (start, end, value) => {
        for (let at = start; at < end; at += 1) seen[at] = value && { id: value.id, from: value.from + at - start };
      });
      expect(seen.every((part, at) => part?.id === model[at]?.id && part?.from === model[at]?.from)).toBe(true);
      expect(map.count).toBe([...map.entries()].length);
    }), { numRuns: 15 });
  });
});
