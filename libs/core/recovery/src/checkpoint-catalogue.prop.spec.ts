import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { CheckpointCatalogue, type HeldChanges, type HeldCheckpoint } from './index.js';

const VM_IDS = ['a', 'b', 'c'];

const checkpoint = fc.record({
  checkpointId: fc.integer({ min: 1, max: 6 }),
  epoch: fc.integer({ min: 1, max: 2 }),
  term: fc.integer({ min: 1, max: 2 }),
  vmIds: fc.subarray(VM_IDS, { minLength: 1 }),
}).map((made): HeldCheckpoint => ({ ...made, atMs: 0, tag: null, kind: 'automatic' }));

const change = fc.record({
  vmId: fc.constantFrom(...VM_IDS),
  isWhole: fc.boolean(),
  held: fc.array(checkpoint, { maxLength: 5 }),
  dropped: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 3 }),
  isLeaving: fc.boolean(),
});

/** The definition, word for word and slow: every VM of its own set holds it, with the same epoch and term. */
function listedByDefinition(journals: ReadonlyMap<string, ReadonlyMap<number, HeldCheckpoint>>): Set<string> {
  const listed = new Set<string>();
  for (const journal of journals.values()) {
    for (const one of journal.values()) {
      const isHeld = one.vmIds.every((vmId) => {
        const other = journals.get(vmId)?.get(one.checkpointId);
        return other?.epoch === one.epoch && other.term === one.term && other.vmIds.join() === one.vmIds.join();
      });
      if (isHeld) listed.add(nameOf(one));
    }
  }
  return listed;
}

/** One checkpoint per id: the newest ownership, as names sort. */
function onePerId(listed: ReadonlySet<string>): string[] {
  const byId = new Map<string, string>();
  for (const name of [...listed].sort()) byId.set(name.slice(0, name.indexOf('/')), name);
  return [...byId.values()].sort();
}

const nameOf = ({ checkpointId, epoch, term, vmIds }: HeldCheckpoint): string => `${checkpointId}/${epoch}/${term}/${vmIds.join()}`;

function applyToModel(journals: Map<string, Map<number, HeldCheckpoint>>, vmId: string, { isWhole, held, dropped }: HeldChanges<HeldCheckpoint>): void {
  const journal = isWhole ? new Map<number, HeldCheckpoint>() : (journals.get(vmId) ?? new Map<number, HeldCheckpoint>());
  for (const id of dropped) journal.delete(id);
  for (const one of held) journal.set(one.checkpointId, one);
  journals.set(vmId, journal);
}

describe('CheckpointCatalogue against its definition', () => {
  it('lists the same after any news, and its changes add up to its list', () => {
    fc.assert(fc.property(fc.array(change, { maxLength: 30 }), (changes) => {
      const catalogue = new CheckpointCatalogue();
      const journals = new Map<string, Map<number, HeldCheckpoint>>();
      const told = new Map<number, HeldCheckpoint>();
      for (const { vmId, isLeaving, ...news } of changes) {
        const isGone = isLeaving && news.isWhole;
        if (isGone) journals.delete(vmId);
        else applyToModel(journals, vmId, news);
        const { added, removed } = isGone ? catalogue.apply(vmId, { isWhole: true, held: [], dropped: [] }) : catalogue.apply(vmId, news);
        for (const id of removed) expect(told.delete(id)).toBe(true);
        for (const one of added) {
          expect(told.has(one.checkpointId)).toBe(false);
          told.set(one.checkpointId, one);
        }
        const expected = onePerId(listedByDefinition(journals));
        expect(catalogue.listed().map(nameOf).sort()).toEqual(expected);
        expect([...told.values()].map(nameOf).sort()).toEqual(expected);
      }
    }), { numRuns: 1000 });
  });

  it('does not depend on the order in which the VMs report', () => {
    fc.assert(fc.property(fc.array(fc.array(checkpoint, { maxLength: 6 }), { minLength: 3, maxLength: 3 }), (lists) => {
      const news = VM_IDS.map((vmId, index) => ({ vmId, isWhole: true, held: lists[index] ?? [], dropped: [] }));
      const forward = new CheckpointCatalogue();
      const backward = new CheckpointCatalogue();
      for (const { vmId, ...changes } of news) forward.apply(vmId, changes);
      for (const { vmId, ...changes } of [...news].reverse()) backward.apply(vmId, changes);
      expect(forward.listed()).toEqual(backward.listed());
    }));
  });
});
