import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { NbdClient } from './nbd-client.js';
import { until, VraRig } from './rig.js';

/** A guest at a site that comes back after its VM was failed over elsewhere. */
let rig: VraRig;
const VM = { vmId: 'vm', host: 0, recoveryHost: 0, diskBytes: [4 * MiB] };

beforeEach(async () => {
  rig = await VraRig.start({ protectingCount: 1, recoveringCount: 1, vms: [VM] });
  await rig.protect();
});
afterEach(async () => await rig.close());

const refOf = () => ({ vpgId: rig.vpgId, vmId: 'vm' });
const guest = (): Promise<NbdClient> => NbdClient.connect(rig.socketPath('p', 0), 'vm-0');
let revision = 1000;

async function fence(isFenced: boolean): Promise<void> {
  const attachedVms = [{ vmId: 'vm', isFenced, disks: [{ diskId: 'scsi:0:0', exportName: 'vm-0', path: rig.diskPath('vm', 0), sizeBytes: 4 * MiB }] }];
  await rig.protecting[0]?.applyDesiredState({ revision: (revision += 1), attachedVms, protections: [], barriers: [] });
}

it('is told by the recovering VRA, at the next word, that a newer epoch is in force, and only after the commit', async () => {
  const [protecting, recovering] = [rig.protecting[0], rig.recovering[0]];
  await until('a checkpoint', () => rig.listed().length > 0);
  await recovering?.reserveEpoch({ ...refOf(), epoch: 2 });
  const client = await guest();
  await client.write(0, randomBytes(4096));
  expect(protecting?.status().protections[0]).toMatchObject({ state: 'replicating', isFenced: false });
  await recovering?.commitEpoch({ ...refOf(), epoch: 2 });
  const durableSeq = recovering?.status().recoveries[0]?.durableSeq;
  await until('the refusal', () => protecting?.status().protections[0]?.state === 'refused');
  expect(protecting?.status().protections[0]?.isFenced).toBe(true);
  // A manager that was restored from before the failover must not delete the disks of the VM that runs on them.
  await expect(recovering?.removeRecovery({ ...refOf(), isMirrorKept: false, epoch: 1 })).rejects.toMatchObject({ code: 'VRA_EPOCH' });
  await client.write(4096, randomBytes(4096));
  await rig.restart('p', 0);
  await until('the refusal, after a restart', () => rig.protecting[0]?.status().protections[0]?.isFenced);
  expect(recovering?.status().recoveries[0]).toMatchObject({ durableSeq, epoch: 2, state: 'ended' });
  client.close();
});

it('is not fenced because its VPG was deleted', async () => {
  await until('a checkpoint', () => rig.listed().length > 0);
  await rig.recovering[0]?.removeRecovery({ ...refOf(), isMirrorKept: false });
  await until('the refusal', () => rig.protecting[0]?.status().protections[0]?.state === 'refused');
  expect(rig.protecting[0]?.status().protections[0]?.isFenced).toBe(false);
});

it('reads its disk and writes nothing, on connections that stand and on new ones, over a restart of the VRA, until the fence is lifted', async () => {
  const client = await guest();
  const bytes = randomBytes(4096);
  await client.write(0, bytes);
  await fence(true);
  await expect(client.write(0, randomBytes(4096))).rejects.toThrow(/errno 1$/);
  client.close();
  await rig.restart('p', 0);
  const again = await guest();
  await expect(again.write(0, randomBytes(4096))).rejects.toThrow(/errno 1$/);
  again.close();
  expect((await rig.image(rig.uri('p', 0, 'vm-0'))).subarray(0, 4096).equals(bytes)).toBe(true);
  await fence(false);
  const last = await guest();
  await last.write(0, randomBytes(4096));
  last.close();
});
