import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { examineWorkload, plannedLane, type PlannedLane, problemsOf, readRange, uriOf, Workload } from '../guest/workload.js';
import type { Checkpoint, VpgClient } from '../rest/vpg-client.js';
import { until } from '../until.js';
import { labDiskAdd, labDiskGrow, labDiskRemove, labMigrate } from '../vm-changes.js';
import { Cleanups, runCommand, SitePair } from './site-pair.js';

/** Both disks of the lane's VMs are on the first 64 MiB, before and after the growth. */
const LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'web01', index: 0, startOffset: 0, sizeBytes: 4 * MiB }, { vm: 'db01', index: 1, startOffset: 0, sizeBytes: 4 * MiB }]),
];
/** A guest that waits for the ZVM to see the move, and for one VRA to let go of its disk; the machine runs two whole sites on two cores. */
const MOVE_STALL_MS = 5000;

/** What an administrator does in the hypervisor, with nobody telling a ZVM; each case goes on where the one before ended. */
describe('what changes under protected VMs is followed', () => {
  const cleanups = new Cleanups();
  let pair: SitePair;
  let vpg: VpgClient;
  let workload: Workload;
  const kept: { checkpoint: Checkpoint; atLeast: ReadonlyMap<number, number>; atMost: ReadonlyMap<number, number>; disksMiB: readonly number[] }[] = [];

  beforeAll(async () => {
    pair = await SitePair.up();
    cleanups.push(() => pair.down());
    workload = new Workload(LANES, await pair.vms('a'));
    cleanups.push(() => workload.disconnect());
    workload.start(10);
    vpg = await pair.vpg('b', await pair.protect('shop', ['web01', 'db01']));
  }, 180_000);
  afterAll(() => cleanups.run(), 60_000);

  const checkpoint = async (disksMiB: readonly number[]): Promise<void> => {
    const atLeast = workload.completed();
    const found = await pair.nextCheckpoint(vpg);
    kept.push({ checkpoint: found, atLeast, atMost: workload.issued(), disksMiB });
  };
  const qemuIo = async (uri: string, command: string): Promise<void> => {
    const result = await runCommand('qemu-io', ['-f', 'raw', '-c', command, uri]);
    expect(result).toMatchObject({ exitCode: 0 });
    expect(result.stdout).not.toMatch(/failed|error/i);
  };
  const knownMiB = async (site: 'a' | 'b'): Promise<number | undefined> => {
    const vms = await (await pair.api(site)).get<{ VmName: string; ProvisionedStorageInMB: number }[]>('/vms');
    return vms.find(({ VmName }) => VmName === 'web01')?.ProvisionedStorageInMB;
  };
  /** Both sites' copies of the VPG know the disks. */
  const untilFollowed = (sumMiB: number): Promise<true> => until('the VPG follows', async () => ((await knownMiB('a')) === sumMiB && (await knownMiB('b')) === sumMiB ? true : undefined));

  it('a VM that moves to and fro goes on being written and protected', async () => {
    await checkpoint([64]);
    const [first = '', second = ''] = pair.lab.layout.sites.a.hosts.map(({ name }) => name);
    for (const host of [second, first, second]) {
      const before = workload.writeCount;
      workload.takeSlowestMs();
      await labMigrate(pair.environment, 'web01', host);
      workload.follow(await pair.vms('a'));
      await until('the guest writes on', () => Promise.resolve(workload.writeCount > before + 20 ? true : undefined));
      expect(workload.takeSlowestMs()).toBeLessThan(MOVE_STALL_MS);
    }
    await checkpoint([64]);
    const events = await (await pair.api('a')).get<{ Description: string }[]>('/events');
    expect(events.filter(({ Description }) => Description.includes(`moved from host ${first} to host ${second}`))).toHaveLength(2);
  }, 90_000);

  it('disks that are added, grown and removed are followed; the VPG goes on making checkpoints', async () => {
    const added = await labDiskAdd(pair.environment, 'web01', { id: 'scsi:0:5', sizeMiB: 8 });
    await labDiskGrow(pair.environment, 'web01', { id: 'scsi:0:0', sizeMiB: 80 });
    await untilFollowed(88);
    await until('the added disk is served', async () => ((await runCommand('nbdinfo', ['--size', added.nbdUri])).exitCode === 0 ? true : undefined));
    await qemuIo(added.nbdUri, 'write -P 0xa5 1M 2M');
    await qemuIo((await pair.vm('a', 'web01')).disks[0]?.nbdUri ?? '', 'write -P 0xb6 72M 1M');
    await checkpoint([80, 8]);
    await labDiskRemove(pair.environment, 'web01', 'scsi:0:5');
    await untilFollowed(80);
    await checkpoint([80]);
    const tasks = await (await pair.api('b')).get<{ CompleteReason: string }[]>('/tasks');
    expect(tasks.map(({ CompleteReason }) => CompleteReason)).toEqual(expect.arrayContaining([expect.stringContaining("disk scsi:0:5 of 'web01' removed")]));
  }, 90_000);

  it('each checkpoint, from before, during and after, recovers the disks and the bytes of its time', async () => {
    await pair.kill('a');
    workload.disconnect();
    for (const [index, { checkpoint: wanted, atLeast, atMost, disksMiB }] of kept.entries()) {
      const isLast = index === kept.length - 1;
      if (isLast) await vpg.failover(wanted.CheckpointIdentifier);
      else await vpg.startTest(wanted.CheckpointIdentifier);
      const vms = await pair.recovered(2);
      const web01 = vms.find(({ name }) => name.startsWith('web01'));
      expect(web01?.disks.map(({ sizeBytes }) => sizeBytes / MiB)).toEqual(disksMiB);
      expect(problemsOf(await examineWorkload(LANES, vms), { atLeast, atMost })).toEqual([]);
      if (disksMiB.length === 2) {
        const image = await readRange(uriOf(vms, { vm: 'web01', index: 1 }), 0, 8 * MiB);
        expect([image[0], image[MiB], image[3 * MiB - 1], image[3 * MiB]]).toEqual([0, 0xa5, 0xa5, 0]);
      }
      if (disksMiB[0] === 80) expect((await readRange(uriOf(vms, { vm: 'web01', index: 0 }), 72 * MiB, MiB)).every((byte) => byte === 0xb6)).toBe(true);
      if (!isLast) await vpg.stopTest();
    }
  }, 120_000);
});
