import { describe, expect, it } from '@jest/globals';
import { RecordType } from '@tidemark/frame';
import fc from 'fast-check';
import { ImageMap } from './index.js';
import { WriteIndex } from './write-index.js';

const SIZE = 300;
const writes = fc.array(fc.record({ offset: fc.nat(SIZE - 1), length: fc.integer({ min: 1, max: 80 }), isZero: fc.boolean() }), { maxLength: 60 });

describe('the map of an image', () => {
  it('shows the newest version of every byte and nothing else', () => {
    fc.assert(fc.property(writes, fc.nat(SIZE), fc.nat(SIZE), (list, from, to) => {
      const index = new WriteIndex();
      // byte -> [segment of its newest write, place of the byte in its body]; undefined: not covered
      const model = new Array<[number, number] | undefined>(SIZE);
      list.forEach(({ offset, length, isZero }, i) => {
        const bytes = Math.min(length, SIZE - offset);
        const record = { type: isZero ? RecordType.zeroes : RecordType.write, volume: 0, offset, length: bytes, payload: isZero ? undefined : new Uint8Array(bytes) };
        index.addFrame({ segment: i + 1, at: 64 }, i + 1, [record]);
        for (let at = offset; at < offset + bytes; at += 1) model[at] = [i + 1, isZero ? 0 : 24 + at - offset];
      });
      const map = new ImageMap(index.columns(0, Infinity));
      const [start, end] = [Math.min(from, to), Math.max(from, to)];
      let next = start;
      map.visit(start, end, (a, b, piece) => {
        expect([a, b > a]).toEqual([next, true]);
        for (let at = a; at < b; at += 1) {
          const found = piece === undefined ? undefined : [piece.segment, piece.payloadAt === 0 ? 0 : piece.payloadAt + at - a];
          expect(found).toEqual(model[at]);
        }
        next = b;
      });
      expect([next, map.coveredBytes]).toEqual([end, model.filter((value) => value !== undefined).length]);
    }), { numRuns: 200 });
  });

  it('takes only writes before the checkpoint and behind what is applied', () => {
    const index = new WriteIndex();
    for (let seq = 1; seq <= 40_000; seq += 1) {
      index.addFrame({ segment: 1, at: 64 * seq }, seq, [{ type: RecordType.zeroes, volume: seq % 2, offset: seq, length: 1, payload: undefined }]);
    }
    index.dropThrough(20_000);
    expect([index.count, index.columns(0, 30_000).count, index.columns(1, 20_002).count, index.columns(5, 30_000).count]).toEqual([20_000, 4999, 1, 0]);
    expect(index.nextFrames(20_003, 2)).toEqual({ frames: [{ segment: 1, at: 64 * 20_001 }, { segment: 1, at: 64 * 20_002 }], lastSeq: 20_002 });
    expect(index.nextFrames(20_000, 2)).toEqual({ frames: [], lastSeq: 0 });
  });
});
