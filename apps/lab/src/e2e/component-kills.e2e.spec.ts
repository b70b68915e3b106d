import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { NbdGuest } from '../guest/nbd-guest.js';
import { examineWorkload, plannedLane, type PlannedLane, problemsOf, uriOf, Workload } from '../guest/workload.js';
import type { VpgClient } from '../rest/vpg-client.js';
import { replicationFigures } from '../rest/vra-figures.js';
import { Cleanups, SitePair } from './site-pair.js';

const LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'db01', index: 0, startOffset: 0, sizeBytes: 8 * MiB }]),
  plannedLane(2, [{ vm: 'web01', index: 0, startOffset: 0, sizeBytes: 4 * MiB }, { vm: 'db01', index: 1, startOffset: 0, sizeBytes: 4 * MiB }]),
];
const OLD_BYTES = 48 * MiB;
/** Far below {@link OLD_BYTES}, which a full copy would send again; far above what the lanes write meanwhile. */
const RESYNC_BYTES = 24 * MiB;
/** The promise is 100 ms; a machine with two cores that starts processes at the same time gets more. */
const STALL_MS = 2000;

describe('any one component is killed while guests write, and started again', () => {
  const cleanups = new Cleanups();
  let pair: SitePair;
  let vpg: VpgClient;
  let vpgId: string;
  let workload: Workload;

  beforeAll(async () => {
    pair = await SitePair.up();
    cleanups.push(() => pair.down());
    await writeOldData(uriOf(await pair.vms('a'), { vm: 'db01', index: 0 }));
    workload = new Workload(LANES, await pair.vms('a'));
    cleanups.push(() => workload.disconnect());
    workload.start(10);
    vpgId = await pair.protect('kills', ['web01', 'db01']);
    vpg = await pair.vpg('b', vpgId);
    await pair.nextCheckpoint(vpg);
  }, 240_000);
  afterAll(() => cleanups.run(), 60_000);

  const listedIds = async (): Promise<string[]> => (await vpg.checkpoints()).map((checkpoint) => checkpoint.CheckpointIdentifier);
  const sentBytes = async (): Promise<number> => (await replicationFigures(pair.lab.layout.sites.a, vpgId)).sentBytes;

  it.each([
    ['a/zvm', { isGuestServed: true, isResyncAllowed: false }],
    ['a/nats', { isGuestServed: true, isResyncAllowed: false }],
    ['a/postgres', { isGuestServed: true, isResyncAllowed: false }],
    ['a/hypervisor', { isGuestServed: true, isResyncAllowed: false }],
    ['b/vra1', { isGuestServed: true, isResyncAllowed: false }],
    ['b/vra2', { isGuestServed: true, isResyncAllowed: false }],
    ['b/zvm', { isGuestServed: true, isResyncAllowed: false }],
    ['b/nats', { isGuestServed: true, isResyncAllowed: false }],
    ['b/postgres', { isGuestServed: true, isResyncAllowed: false }],
    // The guest waits for its disks; without an activity log the whole disk is compared or copied.
    ['a/vra1', { isGuestServed: false, isResyncAllowed: true }],
  ])('%s: replication goes on by itself, no listed checkpoint is lost', async (target, { isGuestServed, isResyncAllowed }) => {
    const listed = await listedIds();
    const sentBefore = await sentBytes();
    workload.takeSlowestMs();
    await pair.kill(target);
    await sleep(1500);
    const countWhileDead = workload.writeCount;
    await sleep(500);
    if (isGuestServed) {
      expect(workload.writeCount).toBeGreaterThan(countWhileDead);
      expect(workload.takeSlowestMs()).toBeLessThan(STALL_MS);
    }
    await pair.start(target);
    await pair.nextCheckpoint(vpg, 90_000);
    expect(await listedIds()).toEqual(expect.arrayContaining(listed));
    if (!isResyncAllowed) expect((await sentBytes()) - sentBefore).toBeLessThan(RESYNC_BYTES);
  }, 120_000);

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
