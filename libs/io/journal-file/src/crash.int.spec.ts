import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execPath } from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { MemoryVolume } from '@tidemark/volume';
import { FileBench, readAll } from './testing/fixture.js';

const WRITER = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist', 'testing', 'crash-writer.js');
const BLOCKS = 256;

interface Heard {
  durableSeq: number;
  scratchRound: number;
  /** Highest round that ends at or below a stream position. */
  readonly rounds: Map<number, number>;
}

/** Runs the writer until it has said `lines` lines, then kills it. */
async function writeAndKill(folder: string, firstRound: number, lines: number): Promise<Heard> {
  const child = spawn(execPath, [WRITER, folder, String(firstRound)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const heard: Heard = { durableSeq: 0, scratchRound: 0, rounds: new Map() };
  let count = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, a, b] = line.split(' ');
    if (word === 'durable') heard.durableSeq = Number(a);
    if (word === 'scratch') heard.scratchRound = Number(a);
    if (word === 'sent') heard.rounds.set(Number(b), Number(a));
    count += 1;
    if (count === lines) child.kill('SIGKILL');
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
  return heard;
}

/** What round a block was last written in, at the checkpoint behind `round`. */
function expectedRound(block: number, round: number): number {
  for (let r = round; r > 0 && r > round - 17; r -= 1) {
    const first = (r * 16) % BLOCKS;
    if (block >= first && block < first + 16) return r;
  }
  return 0;
}

describe('a process that is killed while it writes', () => {
  it('finds everything it had announced, cycle after cycle, in journal and scratch', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-crash-'));
    let firstRound = 1;
    try {
      for (const lines of [60, 133, 201]) {
        const heard = await writeAndKill(folder, firstRound, lines);
        const bench = await FileBench.make({ folder, mirrors: [new MemoryVolume({ sizeBytes: BLOCKS * 4096 })], segmentBytes: 512 * 1024 });
        const { state, durableSeq } = bench.journal.stats();
        expect([state.phase, durableSeq >= heard.durableSeq]).toEqual(['open', true]);
        await expectCheckpoints(bench, heard);
        await expectScratch(bench, heard);
        firstRound = (bench.journal.checkpoints().at(-1)?.checkpointId ?? 0) + 1;
        await bench.journal.close();
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

async function expectCheckpoints(bench: FileBench, heard: Heard): Promise<void> {
  const ids = new Set(bench.journal.checkpoints().map(({ checkpointId }) => checkpointId));
  const announced = [...heard.rounds].filter(([seq]) => seq <= heard.durableSeq).map(([, round]) => round);
  expect(announced.filter((round) => !ids.has(round))).toEqual([]);
  const newest = bench.journal.checkpoints().at(-1)?.checkpointId ?? 0;
  const view = await bench.journal.openView({ checkpointId: newest });
  const contents = new Uint32Array((await readAll(view.volumes[0] ?? new MemoryVolume({ sizeBytes: 0 }))).buffer);
  const found = Array.from({ length: BLOCKS }, (_, block) => contents[block * 1024]);
  expect(found).toEqual(Array.from({ length: BLOCKS }, (_, block) => expectedRound(block, newest)));
  await view.close();
}

/** A write that was done is in the file, and a killed process does not take the page cache with it. */
async function expectScratch(bench: FileBench, heard: Heard): Promise<void> {
  if (heard.scratchRound === 0) return;
  const oldest = bench.journal.checkpoints()[0]?.checkpointId ?? 0;
  const view = await bench.journal.openView({ checkpointId: oldest, scratchFolder: join(bench.folder, 'scratch') });
  const block = new Uint8Array(4096);
  await view.volumes[0]?.read((heard.scratchRound % 200) * 4096, block);
  expect(new Uint32Array(block.buffer)[1023]).toBe(heard.scratchRound);
  await view.close();
}
