import { randomUUID } from 'node:crypto';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { RecoveryLimits, RecoverySpec, RecoveryStatus, VraEngine } from '@tidemark/engine-host';
import { qemuIo, until, VraRig, type RigOptions } from './rig.js';

const UNLIMITED: RecoveryLimits = { journalHardBytes: null, journalWarningBytes: null, scratchHardBytes: null, scratchWarningBytes: null };
const VOLUMES = [{ diskId: 'scsi:0:0', exportName: 'recovered' }];
const TWO_VMS: RigOptions = {
  protectingCount: 1, recoveringCount: 2,
  vms: [{ vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [16 * MiB] }, { vmId: 'vm-2', host: 0, recoveryHost: 1, diskBytes: [4 * MiB] }],
};

let rig: VraRig | undefined;
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

async function start(options: RigOptions, limits: Partial<RecoveryLimits>, firstWrite?: string): Promise<VraRig> {
  const vras = await VraRig.start(options);
  rig = vras;
  if (firstWrite !== undefined) await qemuIo(vras.uri('p', 0, 'vm-1-0'), firstWrite);
  for (const vm of options.vms) {
    const own = vm.vmId === 'vm-1' ? { ...UNLIMITED, ...limits } : UNLIMITED;
    await vras.recovering[vm.recoveryHost]?.putRecovery({ ...vras.recoverySpec(vm), limits: own });
  }
  await vras.apply(0, { isProtected: true });
  return vras;
}

function engine(vras: VraRig, index: number): VraEngine {
  const found = vras.recovering[index];
  if (!found) throw new RangeError(`no VRA ${String(index)}`);
  return found;
}

function recovery(vras: VraRig, index = 0): RecoveryStatus {
  const found = engine(vras, index).status().recoveries[0];
  if (!found) throw new RangeError('no recovery');
  return found;
}

function limitedSpec(vras: VraRig, journalHardBytes: number | null): RecoverySpec {
  const [vm] = vras.options.vms;
  if (!vm) throw new RangeError('no VM');
  return { ...vras.recoverySpec(vm), limits: { ...UNLIMITED, journalHardBytes } };
}

describe('the hard limit of a journal', () => {
  it('shortens the history of the whole VPG early, keeps new checkpoints coming, and is not passed', async () => {
    const hardBytes = 16 * MiB;
    const vras = await start(TWO_VMS, { journalHardBytes: hardBytes });
    const first = await until('the first checkpoint', () => vras.listed()[0]);
    let highestBytes = 0;
    // More than the limit, with checkpoints in between.
    for (let round = 1; round <= 12; round += 1) {
      const before = vras.listed().at(-1) ?? 0;
      await qemuIo(vras.uri('p', 0, 'vm-1-0'), `write -P ${String(round)} ${String((round % 8) * 2)}M 2M`);
      await until('the next checkpoint', () => (vras.listed().at(-1) ?? 0) > before);
      highestBytes = Math.max(highestBytes, recovery(vras).journalBytes);
    }
    await until('the first checkpoint is given up at both VRAs', () => !vras.heldBy('vm-1').includes(first) && !vras.heldBy('vm-2').includes(first));
    const writtenAtMs = Date.now();
    const ofVm1 = () => engine(vras, 0).listCheckpoints({ vpgId: vras.vpgId, vmId: 'vm-1' }).held;
    const checkpointId = await until('a checkpoint of all that', () => ofVm1().find((each) => each.atMs > writtenAtMs && vras.listed().includes(each.checkpointId))?.checkpointId);
    expect(highestBytes).toBeGreaterThan(hardBytes / 2);
    expect(highestBytes).toBeLessThanOrEqual(hardBytes + MiB);
    expect(vras.listed().length).toBeGreaterThan(1);
    await vras.openViews(checkpointId);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(checkpointId)}`), 'read -P 8 0 2M', 'read -P 12 8M 2M');
  });

  it('never costs the last checkpoint: a sync that is too large pauses and goes on when the limit is raised', async () => {
    const options: RigOptions = { ...TWO_VMS, recoveringCount: 1, vms: TWO_VMS.vms.slice(0, 1) };
    const vras = await start(options, { journalHardBytes: 8 * MiB }, 'write -P 0x11 0 16M');
    await until('the first checkpoint', () => vras.listed()[0]);
    await vras.stop('p', 0);
    // Other bytes everywhere, written while nobody watched: the new capture session has to send them all.
    await writeFile(vras.diskPath('vm-1', 0), Buffer.alloc(16 * MiB, 0x22));
    await vras.startAgain('p', 0);
    await until('the pause', () => recovery(vras).isAtHardLimit, 30_000);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(recovery(vras)).toMatchObject({ state: 'full', isAtHardLimit: true });
    const kept = vras.listed().at(-1);
    if (kept === undefined) throw new Error('the last checkpoint is gone');
    expect(recovery(vras).detail).toMatch(/may take/);
    const { viewIds } = await vras.openViews(kept);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(kept)}`), 'read -P 0x11 0 16M');
    for (const viewId of viewIds) await engine(vras, 0).closeView(viewId);
    await engine(vras, 0).putRecovery(limitedSpec(vras, null));
    const later = await until('a later checkpoint', () => vras.listed().find((id) => id > kept), 30_000);
    await vras.openViews(later);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(later)}`), 'read -P 0x22 0 16M');
  });
});

describe('the limit of scratch', () => {
  it('fails the writes of that guest with ENOSPC, says so, and touches nobody else', async () => {
    const vras = await start(TWO_VMS, { scratchHardBytes: 3 * MiB });
    const checkpointId = await until('the first checkpoint', () => vras.listed()[0]);
    const open = async (vmId: string, host: number, exportName: string): Promise<string> => {
      const viewId = randomUUID();
      await engine(vras, host).openView({ viewId, vpgId: vras.vpgId, vmId, checkpointId, purpose: 'test', volumes: VOLUMES.map((volume) => ({ ...volume, exportName })) });
      return viewId;
    };
    await open('vm-1', 0, 'one');
    await open('vm-2', 1, 'two');
    await qemuIo(vras.uri('r', 0, 'one'), 'write -P 1 0 1M', 'write -P 2 1M 1M');
    await expect(qemuIo(vras.uri('r', 0, 'one'), 'write -P 3 2M 1M')).rejects.toThrow(/qemu-io/);
    await qemuIo(vras.uri('r', 0, 'one'), 'read -P 1 0 1M', 'read -P 2 1M 1M', 'read -P 0 2M 1M');
    await qemuIo(vras.uri('r', 1, 'two'), 'write -P 9 0 4M', 'read -P 9 0 4M');
    expect(engine(vras, 0).status().views[0]).toMatchObject({ state: 'open', isScratchFull: true, detail: expect.stringContaining('scratch is full') });
    expect(engine(vras, 1).status().views[0]).toMatchObject({ isScratchFull: false, detail: '' });
    const before = Math.max(...vras.listed());
    await until('checkpoints go on', () => vras.listed().some((id) => id > before));
    const [vm] = TWO_VMS.vms;
    if (!vm) throw new RangeError('no VM');
    await engine(vras, 0).putRecovery({ ...vras.recoverySpec(vm), limits: UNLIMITED });
    await qemuIo(vras.uri('r', 0, 'one'), 'write -P 3 2M 1M', 'read -P 3 2M 1M');
    expect(engine(vras, 0).status().views[0]).toMatchObject({ isScratchFull: false });
  });
});

describe('thinning', () => {
  it('drops the same checkpoints at all VRAs, in stated steps, and keeps tagged and open ones', async () => {
    const vras = await VraRig.start({ ...TWO_VMS, intervalMs: 200 });
    rig = vras;
    for (const vm of TWO_VMS.vms) await vras.recovering[vm.recoveryHost]?.putRecovery({ ...vras.recoverySpec(vm), thinning: { keepAllMs: 1500, hourlyAfterMs: 3_600_000 } });
    await vras.apply(0, { isProtected: true });
    await until('the first checkpoints', () => vras.listed().length > 2);
    const tagged = await vras.protecting[0]?.insertCheckpoint({ vpgId: vras.vpgId, tag: 'before the update' });
    const opened = await until('the next one', () => vras.listed().find((id) => id > (tagged?.checkpointId ?? 0)));
    await vras.openViews(opened);
    await until('more', () => vras.listed().length > 12);
    const held = (vmId: string) => engine(vras, vmId === 'vm-1' ? 0 : 1).listCheckpoints({ vpgId: vras.vpgId, vmId }).held;
    // Of those that were old enough one a minute stays, besides the first, the tagged and the open one.
    const isThinned = (vmId: string): boolean => held(vmId).filter(({ ageMs }) => ageMs > 8000).length <= 5 && held(vmId).some(({ ageMs }) => ageMs > 8000);
    await until('thinned at both', () => isThinned('vm-1') && isThinned('vm-2'), 30_000);
    for (const vmId of ['vm-1', 'vm-2']) expect(vras.heldBy(vmId)).toEqual(expect.arrayContaining([tagged?.checkpointId, opened]));
    expect(vras.listed().length).toBeGreaterThan(5); // the young ones
    const before = vras.listed().filter((id) => id <= opened);
    await vras.restart('r', 1);
    expect(vras.listed().filter((id) => id <= opened)).toEqual(before);
  });

  it('gives back what only thinned checkpoints showed, and the disks at the others stay what they were', async () => {
    const vras = await VraRig.start({ ...TWO_VMS, recoveringCount: 1, vms: TWO_VMS.vms.slice(0, 1), intervalMs: 200 });
    rig = vras;
    const [vm] = vras.options.vms;
    if (!vm) throw new Error('one VM');
    const limits = { journalHardBytes: 64 * MiB, journalWarningBytes: null, scratchHardBytes: null, scratchWarningBytes: null };
    await vras.recovering[0]?.putRecovery({ ...vras.recoverySpec(vm), limits, thinning: { keepAllMs: 1500, hourlyAfterMs: 3_600_000 } });
    await vras.apply(0, { isProtected: true });
    await until('the first checkpoint', () => vras.listed().length > 0);
    const guest = vras.uri('p', 0, 'vm-1-0');
    const freed = (): number => engine(vras, 0).status().recoveries[0]?.compactedBytes ?? 0;
    const pattern = (round: number): string => String(1 + (round % 250));
    let round = 0;
    const untilMs = performance.now() + 90_000;
    for (; freed() < MiB; round += 1) {
      if (performance.now() > untilMs) throw new Error('no space was given back');
      await qemuIo(guest, `write -P ${pattern(round)} 0 256k`, 'flush');
      // As fast as it can, a quick machine fills the journal to its limit, which retires what was to be compacted before it is looked at.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const behind = (await vras.protecting[0]?.insertCheckpoint({ vpgId: vras.vpgId, tag: 'behind it' }))?.checkpointId ?? 0;
    await until('the checkpoint behind it', () => vras.listed().includes(behind), 60_000);
    await vras.restart('r', 0);
    await until('the journal again', () => vras.listed().includes(behind), 60_000);
    await vras.openViews(behind);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(behind)}`), `read -P ${pattern(round - 1)} 0 256k`);
  }, 120_000);
});

describe('the scrub', () => {
  it('finds rot in a sealed segment, gives up what needs it, keeps what does not, and replication goes on from new bytes', async () => {
    const options: RigOptions = { ...TWO_VMS, recoveringCount: 1, vms: TWO_VMS.vms.slice(0, 1) };
    const vras = await start(options, { journalHardBytes: 64 * MiB });
    const first = await until('the first checkpoint', () => vras.listed()[0]);
    const guest = vras.uri('p', 0, 'vm-1-0');
    for (let round = 1; round <= 3; round += 1) await qemuIo(guest, `write -P ${String(round)} 0 4M`);
    const path = join(limitedSpec(vras, null).journalFolder, '0000000002.segment');
    const bytes = await until('a sealed segment', () => recovery(vras).journalBytes > 10 * MiB && path);
    const file = await open(bytes, 'r+');
    await file.write(Buffer.from([0xff, 0x00, 0xff]), 0, 3, 100_000);
    await file.close();
    const { affectedIds } = await until('the damage is found', () => recovery(vras).scrub.detail !== '' && recovery(vras).scrub, 30_000);
    expect(recovery(vras).scrub.detail).toContain('segment 2');
    expect(affectedIds).not.toContain(first);
    await until('what needs it is given up', () => vras.listed().every((id) => !affectedIds.includes(id)));
    const goneAtId = Math.max(...affectedIds, ...vras.listed());
    const later = await until('a checkpoint of the new generation', () => vras.listed().find((id) => id > goneAtId + 1), 30_000);
    expect(vras.listed()).toContain(first);
    expect(affectedIds.length).toBeGreaterThan(0);
    await vras.openViews(later);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(later)}`), 'read -P 3 0 4M');
    await vras.openViews(first);
    await qemuIo(vras.uri('r', 0, `vm-1-0-at-${String(first)}`), 'read -P 0 0 4M');
  });
});
