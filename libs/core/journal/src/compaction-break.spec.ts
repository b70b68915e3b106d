import { describe, expect, it } from '@jest/globals';
import { decodeSegmentHeader } from './codec.js';
import { crc32cTable } from '@tidemark/base/testing';
import { JournalBench } from './testing/journal-bench.js';
import { randomFrom } from './testing/journal-disk.js';
import { World } from './testing/journal-world.js';

const OPTIONS = { segmentBytes: 12 * 1024 };

describe('a compacted segment that rots', () => {
  it('ends the journal before the damage; the new generation continues from there, and is found again at every start', () => {
    const world = new World(randomFrom(7));
    for (let i = 0; i < 120; i += 1) {
      world.writes();
      if (i % 2 === 0) world.checkpoint();
      world.bench.settle();
    }
    world.thin();
    world.bench.settle();
    world.compact();
    const { disk } = world;
    const compacted = [...disk.files.keys()].filter((segment) => decodeSegmentHeader(disk.files.get(segment)?.bytes ?? new Uint8Array(), crc32cTable)?.compacted !== undefined);
    const victim = compacted[Math.floor(compacted.length / 2)] ?? 0;
    const file = disk.files.get(victim);
    if (file === undefined) throw new Error('a compacted segment');
    const whole = world.bench.journal.checkpoints.map(({ checkpointId }) => checkpointId);
    file.bytes[file.bytes.byteLength - 100] = (file.bytes[file.bytes.byteLength - 100] ?? 0) ^ 1;

    const broken = new JournalBench(disk, OPTIONS);
    expect(broken.recovered.corruption).toContain(`segment ${victim}`);
    broken.settle();
    const kept = broken.journal.checkpoints.map(({ checkpointId }) => checkpointId);
    expect(kept.length).toBeGreaterThan(0);
    expect(whole.slice(0, kept.length)).toEqual(kept);
    for (let start = 0; start < 2; start += 1) {
      const again = new JournalBench(disk, OPTIONS);
      expect([again.recovered.corruption, again.recovered.cut, again.recovered.tornTail]).toEqual([undefined, undefined, undefined]);
      expect(again.journal.segments.at(-1)).toMatchObject({ generation: 2 });
      again.settle();
      expect(again.journal.checkpoints.map(({ checkpointId }) => checkpointId)).toEqual(kept);
    }
  });
});
