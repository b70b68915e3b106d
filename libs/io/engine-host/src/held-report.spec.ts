import { describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import { encodeJson } from '@tidemark/frame';
import { commonCheckpoints, commonPage, decodeHeldMessage, type HeldPage, type HeldReport } from './held-report.js';

const report = (ids: readonly number[], agesMs: readonly number[]): HeldReport => ({
  type: 'held', vpgId: 'v', checkpointIds: ids, agesMs, newestIds: [], wantedId: 0, pinnedId: 0,
});
const page = (ids: readonly number[], more: Partial<HeldPage> = {}): HeldPage => ({
  type: 'heldPage', vpgId: 'v', fromId: 0, isEnd: true, checkpointIds: ids, atsMs: ids.map((id) => 1000 * id), agesMs: ids.map(() => 5), keeps: ids.map(() => 0), ...more,
});

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
    [{ ...report([1], [1]), wantedId: -1 }],
    [{ ...page([1]), keeps: [2] }],
    [{ ...page([1, 2]), atsMs: [1] }],
    [{ type: 'heldAsk', vpgId: 'v', fromId: 0, countMax: 2001, thinAfterMs: null }],
  ])('refuses %j', (message) => {
    expect(() => decodeHeldMessage(encodeJson(message))).toThrow(ProtocolError);
  });

  it('reads back what it writes', () => {
    for (const message of [report([1], [2]), page([1, 2], { keeps: [0, 1] }), { type: 'heldAsk', vpgId: 'v', fromId: 7, countMax: 2, thinAfterMs: 5 } as const]) {
      expect(decodeHeldMessage(encodeJson(message))).toEqual(message);
    }
  });

  it('is known as far as the shortest page reaches, and kept where one of them keeps it', () => {
    const pages = [page([1, 2, 3, 5], { isEnd: false, keeps: [0, 1, 0, 0] }), page([1, 2, 5, 6, 7], { isEnd: true })];
    expect(commonPage(pages)).toEqual({
      checkpoints: [1, 2, 5].map((id) => ({ checkpointId: id, atMs: 1000 * id, ageMs: 5, isKept: id === 2 })), nextId: 6,
    });
    expect(commonPage([page([1, 9]), page([1, 9])])).toMatchObject({ checkpoints: [{ checkpointId: 1 }, { checkpointId: 9 }], nextId: undefined });
  });
});
