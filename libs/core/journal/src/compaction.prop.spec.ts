import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { randomFrom } from './testing/journal-disk.js';
import { World } from './testing/journal-world.js';
import type { KeptImages } from './version-sweep.js';

/** Much thinning, much compaction, restarts in between; volumes come, grow and go meanwhile. */
function thinned(seed: number, imagesOf: (images: KeptImages) => KeptImages = (images) => images): World {
  const world = new World(randomFrom(seed));
  world.imagesOf = imagesOf;
  for (let i = 0; i < 12; i += 1) {
    for (let k = 0; k < 14; k += 1) {
      if (world.pick(3) === 0) world.checkpoint();
      else world.writes();
    }
    world.bench.settle();
    world.note();
    if (world.pick(3) > 0) world.thin();
    if (world.pick(8) === 0) world.changeVolumes();
    if (world.pick(4) === 0) world.retireAndApply();
    world.bench.settle();
    const before = listOf(world);
    world.compact();
    expect(listOf(world)).toEqual(before);
    world.check(); // every image is what the stream said, as it was before
    if (world.pick(4) === 0) world.crash();
  }
  world.crash();
  world.bench.settle();
  world.check();
  return world;
}

/** Arrival and volumes of every checkpoint. */
function listOf(world: World): readonly unknown[] {
  return world.bench.journal.checkpoints.map((checkpoint) => [checkpoint, world.bench.journal.volumesAt(checkpoint.markerSeq)]);
}

describe('compaction of a thinned journal', () => {
  it('leaves the image at every kept checkpoint, its arrival and its volumes as they were, over restarts, applies and further thinning', () => {
    let thinnedCount = 0;
    let freedBytes = 0;
    let writtenBytes = 0;
    fc.assert(fc.property(fc.integer(), (seed) => {
      const world = thinned(seed);
      thinnedCount += world.thinned;
      freedBytes += world.freedBytes;
      writtenBytes += world.bench.journal.journalBytes + world.freedBytes;
    }), { numRuns: 12 });
    expect([thinnedCount > 80, freedBytes > writtenBytes / 8]).toEqual([true, true]);
  }, 120_000);

  // Each would lose what a checkpoint shows; the test above would pass without them.
  it.each<[string, (images: KeptImages) => KeptImages]>([
    ['forgets that a kept checkpoint shows a version of its own', (images) => ({ ...images, markerSeqs: images.markerSeqs.filter((_, i) => i % 3 !== 1) })],
    ['drops the marker of a kept checkpoint', (images) => ({ ...images, checkpointIds: new Set([...images.checkpointIds].slice(1)) })],
    ['takes what stands in the journal for what the mirrors hold', (images) => ({ ...images, baseSeqs: images.baseSeqs.map((seq) => seq + 20) })],
  ])('is found out when it %s', (_, imagesOf) => {
    let found = 0;
    for (let seed = 1; seed <= 4; seed += 1) {
      try {
        thinned(seed, imagesOf);
      } catch {
        found += 1;
      }
    }
    expect(found).toBeGreaterThan(1);
  }, 120_000);
});
