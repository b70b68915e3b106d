import { access, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { termOf } from '@tidemark/checkpoint';
import { type AttachedDisk, type CheckpointListing, StateFile, type VraEngine } from '@tidemark/engine-host';
import { Sender } from '@tidemark/replication';
import { qemuIo, until, VraRig, type RigOptions } from './rig.js';

const ONE_VM: RigOptions = { protectingCount: 1, recoveringCount: 1, vms: [{ vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [4 * MiB] }] };
const VOLUMES = [{ diskId: 'scsi:0:0', exportName: 'recovered' }];

let rig: VraRig | undefined;
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

interface Failover {
  readonly vras: VraRig;
  readonly guest: string;
  readonly ref: { readonly vpgId: string; readonly vmId: string };
  readonly disk: AttachedDisk;
  readonly checkpointId: number;
  recovering(): VraEngine;
}

/** A VM whose first checkpoint holds 0x11 in its first MiB. */
async function protectedVm(): Promise<Failover> {
  const vras = await VraRig.start(ONE_VM);
  rig = vras;
  await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x11 0 1M');
  await vras.protect();
  const checkpointId = await until('the first checkpoint', () => vras.listed()[0]);
  const recovering = (): VraEngine => {
    const engine = vras.recovering[0];
    if (!engine) throw new Error('rig');
    return engine;
  };
  const disk = { diskId: 'scsi:0:0', exportName: 'recovered', path: vras.mirrorPath('vm-1', 0), sizeBytes: 4 * MiB };
  return { vras, guest: vras.uri('r', 0, 'recovered'), ref: { vpgId: vras.vpgId, vmId: 'vm-1' }, disk, checkpointId, recovering };
}

/** Its live failover, committed, with 0x22 written to scratch. */
async function committed(): Promise<Failover> {
  const failover = await protectedVm();
  const { ref, checkpointId, recovering, guest } = failover;
  await recovering().reserveEpoch({ ...ref, epoch: 2 });
  await recovering().openView({ ...ref, viewId: 'live', checkpointId, purpose: 'live', volumes: VOLUMES });
  await qemuIo(guest, 'write -P 0x22 64k 64k', 'flush');
  await recovering().commitEpoch({ ...ref, epoch: 2 });
  return failover;
}

const attach = async (engine: VraEngine, revision: number, disks: readonly AttachedDisk[]): Promise<void> =>
  await engine.applyDesiredState({ revision, attachedVms: disks.length === 0 ? [] : [{ vmId: 'vm-2', disks }], protections: [], barriers: [] });

describe('a manager that does not know of a newer failover', () => {
  it('opens and promotes no live view, before the commit and after it; who knows of it does', async () => {
    const { recovering, ref, checkpointId } = await protectedVm();
    const live = (epoch: number) => recovering().openView({ ...ref, viewId: 'live', checkpointId, purpose: 'live', volumes: VOLUMES, epoch });
    const refusal = { code: 'VRA_EPOCH', message: expect.stringMatching(/epoch 3 is reserved or in force here, not 2: .*bring back a newer one/) as unknown };
    await recovering().reserveEpoch({ ...ref, epoch: 3 });
    await expect(live(2)).rejects.toMatchObject(refusal);
    await live(3);
    await recovering().commitEpoch({ ...ref, epoch: 3 });
    await expect(live(2)).rejects.toMatchObject(refusal);
    await expect(recovering().promoteView('live', 2)).rejects.toMatchObject(refusal);
    expect(recovering().status().views[0]?.state).toBe('open');
    await live(3);
    await recovering().promoteView('live', 3);
    await until('promotion', () => recovering().status().views[0]?.state === 'promoted');
  });
});

describe('a committed failover', () => {
  it('does not lose what its guest wrote to a command that comes too early', async () => {
    const { recovering, ref, guest, vras } = await committed();
    await expect(recovering().closeView('live')).rejects.toMatchObject({ code: 'VRA_CONFLICT' });
    await expect(recovering().removeRecovery({ ...ref, isMirrorKept: true })).rejects.toMatchObject({ code: 'VRA_CONFLICT' });
    await vras.restart('r', 0);
    await qemuIo(guest, 'read -P 0x11 0 64k', 'read -P 0x22 64k 64k');
    await recovering().promoteView('live');
    await until('promotion', () => recovering().status().views[0]?.state === 'promoted');
    await recovering().closeView('live');
    await recovering().removeRecovery({ ...ref, isMirrorKept: true });
    const bytes = await readFile(vras.mirrorPath('vm-1', 0));
    expect([bytes[0], bytes[64 * 1024], bytes[128 * 1024], bytes[MiB]]).toEqual([0x11, 0x22, 0x11, 0]);
  });

  it('serves its guest after a crash in the middle of the removal, without a manager', async () => {
    const { recovering, ref, guest, disk, vras } = await committed();
    await recovering().promoteView('live');
    await until('promotion', () => recovering().status().views[0]?.state === 'promoted');
    await attach(recovering(), 1, [disk]);
    const file = new StateFile<object>(join(vras.folder, 'r0', 'state', 'recovering.json'), 'it is forgotten');
    const before = (await file.load()) as { recoveries: { journalFolder: string }[] };
    const spec = before.recoveries[0];
    if (!spec) throw new Error('no recovery in the state file');
    // What a crash right after the first step of the removal leaves.
    await vras.stop('r', 0);
    await file.save({ recoveries: [], views: [], removals: [{ spec, isMirrorKept: true, viewIds: ['live'] }] });
    await vras.startAgain('r', 0);
    await qemuIo(guest, 'read -P 0x11 0 64k', 'read -P 0x22 64k 64k', 'write -P 0x33 0 4k');
    expect(recovering().status()).toMatchObject({ recoveries: [], views: [], attachedVmIds: ['vm-2'] });
    await expect(access(spec.journalFolder)).rejects.toMatchObject({ code: 'ENOENT' });
    await recovering().removeRecovery({ ...ref, isMirrorKept: true });
  });

  it('goes on with its promotion after a restart, and then with the VM that has the disks', async () => {
    const { recovering, guest, disk, vras } = await committed();
    // What a kill right after the command was answered leaves.
    await vras.stop('r', 0);
    const file = new StateFile<object>(join(vras.folder, 'r0', 'state', 'recovering.json'), 'it is forgotten');
    const state = (await file.load()) as { views: { isPromoting: boolean }[] };
    await file.save({ ...state, views: state.views.map((view) => ({ ...view, isPromoting: true })) });
    await vras.startAgain('r', 0);
    await until('promotion', () => recovering().status().views[0]?.state === 'promoted');
    await attach(recovering(), 1, [disk]);
    await vras.restart('r', 0);
    await qemuIo(guest, 'read -P 0x11 0 64k', 'read -P 0x22 64k 64k', 'write -P 0x33 0 4k');
    expect(recovering().status()).toMatchObject({ attachedVmIds: ['vm-2'], views: [{ state: 'promoted' }], recoveries: [{ state: 'ended' }] });
  });

  it('keeps serving through the view when the VM that takes the disks over cannot be attached, and tries again', async () => {
    const { recovering, guest, disk, vras } = await committed();
    await recovering().promoteView('live');
    await until('promotion', () => recovering().status().views[0]?.state === 'promoted');
    const second = { diskId: 'scsi:0:1', exportName: 'second', path: join(vras.folder, 'second.raw'), sizeBytes: MiB };
    await attach(recovering(), 1, [disk, second]);
    expect(recovering().status().attachedVmIds).toEqual([]);
    await qemuIo(guest, 'read -P 0x22 64k 64k');
    await writeFile(second.path, Buffer.alloc(MiB));
    await until('the VM is attached', () => recovering().status().attachedVmIds.length === 1);
    await recovering().closeView('live');
    await qemuIo(guest, 'read -P 0x22 64k 64k', 'write -P 0x33 0 4k');
  });
});

describe('a view', () => {
  it('whose export name is taken leaves nothing behind, and touches nobody else\'s export', async () => {
    const { recovering, ref, checkpointId, vras } = await protectedVm();
    await writeFile(join(vras.folder, 'other.raw'), Buffer.alloc(MiB, 0x44));
    await attach(recovering(), 1, [{ diskId: 'd', exportName: 'recovered', path: join(vras.folder, 'other.raw'), sizeBytes: MiB }]);
    const view = { ...ref, viewId: 'v', checkpointId, purpose: 'test', volumes: VOLUMES } as const;
    await expect(recovering().openView(view)).rejects.toMatchObject({ code: 'NBD_EXPORT_EXISTS' });
    await qemuIo(vras.uri('r', 0, 'recovered'), 'read -P 0x44 0 1M');
    await attach(recovering(), 2, []);
    await recovering().openView(view);
    await recovering().openView(view);
    await expect(recovering().openView({ ...view, purpose: 'live' })).rejects.toMatchObject({ code: 'VRA_CONFLICT' });
    await qemuIo(vras.uri('r', 0, 'recovered'), 'read -P 0x11 0 1M');
  });
});

describe('a journal whose datastore is full', () => {
  it('stops nobody but itself, says so, keeps its checkpoints, and goes on when there is space', async () => {
    const vras = await VraRig.start(ONE_VM);
    rig = vras;
    const [vm] = ONE_VM.vms;
    const [recovering] = vras.recovering;
    if (!vm || !recovering) throw new Error('rig');
    const spec = vras.recoverySpec(vm);
    const small = { ...spec, datastore: { ...spec.datastore, capacityBytes: 32 * MiB } };
    await recovering.putRecovery(small);
    await vras.apply(0, { isProtected: true });
    const oldest = await until('the first checkpoint', () => vras.listed()[0]);
    const guest = vras.uri('p', 0, 'vm-1-0');
    const stateOf = (): string | undefined => recovering.status().recoveries[0]?.state;
    for (let round = 0; stateOf() !== 'full' && round < 40; round += 1) {
      await qemuIo(guest, `write -P ${String(round)} 0 4M`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    expect(stateOf()).toBe('full');
    await qemuIo(guest, 'write -P 0x66 0 4M', 'flush', 'read -P 0x66 0 4M');
    await until('the sender says why', () => vras.protecting[0]?.status().protections[0]?.detail.includes('may take'));
    await vras.restart('r', 0);
    expect(vras.listed()).toContain(oldest);
    const writtenAtMs = Date.now();
    await vras.recovering[0]?.putRecovery(spec);
    // Those that were queued with their seals before the disk was full come first.
    const held = (): CheckpointListing['held'] => vras.recovering[0]?.listCheckpoints({ vpgId: vras.vpgId, vmId: 'vm-1' }).held ?? [];
    const { checkpointId } = await until('a later checkpoint', () => held().find(({ atMs }) => atMs > writtenAtMs));
    expect(vras.listed()).toContain(oldest);
    await vras.recovering[0]?.openView({ viewId: 'v', vpgId: vras.vpgId, vmId: 'vm-1', checkpointId, purpose: 'test', volumes: VOLUMES });
    await qemuIo(vras.uri('r', 0, 'recovered'), 'read -P 0x66 0 4M');
  });
});

describe('a sender that fails by a bug of ours', () => {
  it.each(['capture', 'nextFrame', 'syncReadDone', 'compared'] as const)('in %s takes neither its guest nor its VRA down, seals nothing, and begins anew', async (method) => {
    const { vras, recovering, ref } = await protectedVm();
    const failing = jest.spyOn(Sender.prototype, method).mockImplementationOnce(() => {
      throw new Error('planted');
    });
    if (method === 'syncReadDone' || method === 'compared') {
      await vras.stop('p', 0);
      const disk = await open(vras.diskPath('vm-1', 0), 'r+');
      await disk.write(Buffer.alloc(4096, 0x76), 0, 4096, MiB);
      await disk.close();
      await vras.startAgain('p', 0);
    }
    const guest = vras.uri('p', 0, 'vm-1-0');
    await qemuIo(guest, 'write -P 0x77 2M 64k');
    await until('the failure', () => failing.mock.results.some(({ type }) => type === 'throw'));
    failing.mockRestore();
    const failedAtMs = Date.now();
    const checkpointId = await until('a later checkpoint', () => vras.listedSince(failedAtMs));
    const expected = await vras.image(guest);
    await recovering().openView({ ...ref, viewId: 'v', checkpointId, purpose: 'test', volumes: VOLUMES });
    expect((await vras.image(vras.uri('r', 0, 'recovered'))).equals(expected)).toBe(true);
  });
});

describe('attaching a VM', () => {
  it('whose export name is taken leaves its disks free for the next try', async () => {
    const { vras } = await protectedVm();
    const engine = vras.protecting[0];
    if (!engine) throw new Error('rig');
    const path = join(vras.folder, 'late.raw');
    await writeFile(path, Buffer.alloc(MiB, 0x55));
    const [one, two] = ['early', 'late'].map((vmId) => ({ vmId, disks: [{ diskId: 'd', exportName: 'same', path: vmId === 'late' ? path : vras.diskPath('vm-1', 0), sizeBytes: vmId === 'late' ? MiB : 4 * MiB }] }));
    if (!one || !two) throw new Error('two VMs');
    await engine.applyDesiredState({ revision: 7, attachedVms: [one, two], protections: [], barriers: [] });
    expect(engine.status().attachedVmIds).toEqual(['early']);
    await engine.applyDesiredState({ revision: 8, attachedVms: [two], protections: [], barriers: [] });
    expect(engine.status().attachedVmIds).toEqual(['late']);
    await qemuIo(vras.uri('p', 0, 'same'), 'read -P 0x55 0 1M');
  });
});

describe('a checkpoint', () => {
  it('is as old as it is: its time in the queue of an unreachable receiver counts', async () => {
    const { vras, recovering, ref } = await protectedVm();
    await vras.stop('r', 0);
    const stoppedAtMs = Date.now();
    await new Promise((resolve) => setTimeout(resolve, 2500));
    await vras.startAgain('r', 0);
    const queued = await until('a checkpoint that was made meanwhile', () => {
      const { held } = recovering().listCheckpoints(ref);
      const found = held.find(({ atMs }) => atMs > stoppedAtMs);
      return found && { nowMs: Date.now(), found };
    });
    expect(queued.nowMs - queued.found.atMs).toBeGreaterThan(1500);
    expect(queued.found.ageMs).toBeGreaterThan(queued.nowMs - queued.found.atMs - 300);
    expect(queued.found.ageMs).toBeLessThan(queued.nowMs - queued.found.atMs + 300);
  });

  it('comes to be listed by a protecting VRA that has lost its votes too', async () => {
    const { vras } = await protectedVm();
    await vras.restart('p', 0);
    const newest = await until('a checkpoint of the next term', () => vras.listed().find((id) => termOf(id) === 2));
    await vras.stop('p', 0);
    await rm(join(vras.folder, 'p0', 'state', 'votes.json'));
    await vras.startAgain('p', 0);
    await until('a checkpoint of a term above those that nobody remembers', () => vras.listed().find((id) => id > newest && termOf(id) > 2));
  });

  it('is not sealed by a VRA whose guests may be talking to somebody else', async () => {
    const { vras } = await protectedVm();
    await rm(vras.socketPath('p', 0));
    await writeFile(vras.socketPath('p', 0), 'another process has made its socket here');
    await new Promise((resolve) => setTimeout(resolve, 500)); // what was on its way
    const before = vras.listed();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(vras.listed()).toEqual(before);
    expect(vras.protecting[0]?.status().barriers[0]?.voidCount).toBeGreaterThan(0);
  });
});

describe('a recovery', () => {
  it('is not moved to another journal folder by a late or wrong command', async () => {
    const { recovering, vras, checkpointId } = await protectedVm();
    const [vm] = ONE_VM.vms;
    if (!vm) throw new Error('rig');
    const spec = vras.recoverySpec(vm);
    await expect(recovering().putRecovery({ ...spec, journalFolder: `${spec.journalFolder}-2` })).rejects.toMatchObject({ code: 'VRA_CONFLICT' });
    await vras.restart('r', 0);
    expect(vras.listed()).toContain(checkpointId);
  });
});
