import { describe, expect, it } from '@jest/globals';
import { CheckpointCatalogue, type HeldCheckpoint } from './index.js';

const held = (checkpointId: number, over: Partial<HeldCheckpoint> = {}): HeldCheckpoint => ({
  checkpointId, epoch: 1, term: 1, vmIds: ['a', 'b'], atMs: checkpointId * 1000, tag: null, kind: 'automatic', ...over,
});
const additions = (...list: HeldCheckpoint[]) => ({ isWhole: false, held: list, dropped: [] });
const idsOf = (list: readonly HeldCheckpoint[]): number[] => list.map(({ checkpointId }) => checkpointId);

describe('CheckpointCatalogue', () => {
  it('lists a checkpoint when the last VM of its set holds it', () => {
    const catalogue = new CheckpointCatalogue();
    expect(catalogue.apply('a', additions(held(1)))).toEqual({ added: [], removed: [] });
    expect(catalogue.apply('b', additions(held(1)))).toEqual({ added: [held(1)], removed: [] });
    expect(catalogue.find(1)).toEqual(held(1));
    expect(catalogue.find(2)).toBeUndefined();
  });

  it('drops it for all when one journal drops it', () => {
    const catalogue = new CheckpointCatalogue();
    for (const vmId of ['a', 'b']) catalogue.apply(vmId, additions(held(1), held(2), held(3)));
    expect(catalogue.apply('b', { isWhole: false, held: [], dropped: [1] })).toEqual({ added: [], removed: [1] });
    expect([idsOf(catalogue.listed()), catalogue.earliest?.checkpointId, catalogue.latest?.checkpointId]).toEqual([[2, 3], 2, 3]);
  });

  it('replaces everything with a whole listing', () => {
    const catalogue = new CheckpointCatalogue();
    for (const vmId of ['a', 'b']) catalogue.apply(vmId, additions(held(1), held(2)));
    expect(catalogue.apply('a', { isWhole: true, held: [held(2), held(3)], dropped: [] })).toEqual({ added: [], removed: [1] });
  });

  it.each([['term', { term: 2 }], ['epoch', { epoch: 2 }], ['VM set', { vmIds: ['a', 'b', 'c'] }]])('does not mix two checkpoints that differ in %s', (_, other) => {
    const catalogue = new CheckpointCatalogue();
    catalogue.apply('a', additions(held(1)));
    expect(catalogue.apply('b', additions(held(1, other)))).toEqual({ added: [], removed: [] });
  });

  it('goes by the VM set of the checkpoint, not by that of the VPG', () => {
    const catalogue = new CheckpointCatalogue();
    catalogue.apply('c', additions());
    catalogue.apply('a', additions(held(1, { vmIds: ['a'] })));
    expect(idsOf(catalogue.listed())).toEqual([1]);
  });

  it('loses the checkpoints of a VM whose journal holds nothing any more', () => {
    const catalogue = new CheckpointCatalogue();
    for (const vmId of ['a', 'b']) catalogue.apply(vmId, additions(held(1)));
    catalogue.apply('a', additions(held(2, { vmIds: ['a'] })));
    expect(catalogue.apply('b', { isWhole: true, held: [], dropped: [] })).toEqual({ added: [], removed: [1] });
    expect(idsOf(catalogue.listed())).toEqual([2]);
  });

  /** Of those whose VRA lies no more can be known: docs/security.md says what that takes away. */
  it('of two complete ones under one number lists the newer, and the other one again when that is said no more; one over a set with another VM is not complete by one word', () => {
    const catalogue = new CheckpointCatalogue();
    const other = held(1, { vmIds: ['b'] });
    catalogue.apply('b', additions(other, held(2)));
    catalogue.apply('a', additions(held(2)));
    const claim = held(1, { vmIds: ['a'], term: 9 });
    expect(catalogue.apply('a', additions(claim, held(3)))).toEqual({ added: [claim], removed: [1] });
    expect(catalogue.apply('a', { isWhole: true, held: [held(2)], dropped: [] })).toEqual({ added: [other], removed: [1] });
  });

  it('never lists a checkpoint over no VMs', () => {
    expect(new CheckpointCatalogue().apply('a', additions(held(1, { vmIds: [] })))).toEqual({ added: [], removed: [] });
  });
});
