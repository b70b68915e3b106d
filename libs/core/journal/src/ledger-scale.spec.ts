import { expect, it } from '@jest/globals';
import type { CheckpointMarker } from '@tidemark/frame';
import { CheckpointLedger } from './checkpoint-ledger.js';
import type { HeldCheckpoint } from './types.js';

const COUNT = 500_000;

it(`retires from ${COUNT} held checkpoints by looking at those that go, and at a few more`, () => {
  const ledger = new CheckpointLedger();
  let looks = 0;
  for (let id = 1; id <= COUNT; id += 1) {
    const marker: CheckpointMarker = { vpgId: 'v', checkpointId: id, epoch: 1, term: 1, vmIds: ['m'], atMs: 0, ageMs: 0, tag: null, kind: 'automatic' };
    ledger.marker(marker, { markerSeq: id * 10, incarnation: 1, arrivedMs: 0, arrivedAtMs: 0 });
    ledger.seal({ vpgId: 'v', checkpointId: id, term: 1 }, 1);
  }
  expect(ledger.held).toHaveLength(COUNT);
  for (const checkpoint of ledger.held) countLooks(checkpoint, () => (looks += 1));
  ledger.keepFrom(31);
  expect(ledger.oldest?.checkpointId).toBe(4);
  expect(looks).toBeLessThan(50);
  ledger.keepFrom(31);
  expect(ledger.held).toHaveLength(COUNT - 3);
  const { dropped } = ledger.listing({ afterChange: ledger.lastChange - 3 });
  expect(dropped).toEqual([1, 2, 3]);
});

function countLooks(checkpoint: HeldCheckpoint, looked: () => void): void {
  const { markerSeq } = checkpoint;
  Object.defineProperty(checkpoint, 'markerSeq', {
    get: () => {
      looked();
      return markerSeq;
    },
  });
}
