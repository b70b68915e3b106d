import { execFile } from 'node:child_process';
import { appendFile, copyFile, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { ProtectionStatus, RecoverySpec } from '@tidemark/engine-host';
import { qemuIo, until, VraRig } from './rig.js';

const VM = { vmId: 'vm-1', host: 0, recoveryHost: 0, diskBytes: [8 * MiB, 4 * MiB] };

const GOLDEN = join(import.meta.dirname, '../../../io/engine-host/testdata/state');

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

interface Moving {
  readonly rig: VraRig;
  /** Images of the first disk by checkpoint. */
  readonly images: Map<number, Buffer>;
  checkpoint(): Promise<void>;
  /** What a `put` says for the VM recovered at this VRA. */
  specAt(host: number, moveNumber?: number): RecoverySpec;
}

async function protectedVm(): Promise<Moving> {
  const vm = { ...VM };
  const rig = await VraRig.start({ protectingCount: 1, recoveringCount: 2, vms: [vm], intervalMs: 200 });
  cleanups.push(() => rig.close());
  await qemuIo(rig.uri('p', 0, 'vm-1-0'), 'write -P 0x11 0 1M');
  await rig.protect();
  const images = new Map<number, Buffer>();
  const checkpoint = async (): Promise<void> => {
    const before = Math.max(0, ...rig.listed());
    const id = await until('two new checkpoints', () => rig.listed().filter((each) => each > before)[1]);
    images.set(id, await rig.image(rig.uri('p', 0, 'vm-1-0')));
  };
  const specAt = (host: number, moveNumber?: number): RecoverySpec => {
    vm.recoveryHost = host;
    return { ...rig.recoverySpec(vm), ...(moveNumber === undefined ? {} : { moveNumber }) };
  };
  await checkpoint();
  return { rig, images, checkpoint, specAt };
}

async function expectAllRecoverable({ rig, images }: Moving, host: number): Promise<void> {
  for (const [checkpointId, image] of images) {
    expect(rig.listed()).toContain(checkpointId);
    const { viewIds } = await rig.openViews(checkpointId);
    expect((await rig.image(rig.uri('r', host, `vm-1-0-at-${String(checkpointId)}`))).equals(image)).toBe(true);
    for (const viewId of viewIds) await rig.recovering[host]?.closeView(viewId);
  }
}

const engine = (rig: VraRig, host: number): NonNullable<VraRig['recovering'][number]> => {
  const found = rig.recovering[host];
  if (!found) throw new RangeError('no such VRA');
  return found;
};

const REF = (rig: VraRig): { readonly vpgId: string; readonly vmId: string } => ({ vpgId: rig.vpgId, vmId: VM.vmId });

describe('a recovery that moves to another VRA on the same datastore', () => {
  it('goes on there without a sync, to and fro; every checkpoint from before stays', async () => {
    const moving = await protectedVm();
    const { rig, images, checkpoint, specAt } = moving;
    const stream = (): ProtectionStatus | undefined => rig.protecting[0]?.status().protections[0];
    for (const [round, to] of [1, 0].entries()) {
      const from = 1 - to;
      const move = round + 1;
      const states = new Set<string>();
      const watch = setInterval(() => states.add(stream()?.state ?? ''), 5);
      cleanups.push(async () => await Promise.resolve(clearInterval(watch)));
      const writtenBytes = stream()?.writtenBytes ?? 0;
      await engine(rig, from).releaseRecovery({ ...REF(rig), moveNumber: move, journalFolder: specAt(from).journalFolder });
      // Nobody recovers it now: the guest writes on, and what it writes waits.
      await qemuIo(rig.uri('p', 0, 'vm-1-0'), `write -P ${String(0x20 + round)} ${String(2 + round)}M 512k`);
      await engine(rig, to).putRecovery(specAt(to, move));
      await rig.apply(0, { isProtected: true });
      await checkpoint();
      clearInterval(watch);
      expect([...states].filter((state) => state.endsWith('Sync'))).toEqual([]);
      // The same stream, with its queue: a new one would know nothing and compare everything.
      expect(stream()?.writtenBytes).toBe(writtenBytes + 512 * 1024);
      expect(engine(rig, from).status().recoveries).toEqual([]);
    }
    expect(images.size).toBe(3);
    await expectAllRecoverable(moving, 0);
  }, 60_000);

  it('is refused while a view is open, and says what to do', async () => {
    const moving = await protectedVm();
    const [checkpointId = 0] = moving.images.keys();
    const { viewIds } = await moving.rig.openViews(checkpointId);
    const release = (): Promise<void> => engine(moving.rig, 0).releaseRecovery({ ...REF(moving.rig), moveNumber: 1, journalFolder: moving.specAt(0).journalFolder });
    await expect(release()).rejects.toMatchObject({ code: 'VRA_CONFLICT', message: expect.stringContaining('stop the failover test') });
    for (const viewId of viewIds) await engine(moving.rig, 0).closeView(viewId);
    await engine(moving.rig, 0).reserveEpoch({ ...REF(moving.rig), epoch: 2 });
    await expect(release()).rejects.toMatchObject({ code: 'VRA_CONFLICT', message: expect.stringContaining('commit it or roll it back') });
    await engine(moving.rig, 0).burnEpoch({ ...REF(moving.rig), epoch: 2 });
    await expect(release()).resolves.toBeUndefined();
    await expect(release()).resolves.toBeUndefined();
  }, 60_000);

  it('has one owner: neither the old VRA nor a late word of an earlier move takes it back, restarted or not', async () => {
    const moving = await protectedVm();
    const { rig, specAt } = moving;
    const old = specAt(0);
    // Before the old one has let go, its lock on the mirrors stands.
    await expect(engine(rig, 1).putRecovery(specAt(1, 1))).rejects.toMatchObject({ code: 'VRA_NOT_RELEASED', message: expect.stringContaining('power its host off') });
    await expect(engine(rig, 1).putRecovery({ ...specAt(1, 1), isOldHostDown: true })).rejects.toThrow('in use by another process');
    await rig.stop('r', 0);
    // Down for whatever reason: only an operator can say that it stays so.
    await expect(engine(rig, 1).putRecovery(specAt(1, 1))).rejects.toMatchObject({ code: 'VRA_NOT_RELEASED' });
    await engine(rig, 1).putRecovery({ ...specAt(1, 1), isOldHostDown: true });
    // Its state file still says that the files are its own.
    await rig.startAgain('r', 0);
    expect(engine(rig, 0).status().recoveries).toEqual([]);
    await expect(engine(rig, 0).putRecovery(old)).rejects.toMatchObject({ code: 'VRA_MOVED' });
    await rig.stop('r', 1);
    await expect(engine(rig, 0).putRecovery(old)).rejects.toMatchObject({ code: 'VRA_MOVED' });
    await rig.startAgain('r', 1);
    await rig.apply(0, { isProtected: true });
    await moving.checkpoint();
    await expect(engine(rig, 1).releaseRecovery({ ...REF(rig), moveNumber: 1, journalFolder: old.journalFolder })).rejects.toMatchObject({ code: 'VRA_CONFLICT' });
    await expectAllRecoverable(moving, 1);
  }, 60_000);

  it('is left alone by its VRA when that one was already starting, and had looked who owns it, when another one seized it', async () => {
    const moving = await protectedVm();
    const { rig, specAt } = moving;
    const { journalFolder } = specAt(0);
    await rig.stop('r', 0);
    const [segment = ''] = (await readdir(journalFolder)).filter((name) => name.endsWith('.segment')).sort().reverse();
    await appendFile(join(journalFolder, segment), Buffer.alloc(100, 9)); // a torn tail, which an opening cuts off
    const before = await readFile(join(journalFolder, segment));
    // It reads the pins after it has looked who owns the files: a pipe holds it there.
    const pipe = join(journalFolder, 'pins.json');
    await rm(pipe, { force: true });
    await promisify(execFile)('mkfifo', [pipe]);
    const starting = rig.startAgain('r', 0);
    const writing = await open(pipe, 'w');
    await copyFile(join(GOLDEN, 'owner.json'), join(journalFolder, 'owner.json')); // of vra-2, by a move with number 1
    await writeFile(writing, await readFile(join(GOLDEN, 'pins.json')));
    await writing.close();
    await starting;
    expect(engine(rig, 0).status().recoveries).toEqual([]);
    expect((await readFile(join(journalFolder, segment))).equals(before)).toBe(true);
  }, 60_000);

  it('is not made anew where journal or a mirror are not to be seen', async () => {
    const moving = await protectedVm();
    const { rig, specAt } = moving;
    await engine(rig, 0).releaseRecovery({ ...REF(rig), moveNumber: 1, journalFolder: specAt(0).journalFolder });
    const away = `${specAt(1).journalFolder}-away`;
    await rename(specAt(1).journalFolder, away);
    await expect(engine(rig, 1).putRecovery(specAt(1, 1))).rejects.toMatchObject({ code: 'VRA_NOTHING_THERE' });
    await rename(away, specAt(1).journalFolder);
    const mirror = rig.mirrorPath('vm-1', 1);
    await rename(mirror, `${mirror}-away`);
    await expect(engine(rig, 1).putRecovery(specAt(1, 1))).rejects.toMatchObject({ code: 'VOLUME_NOT_FOUND' });
    await rename(`${mirror}-away`, mirror);
    // The move is given up: the old one goes on, under a later number.
    await engine(rig, 0).putRecovery(specAt(0, 2));
    await rig.apply(0, { isProtected: true });
    await moving.checkpoint();
    await expectAllRecoverable(moving, 0);
  }, 60_000);
});
