import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { ProtectionSpec, RecoverySpec, VraEngine } from '@tidemark/engine-host';
import { CrossingGuest } from './crossing-guest.js';
import { NbdClient } from './nbd-client.js';
import { until, VraRig } from './rig.js';
import { SITE_ID } from './test-site.js';

const WAIT_MS = 60_000;
const DISK_ID = 'scsi:0:0';

/** One VM in a VPG of its own, from one VRA of the rig to one. */
interface Crossing {
  readonly vpgId: string;
  readonly vmId: string;
  readonly from: number;
  readonly to: number;
  readonly guest: CrossingGuest;
}

const crossing = (vmId: string, from: number, to: number): Crossing => ({ vpgId: randomUUID(), vmId, from, to, guest: new CrossingGuest() });

let rig: VraRig | undefined;
let crossings: readonly Crossing[] = [];
afterEach(async () => {
  await Promise.allSettled(crossings.map(({ guest }) => guest.stop()));
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

const vra = (vras: VraRig, index: number): VraEngine => {
  const [found] = vras.protecting.slice(index);
  if (!found) throw new RangeError('no VRA');
  return found;
};

const recoverySpec = (vras: VraRig, { vpgId, vmId, to }: Crossing): RecoverySpec => ({
  vpgId, vmId, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: vra(vras, to).address, vmIds: [vmId] }],
  volumes: [{ diskId: DISK_ID, sizeBytes: CrossingGuest.diskBytes, mirrorPath: join(vras.folder, 'recovery', `${vmId}.mirror`) }],
  journalFolder: join(vras.folder, 'recovery', `${vmId}-journal`), datastore: { path: join(vras.folder, 'recovery'), capacityBytes: 20 * 1024 * MiB }, historyMs: 3_600_000,
});

const protectionSpec = (vras: VraRig, { vpgId, vmId, to }: Crossing): ProtectionSpec => ({
  vpgId, vmId, epoch: 1, diskIds: [DISK_ID], recoveringVra: vra(vras, to).address, recoverySiteId: SITE_ID, isCompressed: true, priority: 'medium',
});

/** What the ZVM would tell this VRA. */
async function apply(vras: VraRig, index: number): Promise<void> {
  const own = crossings.filter(({ from }) => from === index);
  await vra(vras, index).applyDesiredState({
    revision: 1000,
    attachedVms: own.map(({ vmId }) => ({ vmId, disks: [{ diskId: DISK_ID, exportName: vmId, path: vras.diskPath(vmId, 0), sizeBytes: CrossingGuest.diskBytes }] })),
    protections: own.map((each) => protectionSpec(vras, each)),
    barriers: own.map(({ vpgId, vmId }) => ({ vpgId, version: 1, epoch: 1, intervalMs: 500, members: [{ vra: vra(vras, index).address, vmIds: [vmId] }] })),
  });
}

async function start(): Promise<VraRig> {
  const vms = crossings.map(({ vmId, from }) => ({ vmId, host: from, recoveryHost: 0, diskBytes: [CrossingGuest.diskBytes] }));
  const vras = await VraRig.start({ protectingCount: 2, recoveringCount: 0, vms: [...vms], isUnprotected: true });
  rig = vras;
  for (const each of crossings) await vra(vras, each.to).putRecovery(recoverySpec(vras, each));
  for (const index of vras.protecting.keys()) await apply(vras, index);
  for (const { guest, from, vmId } of crossings) await guest.start(vras.socketPath('p', from), vmId);
  return vras;
}

/** How many are made and not listed yet nobody knows: only its time says that a checkpoint is of later. */
const checkpointAfter = (vras: VraRig, { to, vpgId, vmId }: Crossing, fromMs: number): number | undefined =>
  vra(vras, to).listCheckpoints({ vpgId, vmId }).held.find(({ atMs }) => atMs > fromMs)?.checkpointId;

/** A checkpoint of each VPG, all asked for at once under load; each view has every write that was answered before, and none but a prefix of what was written. */
async function expectRecoverable(vras: VraRig): Promise<void> {
  await Promise.all(crossings.map(async (each) => {
    const { from, to, vpgId, vmId, guest } = each;
    const answered = guest.completed;
    const fromMs = Date.now();
    const checkpointId = await until(`a new checkpoint of ${vmId}`, () => checkpointAfter(vras, each, fromMs), WAIT_MS);
    const viewId = randomUUID();
    const exportName = `${vmId}-at-${String(checkpointId)}`;
    await vra(vras, to).openView({ viewId, vpgId, vmId, checkpointId, purpose: 'test', volumes: [{ diskId: DISK_ID, exportName }] });
    const reader = await NbdClient.connect(vras.socketPath('p', to), exportName);
    const shown = guest.writesIn(await reader.read(0, CrossingGuest.diskBytes));
    reader.close();
    await vra(vras, to).closeView(viewId);
    expect({ vmId, isWhole: shown >= answered, state: vra(vras, from).status().protections.find((protection) => protection.vmId === vmId)?.state }).toEqual({ vmId, isWhole: true, state: 'replicating' });
  }));
}

const allWriteOn = async (count: number): Promise<void> => {
  const wanted = crossings.map(({ guest }) => guest.completed + count);
  await until('all guests write on', () => crossings.every(({ guest }, index) => guest.completed >= (wanted[index] ?? 0)), WAIT_MS);
};

it('VRAs that protect and recover at once, for each other and into themselves, show what each guest wrote; also after a restart of one of them', async () => {
  crossings = [crossing('from-a-to-b', 0, 1), crossing('from-b-to-a', 1, 0), crossing('from-a-to-a', 0, 0)];
  const vras = await start();
  await allWriteOn(300);
  await expectRecoverable(vras);
  const roles = vras.protecting.map((engine) => ({ protects: engine.status().protections.length, recovers: engine.status().recoveries.length }));
  expect(roles).toEqual([{ protects: 2, recovers: 2 }, { protects: 1, recovers: 1 }]);

  const atB = crossings[1]?.guest;
  await atB?.stop();
  await vras.restart('p', 1);
  await atB?.start(vras.socketPath('p', 1), 'from-b-to-a');
  await allWriteOn(300);
  await expectRecoverable(vras);
}, 180_000);
