import { randomBytes, randomUUID } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { EngineError, type ProtectionSpec, type VraEngine } from '@tidemark/engine-host';
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

function engine(side: 'protecting' | 'recovering'): VraEngine {
  const [first] = rig[side];
  if (!first) throw new Error(`no ${side} VRA`);
  return first;
}

const protectionAt = (epoch: number): ProtectionSpec => ({
  ...refOf(), epoch, diskIds: ['scsi:0:0'], recoveringVra: engine('recovering').address, recoverySiteId: randomUUID(), isCompressed: false, priority: 'low',
});

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

it('is the word of a manager that was restored from before the failover: every command of its epoch is refused, also while the journal cannot be read', async () => {
  const ref = refOf();
  await until('a checkpoint', () => rig.listed().length > 0);
  const checkpointId = rig.listed().at(-1) ?? 0;
  const view = (purpose: 'test' | 'live' | 'read') => ({ ...ref, viewId: purpose, checkpointId, purpose, volumes: [{ diskId: 'scsi:0:0', exportName: `vm-0-${purpose}` }], epoch: 1 });
  const recovering = () => engine('recovering');
  await recovering().openView(view('test'));
  await recovering().reserveEpoch({ ...ref, epoch: 2 });
  await recovering().commitEpoch({ ...ref, epoch: 2 });
  const spec = rig.recoverySpec(VM);
  const asked: Record<string, (epoch: number) => Promise<unknown>> = {
    'recovery.put': (epoch) => recovering().putRecovery({ ...spec, epoch }),
    'recovery.release': (epoch) => recovering().releaseRecovery({ ...ref, moveNumber: 1, journalFolder: spec.journalFolder, epoch }),
    'recovery.remove': (epoch) => recovering().removeRecovery({ ...ref, isMirrorKept: false, epoch }),
    'view.open': (epoch) => recovering().openView({ ...view('read'), epoch }),
    'view.close': (epoch) => recovering().closeView('test', epoch),
    'view.promote': (epoch) => recovering().promoteView('test', epoch),
    'pin.put': (epoch) => recovering().putPin({ ...ref, name: 'backup', checkpointId, keepForMs: null, epoch }),
    'pin.drop': (epoch) => recovering().dropPin({ ...ref, name: 'backup', epoch }),
    'epoch.reserve': (epoch) => recovering().reserveEpoch({ ...ref, epoch }),
    'epoch.commit': (epoch) => recovering().commitEpoch({ ...ref, epoch }),
    'epoch.burn': (epoch) => recovering().burnEpoch({ ...ref, epoch }),
    'state.apply': (epoch) => recovering().applyDesiredState({ revision: (revision += 1), attachedVms: [], protections: [protectionAt(epoch)], barriers: [] }),
  };
  const refused = async (): Promise<string[]> => {
    const codes = await Promise.all(Object.entries(asked).map(async ([topic, ask]) => await ask(1).then(() => `${topic} done`, (error: unknown) => `${topic} ${error instanceof EngineError ? error.code : String(error)}`)));
    return codes.filter((code) => !code.endsWith(' VRA_EPOCH'));
  };
  expect(await refused()).toEqual([]);
  expect(recovering().status().protections).toEqual([]);
  await asked['view.close']?.(2);
  await rig.restart('r', 0);
  expect(await refused()).toEqual(['view.close done', 'view.promote VRA_UNKNOWN_VIEW']); // there is no such view any more
  await rename(spec.journalFolder, `${spec.journalFolder}.away`);
  await writeFile(spec.journalFolder, 'not a folder');
  await rig.restart('r', 0);
  expect(recovering().status().recoveries[0]?.state).toBe('broken');
  await expect(asked['recovery.remove']?.(1)).rejects.toMatchObject({ code: 'VRA_EPOCH' });
});

it('is refused at its protecting VRA too: streams, comparisons and checkpoints of a newer epoch are not an older one\'s', async () => {
  const protecting = () => engine('protecting');
  await until('a checkpoint', () => rig.listed().length > 0);
  const inForce = protecting().status().protections[0]?.epoch ?? 0;
  const refusal = { code: 'VRA_EPOCH' };
  expect(() => protecting().forceSync({ ...refOf(), epoch: inForce - 1 })).toThrow(/epoch 1 is in force here, not 0/);
  await expect(protecting().settle({ ...refOf(), checkpointId: 1, epoch: inForce - 1 })).rejects.toMatchObject(refusal);
  await expect(protecting().insertCheckpoint({ vpgId: rig.vpgId, tag: 'now', epoch: inForce - 1 })).rejects.toMatchObject(refusal);
  protecting().forceSync({ ...refOf(), epoch: inForce });
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
