import { expect, it } from '@jest/globals';
import type { RecoveryHost } from './recovery-host.js';
import { RetirementSet } from './retirement-set.js';

const [VPG, VM] = ['vpg', 'vm'];

/** Ids that were retired, with a view of checkpoint 5 open. */
async function retiredAfter(checkpointId: number): Promise<readonly number[]> {
  const retired: number[] = [];
  const journal = { holds: () => true, retire: async (id: number) => void retired.push(id), allowApply: async () => undefined };
  const spec = { vpgId: VPG, vmId: VM, epoch: 1, historyMs: 0, recoverers: [{ vra: { vraId: 'r' }, vmIds: [VM] }] };
  const recovery = { spec, journal } as unknown as RecoveryHost;
  const set = new RetirementSet({
    selfVraId: 'r', log: { info: () => undefined, warn: () => undefined, error: () => undefined }, send: () => undefined, isPeerUp: () => true, recoveryOf: () => recovery,
    viewsOf: () => [{ viewId: 'view', vpgId: VPG, vmId: VM, checkpointId: 5, purpose: 'test', exports: [] }] as never, pinsOf: () => [],
  });
  set.configure([recovery]);
  set.of(VPG)?.listed([{ checkpointId, ageMs: 1 }], 0);
  await new Promise((resolve) => setImmediate(resolve));
  set.close();
  return retired;
}

it('a view lets everything older than its checkpoint go, and keeps that', async () => {
  expect(await retiredAfter(5)).toEqual([5]);
  expect(await retiredAfter(6)).toEqual([]);
});
