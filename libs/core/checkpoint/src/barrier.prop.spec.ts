import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { BarrierCluster, type Entry } from './testing/barrier-cluster.js';
import type { BarrierConfig } from './index.js';

/** mulberry32: small, seeded, good enough to pick delays. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Run {
  readonly cluster: BarrierCluster;
  /** Ids of writes that had completed when the clock passed each ms; the last is the newest. */
  readonly completedAt: Map<number, number>;
}

const CONFIG: BarrierConfig = {
  vpgId: 'vpg', version: 1, epoch: 1, intervalMs: 200,
  members: [{ vraId: 'h1', vmIds: ['vm1', 'vm2'] }, { vraId: 'h2', vmIds: ['vm3'] }, { vraId: 'h3', vmIds: ['vm4'] }],
};
const VRAS = ['h1', 'h2', 'h3'] as const;
const VMS = ['vm1', 'vm2', 'vm3', 'vm4'] as const;

/** Guests make chains over VMs, and whatever can go wrong does, until the faults stop and 10 s pass. */
function run(seed: number): Run {
  const random = randomOf(seed);
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  // The slow profiles sit around the bound of 50 ms, where a checkpoint may just come about or just not.
  const cluster = new BarrierCluster({ config: CONFIG, random, ...pick([
    { delayMsMax: 2, confirmMsMax: 5, storeMsMax: 5 },
    { delayMsMax: 25, confirmMsMax: 60, storeMsMax: 80 },
    { delayMsMax: 60, confirmMsMax: 300, storeMsMax: 5 },
    { delayMsMax: 90, confirmMsMax: 300, storeMsMax: 5 },
  ]) });
  const completedAt = new Map<number, number>();
  const thinkMs = pick([2, 8]);
  let isWriting = true;
  const chain = (after: readonly number[]): void => {
    if (!isWriting) return;
    cluster.write(pick(VMS), after, (id) => {
      completedAt.set(id, cluster.nowMs);
      cluster.later(random() * thinkMs, () => chain([id]));
    });
  };
  cluster.startAll();
  for (let guest = 0; guest < 4; guest += 1) chain([]);
  const faults = [
    () => cluster.crash(pick(VRAS)),
    () => cluster.start(pick(VRAS)),
    () => cluster.cut(pick(VRAS), pick(VRAS)),
    () => cluster.connect(pick(VRAS), pick(VRAS)),
    () => (cluster.vm(pick(VMS)).isReplicating = random() < 0.8),
    () => (cluster.vm(pick(VMS)).incarnation += 1),
    () => (cluster.isCaptureConfirmed = random() < 0.8),
    () => cluster.take(pick(VRAS), { type: 'insertRequested', requestId: Math.floor(random() * 1e9), tag: 'now', kind: 'tagged' }),
  ];
  const faultMsMax = pick([10, 40, 120]);
  for (let count = 0; count < 40; count += 1) {
    cluster.runFor(random() * faultMsMax);
    pick(faults)();
  }
  isWriting = false;
  for (const vm of cluster.vms.values()) vm.isReplicating = true;
  cluster.isCaptureConfirmed = true;
  cluster.startAll();
  for (const one of VRAS) for (const other of VRAS) cluster.connect(one, other);
  return { cluster, completedAt };
}

/** Compared by hand: `expect` per write would take most of the time. */
function violations(cluster: BarrierCluster, completedAt: ReadonlyMap<number, number>): string[] {
  const found: string[] = [];
  const streams = [...cluster.vms.values()].map((vm) => vm.stream);
  const writes = streams.flat().filter((entry) => entry.type === 'write');
  for (const checkpointId of cluster.listed()) {
    const image = cluster.imageAt(checkpointId);
    const atMs = Math.min(...streams.flatMap(markersOf).filter((marker) => marker.checkpointId === checkpointId).map((marker) => marker.atMs - 1e12));
    for (const { id, after } of writes) {
      if (image.has(id) && !after.every((earlier) => image.has(earlier))) found.push(`checkpoint ${checkpointId} cuts a chain before write ${id}`);
      if (!image.has(id) && (completedAt.get(id) ?? Infinity) < atMs) found.push(`checkpoint ${checkpointId} misses write ${id}`);
    }
  }
  for (const ids of streams.map((stream) => markersOf(stream).map((marker) => marker.checkpointId))) {
    if (new Set(ids).size !== ids.length) found.push('a number was given twice');
  }
  return found;
}

const markersOf = (stream: readonly Entry[]) => stream.filter((entry) => entry.type === 'marker');

describe('barrier under faults', () => {
  it('every checkpoint that is listed cuts no chain and holds all that was completed before its time; numbers only grow', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const { cluster, completedAt } = run(seed);
        cluster.runFor(500);
        expect(violations(cluster, completedAt)).toEqual([]);
        const bound = 50;
        expect(Math.max(0, ...cluster.holdsMs)).toBeLessThanOrEqual(bound + 1e-6);
      }),
      { numRuns: 250 },
    );
  });

  it('once the faults end, checkpoints are made again, by one leader, and no hold stays', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const { cluster } = run(seed);
        cluster.runFor(3000);
        const before = cluster.listed().length;
        cluster.runFor(4000);
        expect(cluster.leaders()).toHaveLength(1);
        for (const node of cluster.nodes.values()) expect(node.heldSinceMs === undefined || cluster.nowMs - node.heldSinceMs <= 50).toBe(true);
        // With 60 ms one way two of three marks come too late; then only the void counts move.
        const { voidCount } = cluster.node(cluster.leaders()[0] ?? '').barrier?.status() ?? { voidCount: 0 };
        expect(cluster.listed().length > before || voidCount > 5).toBe(true);
      }),
      { numRuns: 80 },
    );
  });
});
