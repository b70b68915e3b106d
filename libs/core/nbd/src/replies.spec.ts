import { describe, expect, it } from '@jest/globals';
import { blockStatusReply, errorReply, mergedRuns, offsetHole, putOffsetData } from './index.js';
import { serverMessages } from './testing/index.js';

const cookie = { cookieHigh: 1, cookieLow: 2 };
const COOKIE = 2 ** 32 + 2;

describe('NBD replies', () => {
  it('data, holes, status and errors are what a client reads', () => {
    const data = new Uint8Array(28 + 3);
    putOffsetData(new DataView(data.buffer), 0, { cookie, offset: 2 ** 40, length: 3, isLast: false });
    data.set([7, 8, 9], 28);
    expect(serverMessages(data)).toEqual([{ kind: 'data', cookie: COOKIE, isLast: false, offset: 2 ** 40, bytes: new Uint8Array([7, 8, 9]) }]);
    expect(serverMessages(offsetHole({ cookie, offset: 5, length: 77, isLast: true }))).toEqual([{ kind: 'hole', cookie: COOKIE, isLast: true, offset: 5, length: 77 }]);
    const runs = [{ length: 10, isHole: true, isZero: true }, { length: 20, isHole: false, isZero: false }, { length: 1, isHole: false, isZero: true }];
    expect(serverMessages(blockStatusReply(cookie, runs))).toEqual([{ kind: 'status', cookie: COOKIE, runs: [[10, 3], [20, 0], [1, 2]] }]);
    expect(serverMessages(errorReply({ ...cookie, isStructured: true }, 28, 'full'))).toEqual([{ kind: 'error', cookie: COOKIE, errno: 28, message: 'full' }]);
    expect(serverMessages(errorReply({ ...cookie, isStructured: false }, 28, 'full'))).toMatchObject([{ kind: 'simple', errno: 28 }]);
  });

  it('merges neighbours, cuts at the length and at the number of runs', () => {
    const run = (length: number, isHole: boolean): { length: number; isHole: boolean; isZero: boolean } => ({ length, isHole, isZero: isHole });
    const runs = [run(1, true), run(2, true), run(3, false), run(0, true), run(4, false), run(5, true)];
    expect(mergedRuns(runs, { length: 100, runsMax: 9 })).toEqual([run(3, true), run(7, false), run(5, true)]);
    expect(mergedRuns(runs, { length: 8, runsMax: 9 })).toEqual([run(3, true), run(5, false)]);
    expect(mergedRuns(runs, { length: 100, runsMax: 1 })).toEqual([run(3, true)]);
  });
});
