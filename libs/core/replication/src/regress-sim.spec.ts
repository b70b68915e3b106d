import { describe, expect, it } from '@jest/globals';
import { BLOCK_BYTES, KiB } from '@tidemark/base';
import { MemoryBudget, Sender } from './index.js';

function sender(budgetBytes: number): Sender {
  return new Sender({ vpgId: 'v', vmId: 'm', epoch: 1, sessionId: 's', volumeSizesBytes: [12 * BLOCK_BYTES], budget: new MemoryBudget(budgetBytes).share() });
}
const REPLY = { incarnation: 1, durableSeq: 0, lastSessionId: null, isBaseComplete: false, isPreseeded: false, creditBytes: 1 << 20 };

describe('found by the simulation', () => {
  it('sync reads that would fill the budget to the byte leave room for the records that they become (seed 49)', () => {
    const one = sender(24 * KiB);
    one.openRequest();
    one.opened(REPLY);
    const before = one.status().dirtyBytes;
    const reads = [];
    for (let read = one.nextSyncRead(); read !== undefined; read = one.nextSyncRead()) reads.push(read);
    for (const { readId, length } of reads) one.syncReadDone(readId, new Uint8Array(length).fill(1));
    expect(reads.length).toBeGreaterThan(0);
    expect(one.status().dirtyBytes).toBe(before - reads.reduce((total, { length }) => total + length, 0));
  });

  it('an answer to the first open of a session that got lost is no loss of data (seed 36)', () => {
    const one = sender(1 << 20);
    one.openRequest();
    one.linkDown();
    one.openRequest();
    one.opened({ ...REPLY, incarnation: 2, durableSeq: 28, lastSessionId: 's', isBaseComplete: true });
    expect(one.status()).toMatchObject({ lostAcknowledgedCount: 0, state: 'deltaSync', dirtyBytes: 12 * BLOCK_BYTES });
  });
});
