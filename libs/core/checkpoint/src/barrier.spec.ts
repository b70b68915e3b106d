import { describe, expect, it } from '@jest/globals';
import { BarrierCluster, type ClusterOptions } from './testing/barrier-cluster.js';
import { checkpointIdOf, firstTermOf, termOf, type BarrierConfig, type BarrierEvent } from './index.js';

const config = (members: Record<string, string[]>, version = 1): BarrierConfig => ({
  vpgId: 'vpg', version, epoch: 1, intervalMs: 1000, members: Object.entries(members).map(([vraId, vmIds]) => ({ vraId, vmIds })),
});
const TWO = { h1: ['vm1', 'vm2'], h2: ['vm3'] };
const THREE = { h1: ['vm1'], h2: ['vm2'], h3: ['vm3'] };

function cluster(members: Record<string, string[]>, options: Partial<ClusterOptions> = {}): BarrierCluster {
  const made = new BarrierCluster({ config: config(members), random: () => 0.5, ...options });
  made.startAll();
  return made;
}

describe('checkpoints by one VRA', () => {
  it('marks and seals all streams in one step and holds nothing', () => {
    const one = cluster({ h1: ['vm1', 'vm2'] });
    one.runFor(3500);
    expect(one.listed()).toEqual([1, 2, 3, 4]);
    expect(one.holdsMs).toEqual([]);
    expect(one.node('h1').barrier?.status()).toMatchObject({ isLeading: true, sealedCount: 4, voidCount: 0 });
  });

  it('seals nothing that the host does not confirm, and nothing while a stream does not replicate', () => {
    const one = cluster({ h1: ['vm1', 'vm2'] });
    one.runFor(100);
    one.isCaptureConfirmed = false;
    one.runFor(2000);
    one.isCaptureConfirmed = true;
    one.vm('vm2').isReplicating = false;
    one.runFor(2000);
    expect(one.listed()).toEqual([1]);
    expect(one.vm('vm1').stream.filter((entry) => entry.type === 'marker')).toHaveLength(3);
    expect(one.node('h1').barrier?.status().lastVoidReason).toContain('not replicating');
    one.vm('vm2').isReplicating = true;
    one.runFor(2000);
    expect(one.node('h1').barrier?.status().lastVoidReason).toBeNull();
  });

  it('takes a new term after a restart, so that no number comes twice', () => {
    const one = cluster({ h1: ['vm1'] });
    one.runFor(1500);
    one.crash('h1');
    one.start('h1');
    one.runFor(500);
    expect(one.listed()).toEqual([1, 2, checkpointIdOf({ term: 2, index: 1 })]);
  });

  it('numbers above what a journal holds when its vote was lost, whenever it hears of that', () => {
    const one = cluster({ h1: ['vm1'] });
    one.runFor(1500);
    one.crash('h1');
    one.start('h1');
    one.runFor(500);
    const newest = checkpointIdOf({ term: 2, index: 1 });
    expect(one.listed().at(-1)).toBe(newest);
    for (const delayMs of [0, 30, 700]) {
      const before = one.listed().at(-1) ?? 0;
      one.crash('h1');
      one.node('h1').vote = null;
      one.start('h1');
      one.runFor(delayMs);
      one.take('h1', { type: 'numberSeen', checkpointId: before });
      one.runFor(500);
      expect(one.listed().at(-1)).toBeGreaterThan(before);
      expect(one.node('h1').barrier?.status()).toMatchObject({ isLeading: true, term: termOf(before) + 1 });
    }
  });

  it('goes on in its term when a journal shows what it made itself, and when a peer names a number that this version cannot have', () => {
    const one = cluster({ h1: ['vm1'] });
    one.runFor(1500);
    one.take('h1', { type: 'numberSeen', checkpointId: 2 });
    one.take('h1', { type: 'numberSeen', checkpointId: checkpointIdOf({ term: firstTermOf(2), index: 1 }) });
    one.take('h1', { type: 'numberSeen', checkpointId: Number.MAX_SAFE_INTEGER });
    one.runFor(1000);
    expect([one.listed(), one.node('h1').barrier?.status().term]).toEqual([[1, 2, 3], 1]);
  });

  it('makes a tagged checkpoint at once and answers with its number', () => {
    const one = cluster({ h1: ['vm1'] });
    one.runFor(300);
    one.take('h1', { type: 'insertRequested', requestId: 7, tag: 'before the upgrade', kind: 'tagged' });
    one.runFor(20);
    expect(one.answers.get(7)).toBe('sealed 2');
  });
});

describe('checkpoints over several VRAs', () => {
  it('the first member leads; holds end with its release', () => {
    const two = cluster(TWO, { delayMsMax: 4 });
    two.runFor(2500);
    expect(two.leaders()).toEqual(['h1']);
    expect(two.listed().length).toBeGreaterThanOrEqual(3);
    expect(Math.max(...two.holdsMs)).toBeLessThan(10);
    expect(two.node('h2').barrier?.status()).toMatchObject({ leaderVraId: 'h1', isLeading: false, voidCount: 0 });
  });

  it('a slow answer voids the checkpoint: every hold ends at its bound and nothing is sealed', () => {
    const two = cluster(TWO);
    two.runFor(1200);
    const before = two.listed();
    const slow = cluster(TWO, { delayMsMax: 140 }); // 70 ms one way
    slow.runFor(5000);
    expect(before.length).toBeGreaterThan(0);
    expect(slow.listed()).toEqual([]);
    expect(Math.max(...slow.holdsMs)).toBeLessThanOrEqual(50);
    expect(slow.node('h1').barrier?.status().voidCount).toBeGreaterThan(2);
  });

  it('one stream that cannot be marked releases everyone at once', () => {
    const two = cluster(TWO);
    two.vm('vm3').isReplicating = false;
    two.runFor(2500);
    expect(two.listed()).toEqual([]);
    expect(Math.max(...two.holdsMs)).toBeLessThan(5);
    two.vm('vm3').isReplicating = true;
    two.runFor(1500);
    expect(two.listed()).toHaveLength(1);
  });

  it('nobody holds while a member is out of reach, requests are void with its name, and checkpoints come back with it', () => {
    const two = cluster(TWO);
    two.runFor(1200);
    const listed = two.listed().length;
    two.cut('h1', 'h2');
    const holds = two.holdsMs.length;
    two.take('h1', { type: 'insertRequested', requestId: 1, tag: 't', kind: 'tagged' });
    two.runFor(10_000);
    expect(two.answers.get(1)).toContain('h2');
    expect(two.holdsMs).toHaveLength(holds);
    expect(two.leaders()).toEqual(['h1']);
    two.connect('h1', 'h2');
    two.runFor(100);
    expect(two.listed().length).toBe(listed + 1);
  });

  it('a request to a VRA that does not lead is void', () => {
    const two = cluster(TWO);
    two.runFor(500);
    two.take('h2', { type: 'insertRequested', requestId: 1, tag: 't', kind: 'tagged' });
    expect(two.answers.get(1)).toContain('does not lead');
  });

  it('a request during a hold waits for its end, each gets its own checkpoint', () => {
    const two = cluster(TWO, { delayMsMax: 10 });
    two.runFor(500);
    for (const requestId of [1, 2, 3]) two.take('h1', { type: 'insertRequested', requestId, tag: `t${requestId}`, kind: 'tagged' });
    two.runFor(200);
    const ids = [1, 2, 3].map((requestId) => Number(two.answers.get(requestId)?.replace('sealed ', '')));
    expect(two.listed()).toEqual(expect.arrayContaining(ids));
    expect(new Set(ids).size).toBe(3);
  });
});

describe('succession', () => {
  it('a silent leader is followed by the next in the order, in the next term; the old one steps down when it speaks again', () => {
    const three = cluster(THREE);
    three.runFor(1500);
    const leader = three.node('h1');
    const engine = leader.barrier;
    leader.barrier = undefined; // stands still, connections stay
    three.runFor(5000);
    expect(three.leaders()).toEqual(['h2']);
    expect(three.node('h2').barrier?.status().term).toBe(2);
    leader.barrier = engine;
    three.take('h1', { type: 'tick' });
    three.runFor(2500);
    expect(three.leaders()).toEqual(['h2']);
    expect(Math.max(...three.listed())).toBeGreaterThan(checkpointIdOf({ term: 2, index: 1 }));
  });

  it('a leader that restarts at once leads again in a new term', () => {
    const three = cluster(THREE);
    three.runFor(1500);
    three.crash('h1');
    three.runFor(100);
    three.start('h1');
    three.runFor(200);
    expect(three.leaders()).toEqual(['h1']);
    expect(Math.max(...three.listed())).toBe(checkpointIdOf({ term: 2, index: 1 }));
  });

  it('a leader that dies between mark and release leaves no checkpoint and no hold behind', () => {
    const two = cluster(TWO, { delayMsMax: 8 });
    two.runFor(990);
    const before = two.listed();
    for (let step = 0; step < 40 && two.node('h2').heldSinceMs === undefined; step += 1) two.runFor(1);
    expect(two.node('h2').heldSinceMs).toBeDefined();
    two.crash('h1');
    two.runFor(1);
    expect(two.node('h2').heldSinceMs).toBeUndefined();
    expect(two.listed()).toEqual(before);
  });

  it('a new version leads in its own row of terms, whatever terms the old one reached', () => {
    const two = cluster(TWO);
    two.runFor(1500);
    two.reconfigure(config({ h2: ['vm3'], h1: ['vm1', 'vm2'] }, 2));
    two.runFor(500);
    expect(two.leaders()).toEqual(['h2']);
    expect(Math.max(...two.listed())).toBe(checkpointIdOf({ term: firstTermOf(2), index: 1 }));
  });
});

describe('a participant', () => {
  /** h2 of two, driven by hand. */
  function participant() {
    const two = new BarrierCluster({ config: config(TWO), random: () => 0 });
    two.start('h2');
    const base = { type: 'barrier', vpgId: 'vpg', version: 1, epoch: 1 } as const;
    const say = (message: object): void => two.take('h2', { type: 'message', fromVraId: 'h1', message: { ...base, ...message } } as never);
    const mark = (term: number, index: number, more: object = {}): void =>
      say({ term, kind: 'mark', checkpointId: checkpointIdOf({ term, index }), atMs: 1, elapsedMs: 0, tag: null, checkpointKind: 'automatic', vmIds: ['vm1', 'vm2', 'vm3'], ...more });
    two.take('h2', { type: 'peerUp', vraId: 'h1' });
    say({ term: 5, kind: 'claim' });
    two.runFor(20);
    const markers = (): number => two.vm('vm3').stream.filter((entry) => entry.type === 'marker').length;
    return { two, say, mark, markers };
  }

  it('obeys a term only after its vote is durable', () => {
    const { two, mark, markers, say } = participant();
    expect(two.node('h2').vote).toEqual({ term: 5, leaderVraId: 'h1' });
    mark(6, 1);
    expect(markers()).toBe(0);
    two.runFor(20);
    say({ term: 6, kind: 'beat' });
    mark(6, 2);
    expect(markers()).toBe(1);
  });

  it('refuses lower terms, another version, another epoch, another set of VMs, and numbers that do not grow', () => {
    const { mark, markers } = participant();
    mark(4, 9);
    mark(5, 1, { version: 2 });
    mark(5, 1, { epoch: 2 });
    mark(5, 1, { vmIds: ['vm1', 'vm3'] });
    mark(5, 1, { checkpointId: checkpointIdOf({ term: 6, index: 1 }) });
    expect(markers()).toBe(0);
    mark(5, 2);
    mark(5, 2);
    mark(5, 1);
    expect(markers()).toBe(1);
  });

  it('keeps the deadline of the first hold when a newer checkpoint replaces an open one', () => {
    const { two, mark } = participant();
    mark(5, 1);
    two.runFor(40);
    mark(5, 2);
    two.runFor(15);
    expect(two.node('h2').heldSinceMs).toBeUndefined();
    expect(two.holdsMs).toEqual([50]);
  });

  it('never seals after the bound, nor for a release of a checkpoint that is not the open one', () => {
    const { two, mark, say } = participant();
    mark(5, 1);
    say({ term: 5, kind: 'release', checkpointId: checkpointIdOf({ term: 5, index: 2 }) });
    expect(two.node('h2').heldSinceMs).toBeDefined();
    two.runFor(60);
    say({ term: 5, kind: 'release', checkpointId: checkpointIdOf({ term: 5, index: 1 }) });
    two.runFor(100);
    expect(two.vm('vm3').stream.some((entry) => entry.type === 'seal')).toBe(false);
  });

  it('a release that is handled at the very deadline is too late', () => {
    const { two, mark } = participant();
    mark(5, 1);
    const deadlineMs = two.nowMs + 50;
    const late: BarrierEvent = {
      type: 'message', fromVraId: 'h1', nowMs: deadlineMs, wallMs: 0,
      message: { type: 'barrier', vpgId: 'vpg', version: 1, epoch: 1, term: 5, kind: 'release', checkpointId: checkpointIdOf({ term: 5, index: 1 }) },
    };
    const effects: { type: string }[] = [];
    two.node('h2').barrier?.step(late, effects as never);
    expect(effects.map((effect) => effect.type)).not.toContain('placeSeals');
    expect(effects.map((effect) => effect.type)).toContain('release');
  });
});
