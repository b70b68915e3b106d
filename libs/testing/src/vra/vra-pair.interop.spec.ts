import { readFile } from 'node:fs/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { qemuIo, until, VraRig, type RigOptions } from './rig.js';

const ONE_VM: RigOptions = {
  protectingCount: 1,
  recoveringCount: 1,
  vms: [{ vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [16 * MiB, 8 * MiB] }],
};

const TWO_HOSTS: RigOptions = {
  protectingCount: 2,
  recoveringCount: 2,
  vms: [
    { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [8 * MiB] },
    { vmId: 'vm-2', host: 1, recoveryHost: 1, diskBytes: [8 * MiB] },
    { vmId: 'vm-3', host: 1, recoveryHost: 0, diskBytes: [4 * MiB] },
  ],
};

let rig: VraRig | undefined;
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

const protect = async (options: RigOptions): Promise<VraRig> => {
  rig = await VraRig.start(options);
  await rig.protect();
  return rig;
};

/** A checkpoint made after this call began. */
const checkpointFromNow = async (vras: VraRig): Promise<number> => {
  const before = Math.max(0, ...vras.listed());
  return await until('two new checkpoints', () => vras.listed().filter((id) => id > before)[1]);
};

describe('a VM between two VRAs', () => {
  it('is recovered byte for byte at a checkpoint, while its guest goes on', async () => {
    const vras = await VraRig.start(ONE_VM);
    rig = vras;
    const guest = vras.uri('p', 0, 'vm-1-0');
    await qemuIo(guest, 'write -P 0x11 0 1M', 'write -P 0x12 4M 64k');
    await vras.protect();
    await until('the first checkpoint', () => vras.listed().length > 0);
    await qemuIo(guest, 'write -P 0x21 512k 4k', 'write -z 768k 64k', 'discard 4M 64k', 'write -P 0x22 6M 1M');
    await qemuIo(vras.uri('p', 0, 'vm-1-1'), 'write -P 0x31 0 8k');
    const checkpointId = await checkpointFromNow(vras);
    const expected = [await vras.image(guest), await vras.image(vras.uri('p', 0, 'vm-1-1'))];
    await qemuIo(guest, 'write -P 0x99 0 2M');
    await vras.openViews(checkpointId);
    for (const [disk, image] of expected.entries()) {
      const recovered = await vras.image(vras.uri('r', 0, `vm-1-${String(disk)}-at-${String(checkpointId)}`));
      expect(recovered.equals(image)).toBe(true);
    }
  });

  it('keeps its checkpoints over a restart of the recovering VRA, and resumes without a sync', async () => {
    const vras = await protect({ ...ONE_VM, isCompressed: true });
    const guest = vras.uri('p', 0, 'vm-1-0');
    await qemuIo(guest, 'write -P 0x41 0 256k');
    const checkpointId = await checkpointFromNow(vras);
    const expected = await vras.image(guest);
    await vras.restart('r', 0);
    expect(vras.listed()).toContain(checkpointId);
    await qemuIo(guest, 'write -P 0x42 0 4k');
    const later = await checkpointFromNow(vras);
    expect(vras.protecting[0]?.status().protections[0]).toMatchObject({ state: 'replicating', sync: null });
    const afterwards = await vras.image(guest);
    await vras.openViews(checkpointId);
    await vras.openViews(later);
    expect((await vras.image(vras.uri('r', 0, `vm-1-0-at-${String(checkpointId)}`))).equals(expected)).toBe(true);
    expect((await vras.image(vras.uri('r', 0, `vm-1-0-at-${String(later)}`))).equals(afterwards)).toBe(true);
  });

  it('goes on after a restart of the protecting VRA: older checkpoints stay, new ones follow', async () => {
    const vras = await protect(ONE_VM);
    const guest = vras.uri('p', 0, 'vm-1-0');
    await qemuIo(guest, 'write -P 0x51 0 256k');
    const checkpointId = await checkpointFromNow(vras);
    const expected = await vras.image(guest);
    await vras.restart('p', 0);
    await qemuIo(guest, 'write -P 0x52 128k 256k');
    const later = await checkpointFromNow(vras);
    expect(vras.listed()).toContain(checkpointId);
    const afterwards = await vras.image(guest);
    await vras.openViews(checkpointId);
    await vras.openViews(later);
    expect((await vras.image(vras.uri('r', 0, `vm-1-0-at-${String(checkpointId)}`))).equals(expected)).toBe(true);
    expect((await vras.image(vras.uri('r', 0, `vm-1-0-at-${String(later)}`))).equals(afterwards)).toBe(true);
  });

  it('runs on its view with writes to scratch, is promoted under its guest, and then owns the volume', async () => {
    const vras = await protect(ONE_VM);
    const vm = ONE_VM.vms[0];
    const recovering = vras.recovering[0];
    if (!vm || !recovering) throw new Error('rig');
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x61 0 1M');
    const checkpointId = await checkpointFromNow(vras);
    await recovering.reserveEpoch({ vpgId: vras.vpgId, vmId: vm.vmId, epoch: 2 });
    const { viewIds } = await vras.openViews(checkpointId, 'live');
    const [viewId = ''] = viewIds;
    const guest = vras.uri('r', 0, `vm-1-0-at-${String(checkpointId)}`);
    await qemuIo(guest, 'write -P 0x62 512k 64k', 'flush');
    await vras.restart('r', 0);
    await qemuIo(guest, 'read -P 0x61 0 512k', 'read -P 0x62 512k 64k');
    const again = vras.recovering[0];
    if (!again) throw new Error('rig');
    await again.commitEpoch({ vpgId: vras.vpgId, vmId: vm.vmId, epoch: 2 });
    await again.promoteView(viewId);
    await qemuIo(guest, 'write -P 0x63 600k 8k');
    await until('promotion', () => again.status().views[0]?.state === 'promoted');
    const disks = vm.diskBytes.map((sizeBytes, disk) => ({
      diskId: `scsi:0:${String(disk)}`, exportName: `vm-1-${String(disk)}-at-${String(checkpointId)}`, path: vras.mirrorPath('vm-1', disk), sizeBytes,
    }));
    await again.applyDesiredState({ revision: 1, attachedVms: [{ vmId: 'recovered-1', disks }], protections: [], barriers: [] });
    await again.removeRecovery({ vpgId: vras.vpgId, vmId: vm.vmId, isMirrorKept: true });
    await qemuIo(guest, 'read -P 0x61 0 512k', 'read -P 0x62 512k 64k', 'read -P 0x63 600k 8k', 'write -P 0x64 0 4k');
    expect(again.status()).toMatchObject({ views: [], recoveries: [], attachedVmIds: ['recovered-1'] });
    await until('the old stream is refused', () => vras.protecting[0]?.status().protections[0]?.state === 'refused');
  });
});

describe('a VPG over two hosts', () => {
  it('gets common checkpoints through the barrier, and a tagged one on request', async () => {
    const vras = await protect(TWO_HOSTS);
    await until('the first checkpoint', () => vras.listed().length > 0);
    const leader = vras.protecting[0];
    if (!leader) throw new Error('rig');
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x71 0 64k');
    await qemuIo(vras.uri('p', 1, 'vm-2-0'), 'write -P 0x72 0 64k');
    const { checkpointId } = await leader.insertCheckpoint({ vpgId: vras.vpgId, tag: 'before the update' });
    await until('the tagged checkpoint is listed', () => vras.listed().includes(checkpointId));
    await vras.openViews(checkpointId);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(checkpointId)}`), 'read -P 0x71 0 64k');
    await qemuIo(vras.uri('r', 1, `vm-2-0-at-${String(checkpointId)}`), 'read -P 0x72 0 64k');
    const held = vras.recovering[1]?.listCheckpoints({ vpgId: vras.vpgId, vmId: 'vm-2' }).held;
    expect(held?.find((checkpoint) => checkpoint.checkpointId === checkpointId)).toMatchObject({ tag: 'before the update', kind: 'tagged', vmIds: ['vm-1', 'vm-2', 'vm-3'] });
  });

  it('retires old checkpoints only together, and never the newest', async () => {
    const vras = await protect({ ...TWO_HOSTS, historyMs: 3000, intervalMs: 250 });
    const first = await until('the first checkpoint', () => vras.listed()[0]);
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x81 0 64k');
    const holders = (checkpointId: number): number => TWO_HOSTS.vms.filter(({ vmId }) => vras.heldBy(vmId).includes(checkpointId)).length;
    await until('the first one is retired, in every journal', () => vras.listed().length > 0 && holders(first) === 0, 30_000);
    const oldest = vras.listed()[0] ?? 0;
    await vras.openViews(oldest);
    const image = await vras.image(vras.uri('r', 0, `vm-1-0-at-${String(oldest)}`));
    await new Promise((resolve) => setTimeout(resolve, 6000));
    expect(vras.listed()).toContain(oldest);
    expect((await vras.image(vras.uri('r', 0, `vm-1-0-at-${String(oldest)}`))).equals(image)).toBe(true);
    // What is retired was applied: the write is in the mirror itself.
    expect((await readFile(vras.mirrorPath('vm-1', 0))).subarray(0, 4096).every((byte) => byte === 0x81)).toBe(true);
  });
});
