import { describe, expect, it } from '@jest/globals';
import { Lane, syncLane, type SyncKind, syncLanes } from './index.js';

describe('Lane', () => {
  it('never runs more than its limit, serves in order, survives failures', async () => {
    const lane = new Lane(2);
    const log: string[] = [];
    let running = 0;
    let runningMax = 0;
    const task = (name: string) => async (): Promise<void> => {
      running += 1;
      runningMax = Math.max(runningMax, running);
      log.push(name);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (name === 'b') throw new Error('b');
    };
    const results = await Promise.allSettled(['a', 'b', 'c', 'd', 'e'].map((name) => lane.run(task(name))));
    expect(log).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect([runningMax, results.filter(({ status }) => status === 'rejected').length]).toEqual([2, 1]);
  });
});

/** fdatasyncs that end when the test says so. */
class SlowDisk {
  readonly #lanes = syncLanes();
  readonly running: { readonly kind: SyncKind; readonly end: () => void }[] = [];
  readonly #all: Promise<void>[] = [];

  sync(kind: SyncKind): void {
    this.#all.push(this.#lanes[kind].run(async () => {
      await new Promise<void>((resolve) => this.running.push({ kind, end: resolve }));
    }));
  }

  async kinds(): Promise<string[]> {
    await settled();
    return this.running.map(({ kind }) => kind);
  }

  async end(kind: SyncKind): Promise<void> {
    this.running.splice(this.running.findIndex((sync) => sync.kind === kind), 1)[0]?.end();
    await settled();
  }

  async endAll(): Promise<void> {
    while (this.running.length > 0) {
      for (const { end } of this.running.splice(0)) end();
      await settled();
    }
    await Promise.all(this.#all);
  }
}

const settled = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

describe('the fdatasyncs of a datastore', () => {
  it('a guest does not wait for those of journals, however many and slow; nor they for guests', async () => {
    for (const [slow, other] of [['journal', 'guest'], ['guest', 'journal']] as const) {
      const disk = new SlowDisk();
      for (let i = 0; i < 20; i += 1) disk.sync(slow);
      expect(await disk.kinds()).toEqual([slow, slow]);
      for (let i = 0; i < 3; i += 1) disk.sync(other);
      // The slow ones never end: the others still go, one after the other.
      for (let i = 0; i < 3; i += 1) {
        expect(await disk.kinds()).toEqual([slow, slow, other]);
        await disk.end(other);
      }
      expect(await disk.kinds()).toEqual([slow, slow]);
      await disk.endAll();
    }
  });

  it('are three at once, and two of a kind', async () => {
    const disk = new SlowDisk();
    for (let i = 0; i < 4; i += 1) for (const kind of ['guest', 'journal'] as const) disk.sync(kind);
    expect((await disk.kinds()).length).toBe(3);
    await disk.endAll();
  });

  it('have lanes of their own on each datastore', () => {
    expect(syncLane(1, 'guest')).toBe(syncLane(1, 'guest'));
    const lanes = [syncLane(1, 'guest'), syncLane(1, 'journal'), syncLane(2, 'guest'), syncLane(2, 'journal')];
    expect(new Set(lanes).size).toBe(4);
  });
});
