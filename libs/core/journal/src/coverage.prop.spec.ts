import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { Coverage } from './coverage.js';

const BYTES = 64 * 1024;
const SECTOR = 512;
const extent = fc.record({ volume: fc.integer({ min: 0, max: 1 }), start: fc.integer({ min: 0, max: BYTES / SECTOR - 1 }), sectors: fc.integer({ min: 1, max: 40 }) })
  .map(({ volume, start, sectors }) => ({ volume, start: start * SECTOR, end: Math.min(BYTES, (start + sectors) * SECTOR) }));

describe('coverage of volumes', () => {
  it('says of every byte what a map of sectors says, as long as it fits', () => {
    fc.assert(fc.property(fc.array(extent, { maxLength: 40 }), fc.array(extent, { minLength: 1, maxLength: 10 }), fc.boolean(), (added, asked, isTight) => {
      const coverage = isTight ? new Coverage({ chunks: 1, partial: 3 }) : new Coverage();
      const model = [new Set<number>(), new Set<number>()];
      for (const { volume, start, end } of added) {
        coverage.add(volume, start, end);
        for (let at = start; at < end; at += SECTOR) model[volume]?.add(at);
      }
      for (const { volume, start, end } of asked) {
        const found = new Set<number>();
        let last = -1;
        coverage.uncovered(volume, start, end, (from, to) => {
          expect(from).toBeGreaterThan(last); // runs do not touch
          last = to;
          for (let at = from; at < to; at += SECTOR) found.add(at);
        });
        for (let at = start; at < end; at += SECTOR) {
          const isCovered = model[volume]?.has(at) ?? false;
          // Forgetting is allowed, inventing is not.
          if (!isCovered || !isTight) expect([at, found.has(at)]).toEqual([at, !isCovered]);
        }
      }
    }));
  });

  it('takes whole sectors only', () => {
    const coverage = new Coverage();
    coverage.add(0, 100, 4096 + 700);
    const found: number[][] = [];
    coverage.uncovered(0, 0, 8192, (start, end) => found.push([start, end]));
    expect(found).toEqual([[0, 512], [4608, 8192]]);
    coverage.clear();
    coverage.uncovered(0, 0, 8192, (start, end) => found.push([start, end]));
    expect(found.at(-1)).toEqual([0, 8192]);
  });

  it('walks over bitmaps of a large extent', () => {
    const coverage = new Coverage();
    const far = 3 * 128 * 2 ** 20;
    coverage.add(0, 4096, far);
    const found: number[][] = [];
    coverage.uncovered(0, 0, far + 4096, (start, end) => found.push([start, end]));
    expect(found).toEqual([[0, 4096], [far, far + 4096]]);
  });
});
