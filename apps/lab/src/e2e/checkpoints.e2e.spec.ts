import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { examineWorkload, plannedLane, type PlannedLane, problemsOf, Workload } from '../guest/workload.js';
import { WorkloadAgents } from '../guest/workload-agents.js';
import { processesOf } from '../lab.js';
import type { Checkpoint, VpgClient } from '../rest/vpg-client.js';
import { until } from '../until.js';
import { Cleanups, copyOut, SitePair } from './site-pair.js';

/** Each write of lane 2 depends on one of the other VM, on another host. */
const LANES: readonly PlannedLane[] = [
  plannedLane(1, [{ vm: 'db01', index: 0, startOffset: 0, sizeBytes: 8 * MiB }]),
  plannedLane(2, [{ vm: 'web01', index: 0, startOffset: 0, sizeBytes: 4 * MiB }, { vm: 'db01', index: 1, startOffset: 0, sizeBytes: 4 * MiB }]),
];
const TYPE_VSS = 2;
/** Ordinary ones come every 5 s. */
const DOWN_MS = 13_000;
const MANAGERS = ['a/zvm', 'a/nats', 'a/postgres', 'b/zvm', 'b/nats', 'b/postgres'];

describe('checkpoints', () => {
  const cleanups = new Cleanups();
  let pair: SitePair;
  let vpg: VpgClient;
  let workload: Workload;
  let agents: WorkloadAgents;

  beforeAll(async () => {
    pair = await SitePair.up();
    cleanups.push(() => pair.down());
    const vms = await pair.vms('a');
    workload = new Workload(LANES, vms);
    cleanups.push(() => workload.disconnect());
    agents = await WorkloadAgents.start(workload, vms);
    cleanups.push(() => agents.close());
    workload.start(5);
    vpg = await pair.vpg('b', await pair.protect('checkpoints', ['web01', 'db01']));
  }, 240_000);
  afterAll(() => cleanups.run(), 60_000);

  const goesOn = async (): Promise<void> => {
    const before = workload.writeCount;
    await until('the guests write on', () => Promise.resolve(workload.writeCount > before + 20 || undefined));
  };

  it('an application-consistent one holds what the guests had written when all were frozen, and nothing more; then they go on', async () => {
    const checkpoint = await vpg.insertTagged('frozen', { isApplicationConsistent: true });
    expect(checkpoint.Type).toBe(TYPE_VSS);
    const { frozenAt } = agents;
    if (!frozenAt) throw new Error('nobody was frozen');
    await goesOn();
    expect([agents.isFrozen, ...agents.freezeCounts.values(), ...agents.thawCounts.values()]).toEqual([false, 1, 1, 1, 1]);
    await vpg.startTest(checkpoint.CheckpointIdentifier);
    const recovered = await pair.recovered(2);
    expect(problemsOf(await examineWorkload(LANES, recovered), { atLeast: frozenAt, atMost: frozenAt })).toEqual([]);
    // A backup appliance reads the same checkpoint from the VRAs while the guests write on: the same bytes.
    await processesOf(pair.lab, 'b').addVba(await pair.api('b'));
    const sums = await vpg.verify(checkpoint.CheckpointIdentifier);
    const folder = await mkdtemp('/var/tmp/tm-verified-');
    cleanups.push(() => rm(folder, { recursive: true, force: true }));
    for (const vm of recovered) {
      const copied: string[] = [];
      for (const { nbdUri } of vm.disks) copied.push(createHash('sha256').update(await copyOut(nbdUri, folder)).digest('hex'));
      expect(sums.get(vm.name.split(' ')[0] ?? '')).toEqual(copied.sort());
    }
    await vpg.stopTest();
  }, 240_000);

  it('a guest that does not get to freeze: there is no such checkpoint, the task says which VM, the others are thawed at once', async () => {
    agents.hanging.add('db01');
    const db = await pair.vm('a', 'db01');
    await expect(vpg.insertTagged('never', { isApplicationConsistent: true })).rejects.toThrow(new RegExp(`no application-consistent checkpoint: .*VM ${db.id}`));
    await until('all are thawed', () => Promise.resolve(!agents.isFrozen || undefined), { timeoutMs: 2000 });
    await goesOn();
    expect((await vpg.checkpoints()).filter(({ Tag }) => Tag === 'never')).toEqual([]);
    agents.hanging.clear();
    await pair.nextCheckpoint(vpg);
  }, 90_000);

  it('those made while every ZVM, NATS server and database was down are in the catalogue of both sites afterwards', async () => {
    const fromMs = Date.now();
    for (const target of MANAGERS) await pair.kill(target);
    const downMs = Date.now();
    await sleep(DOWN_MS);
    const untilMs = Date.now();
    const countBefore = workload.writeCount;
    for (const target of [...MANAGERS].reverse()) await pair.start(target);
    expect(workload.writeCount).toBeGreaterThan(countBefore);
    const madeMeanwhile = async (site: 'a' | 'b'): Promise<Checkpoint[]> => {
      const listed = await (await pair.vpg(site, vpg.vpgId)).checkpoints();
      return listed.filter(({ TimeStamp }) => Date.parse(TimeStamp) > downMs && Date.parse(TimeStamp) < untilMs);
    };
    for (const site of ['b', 'a'] as const) {
      const found = await until(`site ${site} lists them`, async () => {
        const made = await madeMeanwhile(site).catch(() => []);
        return made.length >= 2 ? made : undefined;
      }, { timeoutMs: 90_000 });
      expect(found.every(({ TimeStamp }) => Date.parse(TimeStamp) > fromMs)).toBe(true);
    }
    const [first] = await madeMeanwhile('b');
    await vpg.startTest(first?.CheckpointIdentifier ?? '');
    expect(problemsOf(await examineWorkload(LANES, await pair.recovered(2)), { atLeast: new Map(), atMost: workload.issued() })).toEqual([]);
    await vpg.stopTest();
    await workload.stop();
  }, 240_000);
});
