import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { examineWorkload, plannedLane, type PlannedLane, problemsOf, uriOf, Workload } from '../guest/workload.js';
import type { Checkpoint } from '../rest/vpg-client.js';
import { Cleanups, copyOut, runCommand, SitePair } from './site-pair.js';

/** web01 and app01 on the first host, db01 on the second: lanes 2 and 3 cross hosts with every write. */
const LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'db01', index: 0, startOffset: 0, sizeBytes: 8 * MiB }, { vm: 'db01', index: 1, startOffset: 0, sizeBytes: 8 * MiB }]),
  plannedLane(2, [{ vm: 'web01', index: 0, startOffset: 0, sizeBytes: 4 * MiB }, { vm: 'db01', index: 1, startOffset: 8 * MiB, sizeBytes: 4 * MiB }]),
  plannedLane(3, [{ vm: 'db01', index: 0, startOffset: 16 * MiB, sizeBytes: 4 * MiB }, { vm: 'web01', index: 0, startOffset: 8 * MiB, sizeBytes: 4 * MiB }]),
];

/** The README's way, step by step; each case goes on where the one before ended. */
describe('protect, test, lose the site, fail over', () => {
  const cleanups = new Cleanups();
  let pair: SitePair;
  let folder: string;
  let vpgId: string;
  let workload: Workload;
  let before: { readonly checkpoint: Checkpoint; readonly image: Buffer };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-e2e-'));
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    pair = await SitePair.up();
    cleanups.push(() => pair.down());
  }, 180_000);
  afterAll(() => cleanups.run(), 60_000);

  const copy = async (uri: string): Promise<Buffer> => await copyOut(uri, folder);
  const qemuIo = async (uri: string, command: string): Promise<void> => {
    const result = await runCommand('qemu-io', ['-f', 'raw', '-c', command, uri]);
    expect(result).toMatchObject({ exitCode: 0 });
    expect(result.stdout).not.toMatch(/failed|error/i);
  };

  it('three VMs on two hosts are protected while two of them are being written', async () => {
    const app01 = await pair.vm('a', 'app01');
    await qemuIo(app01.disks[0]!.nbdUri, 'write -P 0x11 1M 8M');
    workload = new Workload(LANES, await pair.vms('a'));
    cleanups.push(() => workload.disconnect());
    workload.start(5);
    vpgId = await pair.protect('shop', ['web01', 'db01', 'app01']);
    expect((await pair.vm('a', 'app01')).disks).toEqual(app01.disks);
  }, 180_000);

  it('a tagged checkpoint is listed with one identifier at both sites', async () => {
    const uri = (await pair.vm('a', 'app01')).disks[0]!.nbdUri;
    await qemuIo(uri, 'write -P 0x22 4M 2M');
    const image = await copy(uri);
    const checkpoint = await (await pair.vpg('a', vpgId)).insertTagged('before the change');
    before = { checkpoint, image };
    await qemuIo(uri, 'write -P 0x33 2M 4M');
    for (const site of ['a', 'b'] as const) {
      const listed = await (await pair.vpg(site, vpgId)).checkpoints();
      expect(listed.find((candidate) => candidate.CheckpointIdentifier === checkpoint.CheckpointIdentifier)).toMatchObject({ Tag: 'before the change' });
    }
  }, 60_000);

  it('a failover test runs on the checkpoint while writing goes on, is written to, and leaves no trace', async () => {
    const vpg = await pair.vpg('b', vpgId);
    const countBefore = workload.writeCount;
    await vpg.startTest(before.checkpoint.CheckpointIdentifier);
    const vms = await pair.recovered(3);
    expect((await copy(uriOf(vms, { vm: 'app01', index: 0 }))).equals(before.image)).toBe(true);
    const findings = await examineWorkload(LANES, vms);
    expect(problemsOf(findings, { atLeast: new Map(), atMost: workload.issued() })).toEqual([]);
    await qemuIo(uriOf(vms, { vm: 'app01', index: 0 }), 'write -P 0x44 0 16M');
    await pair.nextCheckpoint(vpg);
    await vpg.stopTest();
    expect((await pair.vms('b')).filter((vm) => vm.powerState === 'poweredOn')).toEqual([]);
    expect(workload.writeCount).toBeGreaterThan(countBefore);
    await vpg.startTest(before.checkpoint.CheckpointIdentifier);
    const again = await pair.recovered(3);
    expect((await copy(uriOf(again, { vm: 'app01', index: 0 }))).equals(before.image)).toBe(true);
    await vpg.stopTest();
  }, 120_000);

  it('with the protected site killed, the recovery site alone fails over to a consistent cut, and to the very bytes', async () => {
    const vpg = await pair.vpg('b', vpgId);
    const atLeast = workload.completed();
    const newest = await pair.nextCheckpoint(vpg);
    const killed = pair.kill('a');
    await killed;
    const atMost = workload.issued();
    workload.disconnect();
    const listed = await vpg.checkpoints();
    expect(listed.map((checkpoint) => checkpoint.CheckpointIdentifier)).toContain(newest.CheckpointIdentifier);
    await vpg.failover(newest.CheckpointIdentifier);
    const vms = await pair.recovered(3);
    expect(problemsOf(await examineWorkload(LANES, vms), { atLeast, atMost })).toEqual([]);
    await vpg.rollback();
    expect((await pair.vms('b')).filter((vm) => vm.powerState === 'poweredOn')).toEqual([]);
    await vpg.failover(before.checkpoint.CheckpointIdentifier);
    expect((await copy(uriOf(await pair.recovered(3), { vm: 'app01', index: 0 }))).equals(before.image)).toBe(true);
  }, 180_000);

  it('after the commit the disks are files with those bytes and what the running VM wrote', async () => {
    const vpg = await pair.vpg('b', vpgId);
    const uri = uriOf(await pair.recovered(3), { vm: 'app01', index: 0 });
    await qemuIo(uri, 'write -P 0x55 20M 1M');
    await vpg.commit();
    await qemuIo(uri, 'write -P 0x66 24M 1M');
    const expected = Buffer.from(before.image);
    expected.fill(0x55, 20 * MiB, 21 * MiB).fill(0x66, 24 * MiB, 25 * MiB);
    expect((await copy(uri)).equals(expected)).toBe(true);
  }, 120_000);
});
