import { describe, expect, it } from '@jest/globals';
import { BLOCK_BYTES } from '@tidemark/base';
import fc from 'fast-check';
import { isSameImage } from './testing/model-journal.js';
import { ModelWorld } from './testing/model-world.js';

type Step = readonly [kind: number, a: number, b: number];

/** Action and how often it is drawn. Doing goes before breaking, or nothing would ever be in flight. */
type Act = (world: ModelWorld, a: number, b: number) => void;
const ACTIONS: readonly (readonly [number, Act])[] = [
  [10, (world, a, b) => world.write(a % 2, a * 512, 1 + (b % (2 * BLOCK_BYTES)), b % 7 === 0 ? 0 : 1 + (a + b) % 250)],
  [4, (world, a, b) => world.write(0, BLOCK_BYTES * 2 + (a % 3) * 512, 512, 1 + (b % 250))],
  [6, (world, a) => world.host.applyLocal(a)],
  [12, (world, a) => world.host.endLocal(a, true)],
  [1, (world, a) => world.host.endLocal(a, false)],
  [4, (world) => world.connect()],
  [10, (world) => world.pullFrame()],
  [12, (world, a) => world.deliverToReceiver(a)],
  [5, (world, a) => world.begin(a)],
  [8, (world, a) => world.commit(a)],
  [12, (world) => world.deliverToSender()],
  [2, (world, a) => world.cut(a)],
  [8, (world) => world.startRead()],
  [6, (world, a) => world.performRead(a)],
  [8, (world, a) => world.endRead(a, true)],
  [1, (world, a) => world.endRead(a, false)],
  [6, (world) => world.startCompare()],
  [4, (world, a) => world.hashLocal(a)],
  [4, (world, a) => world.hashRemote(a)],
  [5, (world, a) => world.endCompare(a, true)],
  [1, (world, a) => world.endCompare(a, false)],
  [1, (world) => world.forceSync()],
  [4, (world) => world.placeMarker()],
  [4, (world) => world.placeSeal()],
  [1, (world) => world.crashReceiver()],
  [1, (world, a) => world.setFull(a % 2 === 0)],
  [1, (world) => world.refuseOnce()],
  [1, (world) => world.sender.retrySyncReads()],
];
const RARE: readonly Act[] = [(world) => world.forceSync(), (world) => world.crashSender(), (world, a) => world.loseDurable(a), (world, a) => world.cut(a)];

/** How often something goes on by itself, and how often the journal commits, against each action above: without it most worlds are never connected for long. */
const PACES = { stormy: [0, 0], steady: [60, 10], slowJournal: [100, 0], calm: [120, 60] } as const;
const ALL_ACTIONS = ACTIONS.flatMap(([weight, act]) => Array.from({ length: weight }, () => act));
const CALM_ACTIONS = ACTIONS.filter(([weight]) => weight > 2).flatMap(([weight, act]) => Array.from({ length: weight }, () => act));

function drawnFrom(pace: keyof typeof PACES): readonly Act[] {
  const [advances, commits] = PACES[pace];
  const progress: Act[] = Array.from({ length: advances }, () => (world: ModelWorld, a: number) => world.advance(a));
  const durable: Act[] = Array.from({ length: commits }, () => (world: ModelWorld, a: number) => world.commit(a));
  return [...(pace === 'stormy' ? ALL_ACTIONS : CALM_ACTIONS), ...progress, ...durable];
}

const steps: fc.Arbitrary<Step[]> = fc.array(fc.tuple(fc.nat(10_000), fc.nat(5000), fc.nat(20_000)), { minLength: 50, maxLength: 600, size: 'max' });

interface RunOptions {
  readonly budgetBytes: number;
  readonly isPreseeded: boolean;
  readonly isSettledFirst: boolean;
  readonly rareEvery: number;
  readonly pace: keyof typeof PACES;
}

/** Half of the worlds start after the initial sync: what happens then is rarer and matters most. */
function run(list: readonly Step[], options: RunOptions): ModelWorld {
  const drawn = drawnFrom(options.pace);
  const world = new ModelWorld(options);
  if (options.isSettledFirst) expect(world.settle()).toBe(true);
  list.forEach(([kind, a, b], index) => {
    if (options.rareEvery > 0 && index % options.rareEvery === options.rareEvery - 1) RARE[a % RARE.length]?.(world, b, a);
    else drawn[kind % drawn.length]?.(world, a, b);
    world.check();
  });
  return world;
}

describe('splitter, sender and receiver over a link that breaks', () => {
  it('every image at a marker is the prefix, and after settling the mirror is the protected disk', () => {
    let markerCount = 0;
    let equalBlockCount = 0;
    fc.assert(
      fc.property(
        steps,
        fc.constantFrom(14_000, 40_000, 400_000),
        fc.boolean(),
        fc.constantFrom(0, 0, 0, 41, 97, 211),
        fc.constantFrom<keyof typeof PACES>('stormy', 'steady', 'slowJournal', 'calm'),
        fc.boolean(),
        (list, budgetBytes, isSettledFirst, rareEvery, pace, isPreseeded) => {
          const world = run(list, { budgetBytes, isPreseeded, isSettledFirst, rareEvery, pace });
          expect(world.settle()).toBe(true);
          world.check();
          expect(world.problems).toEqual([]);
          expect(isSameImage(world.host.captured, world.host.disk)).toBe(true);
          expect(isSameImage(world.journal.image, world.host.disk)).toBe(true);
          markerCount += world.markerCount;
          equalBlockCount += world.equalBlockCount;
        },
      ),
      { numRuns: 160, endOnFailure: true },
    );
    expect(markerCount).toBeGreaterThan(100);
    expect(equalBlockCount).toBeGreaterThan(100);
  }, 60_000);
});
