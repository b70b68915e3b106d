import { copyFile, mkdir, open, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { BLOCK_BYTES, MiB } from '@tidemark/base';
import type { ProtectionStatus, RecoverySpec } from '@tidemark/engine-host';
import { qemuIo, until, VraRig, type RigOptions } from './rig.js';

const OPTIONS: RigOptions = {
  protectingCount: 1,
  recoveringCount: 1,
  vms: [{ vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [32 * MiB, 3 * MiB + 512] }],
};
const CHANGED = [0, 77, 78, 2500, 8191];

let rig: VraRig | undefined;
afterEach(async () => {
  const closing = rig;
  rig = undefined;
  await closing?.close();
});

const protectionOf = (vras: VraRig): ProtectionStatus => {
  const status = vras.protecting[0]?.status().protections[0];
  if (!status) throw new Error('rig');
  return status;
};

/** A checkpoint made after this call began. */
const checkpointFromNow = async (vras: VraRig): Promise<number> => {
  const before = Math.max(0, ...vras.listed());
  return await until('two new checkpoints', () => vras.listed().filter((id) => id > before)[1]);
};

/** Blocks of the disk file change while no VRA watches: what a host crash, or anybody with the file, may do. */
async function changeBlocks(path: string, blocks: readonly number[]): Promise<void> {
  const file = await open(path, 'r+');
  for (const block of blocks) await file.write(Buffer.alloc(BLOCK_BYTES, 1 + (block % 250)), 0, BLOCK_BYTES, block * BLOCK_BYTES);
  await file.close();
}

async function expectImages(vras: VraRig, checkpointId: number, expected: readonly Buffer[]): Promise<void> {
  await vras.openViews(checkpointId);
  for (const [disk, image] of expected.entries()) {
    expect((await vras.image(vras.uri('r', 0, `vm-1-${String(disk)}-at-${String(checkpointId)}`))).equals(image)).toBe(true);
  }
}

const disksOf = async (vras: VraRig): Promise<Buffer[]> => [await vras.image(vras.uri('p', 0, 'vm-1-0')), await vras.image(vras.uri('p', 0, 'vm-1-1'))];

async function replicated(): Promise<VraRig> {
  const vras = await VraRig.start(OPTIONS);
  rig = vras;
  await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x11 0 9M', 'write -P 0x12 20M 12M');
  await qemuIo(vras.uri('p', 0, 'vm-1-1'), 'write -P 0x13 0 3M');
  await vras.protect();
  await until('the first checkpoint', () => vras.listed().length > 0);
  return vras;
}

describe('preseeded volumes', () => {
  const preseededSpec = (vras: VraRig): RecoverySpec => {
    const [vm] = OPTIONS.vms;
    if (!vm) throw new Error('rig');
    const spec = vras.recoverySpec(vm);
    return { ...spec, volumes: spec.volumes.map((volume) => ({ ...volume, isPreseeded: true })) };
  };
  const preseed = async (vras: VraRig, disk: number): Promise<void> => {
    await mkdir(dirname(vras.mirrorPath('vm-1', disk)), { recursive: true });
    await copyFile(vras.diskPath('vm-1', disk), vras.mirrorPath('vm-1', disk));
  };

  it('are compared, and only what differs goes into them', async () => {
    const vras = await VraRig.start(OPTIONS);
    rig = vras;
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x31 0 20M');
    for (const disk of [0, 1]) await preseed(vras, disk);
    await changeBlocks(vras.mirrorPath('vm-1', 0), CHANGED);
    await vras.recovering[0]?.putRecovery(preseededSpec(vras));
    await vras.apply(0, { isProtected: true });
    const checkpointId = await until('the first checkpoint', () => vras.listed()[0]);
    expect(protectionOf(vras).sentBytes).toBeLessThan(2 * CHANGED.length * BLOCK_BYTES);
    await expectImages(vras, checkpointId, await disksOf(vras));
  });

  it('are refused with the reason when they are missing or of another size, and nothing is left behind', async () => {
    const vras = await VraRig.start(OPTIONS);
    rig = vras;
    const put = async (): Promise<void> => await vras.recovering[0]?.putRecovery(preseededSpec(vras));
    await expect(put()).rejects.toMatchObject({ code: 'VRA_PRESEED', message: expect.stringContaining('vm-1-0.mirror') as unknown });
    await preseed(vras, 0);
    await preseed(vras, 1);
    await truncate(vras.mirrorPath('vm-1', 1), MiB);
    await expect(put()).rejects.toMatchObject({ code: 'VRA_PRESEED', message: expect.stringContaining('vm-1-1.mirror') as unknown });
    expect(vras.recovering[0]?.status().recoveries).toEqual([]);
    await truncate(vras.mirrorPath('vm-1', 1), 3 * MiB + 512);
    await put();
  });
});

describe('a protection that is paused', () => {
  it('sends nothing, keeps what is written, and goes on where it was', async () => {
    const vras = await replicated();
    await vras.apply(0, { isProtected: true, isPaused: true });
    await until('nothing is received', () => vras.recovering[0]?.status().recoveries[0]?.state === 'waiting');
    const before = await until('what was under way is listed', () => vras.listed().at(-1));
    const { sentBytes } = protectionOf(vras);
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x41 1M 1M');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(protectionOf(vras)).toMatchObject({ state: 'paused', sentBytes });
    expect(protectionOf(vras).lagBytes).toBeGreaterThanOrEqual(MiB);
    await vras.apply(0, { isProtected: true });
    const after = await until('a checkpoint with it', () => vras.listed().filter((id) => id > before).at(5));
    expect(protectionOf(vras).sentBytes - sentBytes).toBeLessThan(2 * MiB);
    await expectImages(vras, after, await disksOf(vras));
  });
});

describe('a delta sync by hashes', () => {
  it('on request finds what changed in the mirror behind our back, and keeps the checkpoints', async () => {
    const vras = await replicated();
    const before = await checkpointFromNow(vras);
    await changeBlocks(vras.mirrorPath('vm-1', 0), CHANGED);
    const { sentBytes } = protectionOf(vras);
    vras.protecting[0]?.forceSync({ vpgId: vras.vpgId, vmId: 'vm-1' });
    expect(protectionOf(vras)).toMatchObject({ state: 'deltaSync', sync: { kind: 'deltaSync', reason: 'Force Sync' } });
    const after = await checkpointFromNow(vras);
    expect(protectionOf(vras).sentBytes - sentBytes).toBeLessThan(2 * CHANGED.length * BLOCK_BYTES);
    await expectImages(vras, after, await disksOf(vras));
    expect(vras.listed()).toContain(before);
    expect(() => vras.protecting[0]?.forceSync({ vpgId: vras.vpgId, vmId: 'other' })).toThrow(/not replicated from here/);
  });

  it('sends what differs and little more, and keeps older checkpoints', async () => {
    const vras = await replicated();
    // In the journal, not in the mirror: the head must be both.
    await qemuIo(vras.uri('p', 0, 'vm-1-0'), 'write -P 0x21 10M 4M');
    const before = await checkpointFromNow(vras);
    const older = await disksOf(vras);
    await vras.stop('p', 0);
    await changeBlocks(vras.diskPath('vm-1', 0), CHANGED);
    await vras.startAgain('p', 0);
    const after = await checkpointFromNow(vras);
    const { sentBytes } = protectionOf(vras);
    expect(sentBytes).toBeGreaterThanOrEqual(CHANGED.length * BLOCK_BYTES);
    expect(sentBytes).toBeLessThan(2 * CHANGED.length * BLOCK_BYTES);
    expect(vras.listed()).toContain(before);
    await expectImages(vras, after, await disksOf(vras));
    await expectImages(vras, before, older);
  });

  it('is right under a guest that writes all the while, and over a recovering VRA that comes back in the middle', async () => {
    const vras = await replicated();
    await vras.stop('p', 0);
    await changeBlocks(vras.diskPath('vm-1', 0), Array.from({ length: 2000 }, (_, i) => i * 4));
    await vras.startAgain('p', 0);
    const guest = vras.uri('p', 0, 'vm-1-0');
    let round = 0;
    let isWriting = true;
    const writing = (async () => {
      while (isWriting) {
        round += 1;
        const places = Array.from({ length: 40 }, (_, i) => `write -P ${String(1 + ((round + i) % 250))} ${String(((round * 37 + i * 211) % 8000) * BLOCK_BYTES + 512 * (i % 8))} ${String(512 * (1 + (i % 9)))}`);
        await qemuIo(guest, ...places);
      }
    })();
    await until('the delta sync runs', () => protectionOf(vras).state === 'deltaSync' || vras.listed().length > 0);
    await vras.restart('r', 0);
    await checkpointFromNow(vras);
    isWriting = false;
    await writing;
    const after = await checkpointFromNow(vras);
    await expectImages(vras, after, await disksOf(vras));
  });
});
