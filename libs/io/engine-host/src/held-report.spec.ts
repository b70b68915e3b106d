import { describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import { encodeJson } from '@tidemark/frame';
import { commonCheckpoints, decodeHeldReport, type HeldReport } from './held-report.js';

const report = (ids: readonly number[], agesMs: readonly number[]): HeldReport => ({ type: 'held', vpgId: 'v', checkpointIds: ids, agesMs });

describe('what recovering VRAs hold together', () => {
  it('is what every one holds, as old as the youngest says', () => {
    expect(commonCheckpoints([report([1, 2, 4], [90, 60, 30]), report([2, 3, 4], [50, 45, 40])])).toEqual([
      { checkpointId: 2, ageMs: 50 },
      { checkpointId: 4, ageMs: 30 },
    ]);
  });

  it('is nothing without reports, and nothing where one holds nothing', () => {
    expect(commonCheckpoints([])).toEqual([]);
    expect(commonCheckpoints([report([1], [9]), report([], [])])).toEqual([]);
  });

  it.each([
    [{ ...report([1], [1]), agesMs: [1, 2] }],
    [{ ...report([0], [1]) }],
    [{ ...report([1.5], [1]) }],
    [{ ...report([1], [-1]) }],
    [{ ...report([1], [1]), extra: true }],
    [{ type: 'held', vpgId: 'v', checkpointIds: [1] }],
  ])('refuses %j', (message) => {
    expect(() => decodeHeldReport(encodeJson(message))).toThrow(ProtocolError);
  });
});
