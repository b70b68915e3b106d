import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { JournalFile } from '@tidemark/journal-file';
import { CheckpointPins } from './checkpoint-pins.js';
import type { Logger } from './types.js';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-pins-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const QUIET: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined };

async function pinned(): Promise<{ readonly pins: CheckpointPins; readonly folder: string; readonly inForce: Map<string, number>; readonly journal: { clockMs: number } }> {
  const folder = join(root, 'journal');
  await mkdir(folder);
  const inForce = new Map<string, number>();
  const journal = { clockMs: 0, holds: () => true, pin: (id: number, key: string) => inForce.set(key, id), unpin: (key: string) => inForce.delete(key) };
  const pins = new CheckpointPins(folder, 'vpg/vm', QUIET);
  pins.attach(journal as unknown as JournalFile);
  await pins.put({ name: 'backup', checkpointId: 5, keepForMs: 1000 });
  await pins.put({ name: 'restore', checkpointId: 7, keepForMs: null });
  return { pins, folder, inForce, journal };
}

describe('a pin that has expired', () => {
  it('is dropped, in the file too; others stay', async () => {
    const { pins, folder, inForce, journal } = await pinned();
    journal.clockMs = 999;
    await pins.tick();
    expect([...inForce.values()]).toEqual([5, 7]);
    expect(pins.list.map(({ keepForMs }) => keepForMs)).toEqual([1, null]);
    journal.clockMs = 1000;
    await pins.tick();
    expect([...inForce.values()]).toEqual([7]);
    expect(await readFile(join(folder, 'pins.json'), 'utf8')).not.toContain('backup');
  });

  it('holds nothing any more although its file cannot be written, and ends again after a restart', async () => {
    const { pins, folder, inForce, journal } = await pinned();
    const kept = await readFile(join(folder, 'pins.json'));
    await rm(folder, { recursive: true });
    await writeFile(folder, 'no folder');
    journal.clockMs = 1000;
    await pins.tick();
    expect([...inForce.values()]).toEqual([7]);
    expect(pins.lowest?.name).toBe('restore');
    await rm(folder);
    await mkdir(folder);
    await writeFile(join(folder, 'pins.json'), kept);
    const restarted = new CheckpointPins(folder, 'vpg/vm', QUIET);
    await restarted.load();
    restarted.attach(journal as unknown as JournalFile);
    await restarted.tick();
    expect(restarted.list.map(({ name }) => name)).toEqual(['restore']);
  });
});
