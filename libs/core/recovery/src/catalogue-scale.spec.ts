import { describe, expect, it } from '@jest/globals';
import { CheckpointCatalogue, type HeldCheckpoint } from './checkpoint-catalogue.js';
import { SharedVmSets } from './shared-vm-sets.js';

const COUNT = 500_000;
let reads = 0;

/** Counts how often anybody looks at its number: what work costs, whatever the machine. */
class Counted implements HeldCheckpoint {
  readonly epoch = 1;
  readonly term = 1;
  readonly vmIds: readonly string[] = ['vm'];
  readonly atMs = 0;
  readonly tag = null;
  readonly kind = 'automatic' as const;

  constructor(private readonly id: number) {}

  get checkpointId(): number {
    reads += 1;
    return this.id;
  }
}

describe(`a catalogue of ${COUNT} checkpoints`, () => {
  const catalogue = new CheckpointCatalogue<Counted>();
  const apply = (held: readonly Counted[], dropped: readonly number[] = []): void => void catalogue.apply('vm', { isWhole: false, held, dropped });
  apply(Array.from({ length: COUNT }, (_, index) => new Counted(2 * index + 1)));

  const cost = (act: () => void): number => {
    reads = 0;
    act();
    return reads;
  };

  it('takes one more, drops the oldest, and says which is the newest, without looking at the others', () => {
    const newest = 2 * COUNT + 1;
    expect(cost(() => apply([new Counted(newest)]))).toBeLessThan(30);
    expect(cost(() => apply([], [1]))).toBeLessThan(30);
    expect(cost(() => void catalogue.latest)).toBe(0);
    expect([catalogue.earliest?.checkpointId, catalogue.latest?.checkpointId]).toEqual([3, newest]);
  });

  it('takes a late one into its place, and drops one from the middle, the same way', () => {
    expect(cost(() => apply([new Counted(COUNT + 2)]))).toBeLessThan(30);
    expect(cost(() => apply([], [COUNT + 1]))).toBeLessThan(30);
    const ids = catalogue.listed().map(({ checkpointId }) => checkpointId);
    expect(ids).toHaveLength(COUNT);
    expect(ids.every((id, index) => index === 0 || id > (ids[index - 1] ?? 0))).toBe(true);
  });

  it('drops thousands at the beginning one by one', () => {
    for (let id = 3; id < 20_003; id += 2) apply([], [id]);
    expect(catalogue.earliest?.checkpointId).toBe(20_003);
  });
});

describe('a checkpoint over 50 VMs', () => {
  const ids = Array.from({ length: 50 }, (_, vm) => `vm-${vm}`);
  let looks = 0;
  /** Counts how often anybody looks at one of its names. */
  const counted = (): readonly string[] => new Proxy([...ids], {
    get(names: string[], key): unknown {
      if (typeof key === 'string' && /^\d+$/.test(key)) looks += 1;
      return Reflect.get(names, key) as unknown;
    },
  });
  const news = (vmIds: readonly string[]) => ({ isWhole: false, held: [{ checkpointId: 1, epoch: 1, term: 1, vmIds, atMs: 0, tag: null, kind: 'automatic' as const }], dropped: [] });

  it.each([
    { kind: 'each with names of its own', namesOf: () => counted(), looksMax: 5 * ids.length ** 3 },
    { kind: 'with shared names', namesOf: (sets: SharedVmSets) => sets.of(counted()), looksMax: 5 * ids.length ** 2 },
  ])('is listed with the last of them, $kind', ({ namesOf, looksMax }) => {
    const catalogue = new CheckpointCatalogue();
    const sets = new SharedVmSets();
    looks = 0;
    const added = ids.map((vmId) => catalogue.apply(vmId, news(namesOf(sets))).added.length);
    expect(added).toEqual([...ids.slice(1).map(() => 0), 1]);
    expect(looks).toBeLessThan(looksMax);
  });
});
