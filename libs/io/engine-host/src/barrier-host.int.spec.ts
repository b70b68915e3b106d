import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { checkpointIdOf, firstTermOf, type BarrierMessage } from '@tidemark/checkpoint';
import { BarrierHost, type BarrierSurroundings } from './barrier-host.js';
import type { BarrierSpec } from './types.js';
import { VoteStore } from './vote-store.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const VPG = randomUUID();
const vra = (vraId: string, controlPort = 1): BarrierSpec['members'][number]['vra'] => ({ vraId, address: '127.0.0.1', controlPort, dataPort: 2 });
const specOf = (change: Partial<BarrierSpec> = {}): BarrierSpec => ({
  vpgId: VPG, version: 2, epoch: 1, intervalMs: 60_000, members: [{ vra: vra('a'), vmIds: ['vm-a'] }, { vra: vra('b'), vmIds: ['vm-b'] }], ...change,
});

let folder: string;
let host: BarrierHost | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-barrier-'));
});
afterEach(async () => {
  host?.close();
  host = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** VRA `b` under test; `a` is played by the test and leads. */
class Stage {
  readonly calls: string[] = [];
  readonly sent: BarrierMessage[] = [];

  surroundings(votes: VoteStore): BarrierSurroundings {
    return {
      selfVraId: 'b', votes, log: silent,
      send: (_, message) => void this.sent.push(message),
      isPeerUp: () => true,
      hold: (_, vmIds) => void this.calls.push(`hold ${vmIds.join()}`),
      release: (_, vmIds) => void this.calls.push(`release ${vmIds.join()}`),
      placeMarkers: () => undefined,
      placeSeals: () => {
        this.calls.push('seal');
        return true;
      },
      confirmCapture: () => Promise.resolve(undefined),
    };
  }
}

const until = async (what: string, probe: () => boolean, timeoutMs = 5000): Promise<void> => {
  const deadlineMs = performance.now() + timeoutMs;
  while (!probe()) {
    if (performance.now() > deadlineMs) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
};

const from = (term: number, body: object): BarrierMessage => ({ type: 'barrier', vpgId: VPG, version: 2, epoch: 1, term, ...body }) as BarrierMessage;
const markOf = (term: number): Extract<BarrierMessage, { kind: 'mark' }> =>
  from(term, { kind: 'mark', checkpointId: checkpointIdOf({ term, index: 1 }), atMs: 1, elapsedMs: 0, tag: null, checkpointKind: 'automatic', vmIds: ['vm-a', 'vm-b'] }) as Extract<BarrierMessage, { kind: 'mark' }>;

describe('the host of a barrier', () => {
  it('never seals a checkpoint whose hold it has ended, whatever configuration comes late', async () => {
    const stage = new Stage();
    const barrier = new BarrierHost(specOf(), stage.surroundings(new VoteStore(join(folder, 'votes.json'))));
    host = barrier;
    const term = firstTermOf(2);
    barrier.message('a', from(term, { kind: 'claim' }));
    await until('b follows', () => stage.sent.some(({ kind }) => kind === 'follows'));
    const mark = markOf(term);
    stage.calls.length = 0;
    barrier.message('a', mark);
    expect(stage.calls).toEqual(['hold vm-b']);
    // Late: an older version of the document, and one that differs in an address only.
    barrier.configure(specOf({ version: 1 }));
    barrier.configure(specOf({ members: [{ vra: vra('a', 9), vmIds: ['vm-a'] }, { vra: vra('b'), vmIds: ['vm-b'] }] }));
    expect(stage.calls).toEqual(['hold vm-b']);
    barrier.message('a', from(term, { kind: 'release', checkpointId: mark.checkpointId }));
    await until('the seal', () => stage.calls.includes('seal'));
    expect(stage.calls.toSorted()).toEqual(['hold vm-b', 'release vm-b', 'seal']);
  });

  it('ends the hold of the VMs that a new configuration takes away', async () => {
    const stage = new Stage();
    const barrier = new BarrierHost(specOf(), stage.surroundings(new VoteStore(join(folder, 'votes.json'))));
    host = barrier;
    const term = firstTermOf(2);
    barrier.message('a', from(term, { kind: 'claim' }));
    await until('b follows', () => stage.sent.some(({ kind }) => kind === 'follows'));
    stage.calls.length = 0;
    barrier.message('a', markOf(term));
    barrier.configure(specOf({ version: 3, members: [{ vra: vra('a'), vmIds: ['vm-a', 'vm-b'] }, { vra: vra('b'), vmIds: [] }] }));
    expect(stage.calls).toEqual(['hold vm-b', 'release vm-b']);
  });

  it('tries again to make its vote durable: a full disk for a moment must not end all checkpoints', async () => {
    const stage = new Stage();
    await writeFile(join(folder, 'state'), 'a file where the folder should be');
    const barrier = new BarrierHost(specOf(), stage.surroundings(new VoteStore(join(folder, 'state', 'votes.json'))));
    host = barrier;
    barrier.message('a', from(firstTermOf(2), { kind: 'claim' }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stage.sent.some(({ kind }) => kind === 'follows')).toBe(false);
    await rm(join(folder, 'state'));
    await until('b follows', () => stage.sent.some(({ kind }) => kind === 'follows'));
  });
});
