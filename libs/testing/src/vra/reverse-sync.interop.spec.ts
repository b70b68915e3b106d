import { randomUUID } from 'node:crypto';
import { open, readFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { KiB, MiB } from '@tidemark/base';
import type { DesiredState, RecoverySpec, VraEngine } from '@tidemark/engine-host';
import { qemuIo, until, VraRig, type RigOptions, type RigVm } from './rig.js';
import { SITE_ID } from './test-site.js';

const VM: RigVm = { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [32 * MiB, 8 * MiB] };
const OPTIONS: RigOptions = { protectingCount: 1, recoveringCount: 1, vms: [VM] };
/** What the moved guest writes: blocks of 4 KiB, so that a write of it is a write of the bitmap. */
const CHANGED_BYTES = 1 * MiB + 64 * KiB + 8 * KiB;

let rig: VraRig | undefined;
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

const engine = (vras: VraRig, role: 'p' | 'r'): VraEngine => {
  const found = (role === 'p' ? vras.protecting : vras.recovering)[0];
  if (!found) throw new RangeError('rig');
  return found;
};

/** What the VM's disks are once it has moved, in both directions. */
interface Moved {
  readonly vras: VraRig;
  readonly viewId: string;
  readonly disks: DesiredState['attachedVms'][number]['disks'];
  readonly fingerprints: readonly string[];
  readonly guest: string;
}

/** Site p writes and rests, and its VM runs on at r: as the steps of a move have it, up to the promoted disks. */
async function moved(): Promise<Moved> {
  const vras = await VraRig.start(OPTIONS);
  rig = vras;
  await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x11 0 8M', 'write -P 0x12 20M 1M');
  await vras.protect();
  await until('the first checkpoint', () => vras.listed().length > 0);
  await qemuIo(vras.uri('p', 0, 'vm-1-1'), 'write -P 0x13 0 1M');
  const ref = { vpgId: vras.vpgId, vmId: VM.vmId };
  const { checkpointId } = await engine(vras, 'p').insertCheckpoint({ vpgId: vras.vpgId, tag: 'last' });
  await until('the last checkpoint is listed', () => vras.listed().includes(checkpointId));
  const fingerprints = await engine(vras, 'p').settle({ ...ref, checkpointId });
  await engine(vras, 'r').reserveEpoch({ ...ref, epoch: 2 });
  const [viewId = ''] = (await vras.openViews(checkpointId, 'live')).viewIds;
  const exportOf = (disk: number): string => `vm-1-${String(disk)}-at-${String(checkpointId)}`;
  const guest = vras.uri('r', 0, exportOf(0));
  const disks = VM.diskBytes.map((sizeBytes, disk) => ({ diskId: `scsi:0:${String(disk)}`, exportName: exportOf(disk), path: vras.mirrorPath('vm-1', disk), sizeBytes }));
  return { vras, viewId, disks, fingerprints, guest };
}

async function committed({ vras, viewId, disks }: Moved): Promise<void> {
  const recovering = engine(vras, 'r');
  await recovering.commitEpoch({ vpgId: vras.vpgId, vmId: VM.vmId, epoch: 2 });
  await recovering.promoteView(viewId);
  await until('promotion', () => recovering.status().views[0]?.state === 'promoted');
  await recovering.applyDesiredState({ revision: 1, attachedVms: [{ vmId: 'moved-1', disks }], protections: [], barriers: [] });
  await recovering.removeRecovery({ vpgId: vras.vpgId, vmId: VM.vmId, isMirrorKept: true });
  await engine(vras, 'p').applyDesiredState({ revision: 1000, attachedVms: [], protections: [], barriers: [] });
}

/** Old disks become mirrors of the moved VM's, and its stream begins. @returns the kind and reason of its first sync, and what it sent */
async function turned({ vras, viewId, disks, fingerprints }: Moved): Promise<{ readonly kind: string; readonly reason: string; readonly sentBytes: number }> {
  const [from, to] = [engine(vras, 'r'), engine(vras, 'p')];
  const spec: RecoverySpec = {
    vpgId: vras.vpgId, vmId: 'moved-1', epoch: 3, protectedSiteId: SITE_ID, recoverers: [{ vra: to.address, vmIds: ['moved-1'] }],
    volumes: VM.diskBytes.map((sizeBytes, disk) => ({ diskId: `scsi:0:${String(disk)}`, sizeBytes, mirrorPath: vras.diskPath('vm-1', disk), isPreseeded: true })),
    journalFolder: join(vras.folder, 'turned-journal'), datastore: { path: vras.folder, capacityBytes: 20 * 1024 * MiB }, historyMs: 3_600_000,
    basis: { basisId: viewId, fingerprints },
  };
  await to.putRecovery(spec);
  const syncs: { kind: string; reason: string }[] = [];
  await from.applyDesiredState({
    revision: 2, attachedVms: [{ vmId: 'moved-1', disks }],
    protections: [{
      vpgId: vras.vpgId, vmId: 'moved-1', epoch: 3, diskIds: ['scsi:0:0', 'scsi:0:1'], basisId: viewId, recoverySiteId: SITE_ID, recoveringVra: to.address, isCompressed: false, priority: 'medium',
    }],
    barriers: [{ vpgId: vras.vpgId, version: 1, epoch: 3, intervalMs: 200, members: [{ vra: from.address, vmIds: ['moved-1'] }] }],
  });
  await until('a checkpoint of the other direction', () => {
    const sync = from.status().protections[0]?.sync;
    if (sync) syncs.push(sync);
    return to.listCheckpoints({ vpgId: vras.vpgId, vmId: 'moved-1' }).held.length > 0;
  });
  const [first = { kind: 'none seen', reason: '' }] = syncs;
  return { ...first, sentBytes: from.status().protections[0]?.sentBytes ?? 0 };
}

async function expectSameBytes({ vras, guest, disks }: Moved): Promise<void> {
  const [from, to] = [engine(vras, 'r'), engine(vras, 'p')];
  const expected = await vras.image(guest);
  const { checkpointId } = await from.insertCheckpoint({ vpgId: vras.vpgId, tag: 'compare' });
  await until('it is listed', () => to.listCheckpoints({ vpgId: vras.vpgId, vmId: 'moved-1' }).held.some((held) => held.checkpointId === checkpointId));
  await to.openView({
    viewId: randomUUID(), vpgId: vras.vpgId, vmId: 'moved-1', checkpointId, purpose: 'test', volumes: disks.map(({ diskId }) => ({ diskId, exportName: `back-${diskId}` })),
  });
  expect((await vras.image(vras.uri('p', 0, 'back-scsi:0:0'))).equals(expected)).toBe(true);
  expect((await vras.image(vras.uri('p', 0, 'back-scsi:0:1'))).equals(await vras.image(vras.uri('r', 0, disks[1]?.exportName ?? '')))).toBe(true);
}

describe('reverse protection after a move', () => {
  it('sends only what the moved guest has written, on the view, under the promotion and after it', async () => {
    const move = await moved();
    await qemuIo(move.guest, 'write -P 0x21 2M 1M');
    await move.vras.restart('r', 0); // what lies in scratch is remembered
    await qemuIo(move.guest, 'write -P 0x22 21M 64k');
    await committed(move);
    await qemuIo(move.guest, 'write -P 0x23 30M 8k');
    const before = await readFile(move.vras.diskPath('vm-1', 0));
    expect(before.subarray(2 * MiB, 3 * MiB).every((byte) => byte === 0x11)).toBe(true);
    const { kind, reason, sentBytes } = await turned(move);
    if (kind !== 'none seen') expect([kind, reason]).toEqual(['bitmapSync', 'Reverse Protection']);
    expect(sentBytes).toBeGreaterThan(CHANGED_BYTES);
    expect(sentBytes).toBeLessThanOrEqual(1.05 * CHANGED_BYTES);
    await qemuIo(move.guest, 'write -P 0x24 4M 64k');
    await expectSameBytes(move);
  });

  it('compares everything when an old disk was written since', async () => {
    const move = await moved();
    await committed(move);
    await qemuIo(move.guest, 'write -P 0x31 1M 64k');
    const stray = await open(move.vras.diskPath('vm-1', 0), 'r+');
    await stray.write(Buffer.alloc(8 * KiB, 0x99), 0, 8 * KiB, 24 * MiB);
    await stray.close();
    await turned(move); // what is not compared stays different
    await expectSameBytes(move);
  });

  it('compares everything when an old disk was written and its times were set back', async () => {
    const move = await moved();
    await committed(move);
    const path = move.vras.diskPath('vm-1', 0);
    const { atime, mtime } = await stat(path);
    const stray = await open(path, 'r+');
    await stray.write(Buffer.alloc(8 * KiB, 0x98), 0, 8 * KiB, 24 * MiB);
    await stray.close();
    await utimes(path, atime, mtime);
    await turned(move);
    await expectSameBytes(move);
  });

  it('compares everything when the VRA of the moved VM was restarted after the promotion: nobody knows what changed meanwhile', async () => {
    const move = await moved();
    await committed(move);
    await qemuIo(move.guest, 'write -P 0x41 1M 64k');
    await move.vras.restart('r', 0);
    await qemuIo(move.guest, 'write -P 0x42 3M 64k');
    expect((await turned(move)).kind).not.toBe('bitmapSync');
    await expectSameBytes(move);
  });

  it('does not settle while the VM still writes', async () => {
    const vras = await VraRig.start(OPTIONS);
    rig = vras;
    await vras.protect();
    await until('the first checkpoint', () => vras.listed().length > 0);
    const { checkpointId } = await engine(vras, 'p').insertCheckpoint({ vpgId: vras.vpgId, tag: 'not the last' });
    await until('it is listed', () => vras.listed().includes(checkpointId));
    await qemuIo(vras.uri('p', 0, 'vm-1-1'), 'write -P 0x51 0 4k');
    await expect(engine(vras, 'p').settle({ vpgId: vras.vpgId, vmId: VM.vmId, checkpointId })).rejects.toMatchObject({ code: 'VRA_NOT_SETTLED' });
  });
});

describe('after the rollback of a failover', () => {
  it('what was written while its link was down travels as a bitmap sync, and nothing else', async () => {
    const vras = await VraRig.start(OPTIONS);
    rig = vras;
    await vras.protect();
    const guest = vras.uri('p', 0, 'vm-1-0');
    await qemuIo(guest, 'write -P 0x61 0 16M');
    const before = await until('the first checkpoint', () => vras.listed()[0]);
    const ref = { vpgId: vras.vpgId, vmId: VM.vmId };
    await engine(vras, 'r').reserveEpoch({ ...ref, epoch: 2 });
    const [viewId = ''] = (await vras.openViews(before, 'live')).viewIds;
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(before)}`), 'write -P 0x71 8M 4M', 'flush');
    await vras.stop('r', 0);
    const sentBefore = engine(vras, 'p').status().protections[0]?.sentBytes ?? 0;
    // Over and over the same 4 MiB: more than the queue holds, so that only the bitmap is left.
    for (let round = 0; round < 20; round += 1) await qemuIo(guest, `write -P ${String(0x80 + round)} 1M 4M`);
    const expected = await vras.image(guest);
    await vras.startAgain('r', 0);
    await engine(vras, 'r').closeView(viewId);
    await engine(vras, 'r').burnEpoch({ ...ref, epoch: 2 });
    const last = Math.max(...vras.listed());
    const kinds = new Set<string>();
    const after = await until('a checkpoint after the sync', () => {
      const sync = engine(vras, 'p').status().protections[0]?.sync;
      if (sync) kinds.add(sync.kind);
      return vras.listed().filter((id) => id > last).at(-1);
    });
    const sentBytes = (engine(vras, 'p').status().protections[0]?.sentBytes ?? 0) - sentBefore;
    expect(sentBytes).toBeGreaterThanOrEqual(4 * MiB);
    expect(sentBytes).toBeLessThanOrEqual(1.05 * 4 * MiB);
    expect([...kinds].filter((kind) => kind !== 'bitmapSync')).toEqual([]);
    await vras.openViews(after);
    expect((await vras.image(vras.uri('r', 0, `vm-1-0-at-${String(after)}`))).equals(expected)).toBe(true);
  });
});
