import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pid } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { WaitMeter } from '@tidemark/testing';
import { DiskServer } from '../block-device/disk-server.js';
import { NbdGuest } from '../guest/nbd-guest.js';
import { examineWorkload, type LaneMarks, plannedLane, type PlannedLane, problemsOf, uriOf, Workload } from '../guest/workload.js';
import type { HostLayout } from '../layout.js';
import type { VpgClient } from '../rest/vpg-client.js';
import { type ReplicationFigures, replicationFigures } from '../rest/vra-figures.js';
import { until } from '../until.js';
import { Cleanups, SitePair } from './site-pair.js';

/** Of db01, behind an NBD server; its other disks are files. */
const NBD_DISK = 2;
const NBD_DISK_BYTES = 64 * MiB;
/** The chain that has links on it. */
const NBD_LANE = 2;
const LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'db01', index: 0, startOffset: 0, sizeBytes: 8 * MiB }]),
  plannedLane(2, [{ vm: 'web01', index: 0, startOffset: 0, sizeBytes: 4 * MiB }, { vm: 'db01', index: NBD_DISK, startOffset: 0, sizeBytes: 4 * MiB }]),
];
const GUESTS = ['web01', 'db01'];
const OLD_BYTES = 48 * MiB;
/** Far below {@link OLD_BYTES}, which a full copy would send again; far above what the lanes write meanwhile. */
const RESYNC_BYTES = 24 * MiB;
/** A restarted VRA compares what its activity log marks: of its disks, at most this. */
const COMPARED_SHARE = 0.25;
/** What a fault outside the capture process may add to a guest's write. */
const STALL_MS = 100;
/** The bound of a restart is 2 s, which the crash lane checks on a machine that has nothing else to do; most of a restart is computing, and this machine may be a third as fast. */
const RESTART_MS = 6000;
/** A disk that takes its time makes one write late, a fault that stalls guests does it every time: who is late is killed again. */
const ATTEMPTS = 3;

describe('any one component is killed while guests write, and started again', () => {
  const cleanups = new Cleanups();
  let pair: SitePair;
  let vpg: VpgClient;
  let vpgId: string;
  let workload: Workload;
  let disk: DiskServer;

  beforeAll(async () => {
    pair = await SitePair.up();
    disk = await DiskServer.create(join(dirname(pair.lab.layout.folder), 'nbd'), NBD_DISK_BYTES);
    cleanups.push(() => disk.remove());
    cleanups.push(() => pair.down()); // First: a VRA that ends flushes its disks.
    await disk.giveTo(pair.lab.layout.sites.a, 'db01', 'scsi:0:2');
    await writeOldData(uriOf(await pair.vms('a'), { vm: 'db01', index: 0 }));
    workload = new Workload(LANES, await pair.vms('a'), () => {
      const start = meter.start();
      return () => meter.waitedMs(start);
    });
    cleanups.push(() => workload.disconnect());
    workload.start(10);
    vpgId = await pair.protect('kills', GUESTS);
    vpg = await pair.vpg('b', vpgId);
    await pair.nextCheckpoint(vpg);
  }, 240_000);
  afterAll(() => cleanups.run(), 60_000);

  /** Read anew: one of them is killed. */
  const capturePids = (hosts: readonly HostLayout[]): number[] => {
    const { runFolder } = pair.lab.layout.sites.a;
    return hosts.map(({ vraName }) => Number(/"pid": (\d+)/.exec(readFileSync(join(runFolder, `${vraName}.json`), 'utf8'))?.[1]));
  };
  const meter = new WaitMeter(() => capturePids(pair.lab.layout.sites.a.hosts), pid);
  const listedIds = async (): Promise<string[]> => (await vpg.checkpoints()).map((checkpoint) => checkpoint.CheckpointIdentifier);
  const figures = async (): Promise<ReplicationFigures> => await replicationFigures(pair.lab.layout.sites.a, vpgId);

  /** @returns the longest that a guest has waited for a write, from the kill until there is a new checkpoint. */
  async function waitedForKillOf(target: string): Promise<number> {
    const listed = await listedIds();
    workload.takeSlowestMs();
    await pair.kill(target);
    await sleep(1500);
    const countWhileDead = workload.writeCount;
    await sleep(500);
    expect(workload.writeCount).toBeGreaterThan(countWhileDead);
    await pair.start(target);
    await untilListedAgain(listed);
    return workload.takeSlowestMs();
  }

  /** @returns how long the guests have waited for a VRA that answers them, from when it was started again. */
  async function waitedForRestartOf(host: HostLayout): Promise<number> {
    const target = `a/${host.vraName}`;
    const listed = await listedIds();
    await pair.kill(target);
    await sleep(2000);
    const whileDead = workload.completed();
    const restart = new WaitMeter(() => capturePids([host]), pid);
    const waiting = restart.start();
    const answered = untilGoesOn(whileDead).then(() => restart.waitedMs(waiting));
    await pair.start(target);
    const waitedMs = await answered;
    await untilListedAgain(listed);
    return waitedMs;
  }

  async function untilGoesOn(from: LaneMarks): Promise<void> {
    const isGoingOn = (): boolean => [...workload.completed()].every(([lane, seq]) => seq > (from.get(lane) ?? 0));
    await until('every lane goes on', async () => await Promise.resolve(isGoingOn() ? true : undefined), { timeoutMs: 90_000, everyMs: 20 });
  }

  async function untilListedAgain(listed: string[]): Promise<void> {
    await pair.nextCheckpoint(vpg, 90_000);
    expect(await listedIds()).toEqual(expect.arrayContaining(listed));
  }

  /** The shortest of as many waits as it takes. */
  async function shortest(boundMs: number, attempt: () => Promise<number>): Promise<number> {
    const waits: number[] = [];
    do waits.push(await attempt());
    while (Math.min(...waits) >= boundMs && waits.length < ATTEMPTS);
    return Math.min(...waits);
  }

  it.each(['a/zvm', 'a/nats', 'a/postgres', 'a/hypervisor', 'b/vra1', 'b/vra2', 'b/zvm', 'b/nats', 'b/postgres'])('%s: no guest waits, replication goes on by itself, no listed checkpoint is lost', async (target) => {
    const sentBefore = (await figures()).sentBytes;
    expect(await shortest(STALL_MS, async () => await waitedForKillOf(target))).toBeLessThan(STALL_MS);
    expect((await figures()).sentBytes - sentBefore).toBeLessThan(RESYNC_BYTES);
  }, 360_000);

  it('the NBD server of a disk of db01: who writes there waits until it is back, nobody else, and what it may have forgotten is sent again', async () => {
    const listed = await listedIds();
    const { allSyncsBytes } = await figures();
    /** @returns the longest wait of the lanes that have nothing on that disk. */
    const waitedForServer = async (): Promise<number> => {
      workload.takeSlowestMs();
      await disk.kill();
      await sleep(1500);
      const whileDead = workload.completed();
      await sleep(500);
      expect(workload.completed().get(NBD_LANE)).toBe(whileDead.get(NBD_LANE));
      await disk.start();
      await untilGoesOn(whileDead);
      return workload.takeSlowestMs((lane) => lane !== NBD_LANE);
    };
    expect(await shortest(STALL_MS, waitedForServer)).toBeLessThan(STALL_MS);
    await untilListedAgain(listed);
    const comparedBytes = (await figures()).allSyncsBytes - allSyncsBytes;
    expect(comparedBytes).toBeGreaterThan(0);
    expect(comparedBytes).toBeLessThan(ATTEMPTS * COMPARED_SHARE * NBD_DISK_BYTES);
  }, 360_000);

  it('the VRA of db01: guests wait until it answers again, and what may differ is compared, not the whole disks', async () => {
    const { a } = pair.lab.layout.sites;
    const { host: hostName, disks } = await pair.vm('a', 'db01');
    const host = a.hosts.find(({ name }) => name === hostName);
    if (!host) throw new Error(`no host ${hostName}`);
    expect(await shortest(RESTART_MS, async () => await waitedForRestartOf(host))).toBeLessThan(RESTART_MS);
    // Of the process that runs now.
    const { allSyncsBytes, sentBytes } = await replicationFigures({ ...a, hosts: [host] }, vpgId);
    expect(allSyncsBytes).toBeGreaterThan(0);
    expect(allSyncsBytes).toBeLessThan(COMPARED_SHARE * disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    expect(sentBytes).toBeLessThan(RESYNC_BYTES);
  }, 360_000);

  it('at the end the newest checkpoint holds a prefix of every chain', async () => {
    const atLeast = workload.completed();
    const checkpoint = await pair.nextCheckpoint(vpg);
    const atMost = workload.issued();
    await vpg.startTest(checkpoint.CheckpointIdentifier);
    expect(problemsOf(await examineWorkload(LANES, await pair.recovered(2)), { atLeast, atMost })).toEqual([]);
    await vpg.stopTest();
    await workload.stop();
  }, 120_000);
});

/** Random, so that a full copy cannot hide behind compression. */
async function writeOldData(uri: string): Promise<void> {
  const guest = new NbdGuest(uri);
  for (let at = 0; at < OLD_BYTES; at += 4 * MiB) await guest.write(64 * MiB + at, randomBytes(4 * MiB));
  await guest.flush();
  guest.close();
}
