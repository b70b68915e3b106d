import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { run } from './testing/journal-world.js';

describe('a journal on a disk that loses, tears and reorders what was not synced', () => {
  it('keeps every announced write and checkpoint over any crash, and every image equals the model', () => {
    let listed = 0;
    let crashes = 0;
    let retired = 0;
    let changes = 0;
    let appliesBeside = 0;
    fc.assert(fc.property(fc.integer(), (seed) => {
      const world = run(seed, 150);
      listed += world.listed.size;
      crashes += world.crashes;
      retired += world.retired.size;
      changes += world.changes;
      appliesBeside += world.appliesBeside;
    }), { numRuns: 20 });
    // The scenario must not have become harmless.
    expect([listed > 60, crashes > 60, retired > 30, changes > 8, appliesBeside > 2]).toEqual([true, true, true, true, true]);
  });

  it('the same with a disk that is full now and then', () => {
    fc.assert(fc.property(fc.integer(), (seed) => {
      run(seed, 150, (random) => (effect) => (random() < 0.05 && effect.type !== 'truncateSegment' && effect.type !== 'sync' && effect.type !== 'removeSegment' ? 'noSpace' : undefined));
    }), { numRuns: 20 });
  });

  it('the same with a disk that fails for good at some moment: broken, and what was listed stays', () => {
    let broken = 0;
    fc.assert(fc.property(fc.integer(), (seed) => {
      const world = run(seed, 150, (random) => (effect) => (random() < 0.01 && (effect.type === 'append' || effect.type === 'sync') ? 'io' : undefined));
      if (world.bench.journal.state.phase === 'broken') broken += 1;
    }), { numRuns: 20 });
    expect(broken).toBeGreaterThan(5);
  });
});
