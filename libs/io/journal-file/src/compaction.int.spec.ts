import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { MemoryVolume } from '@tidemark/volume';
import type { FileLayer, JournalHandle } from './file-layer.js';
import type { CompactionResult } from './index.js';
import { nodeFiles } from './node-files.js';
import { FileBench, readAll, write, zeroes } from './testing/fixture.js';

const SEGMENT_BYTES = 64 * 1024;
const BLOCKS = 24;
const ROUNDS = 26;
const benches: FileBench[] = [];

const block = (round: number, i: number): Uint8Array => new Uint8Array(4096).fill((round * 31 + i * 7 + 1) % 256);

interface Thinned {
  readonly bench: FileBench;
  readonly kept: readonly number[];
  /** Bytes of both volumes at each kept checkpoint. */
  readonly images: ReadonlyMap<number, readonly Buffer[]>;
}

/** Two volumes, written over and over, a checkpoint every round; then one in ten is left. */
async function thinned(files?: FileLayer): Promise<Thinned> {
  const mirrors = [new MemoryVolume({ sizeBytes: MiB }), new MemoryVolume({ sizeBytes: MiB })];
  const bench = await FileBench.make({ mirrors, segmentBytes: SEGMENT_BYTES, ...(files === undefined ? {} : { files }) });
  benches.push(bench);
  await bench.base();
  const ids: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    bench.send(Array.from({ length: BLOCKS / 2 }, (_, i) => write(((round * 5 + i) % BLOCKS) * 4096, block(round, i), i % 2)));
    bench.send([zeroes((round % BLOCKS) * 4096, 6144, 1), write(BLOCKS * 4096 + round * 512, new Uint8Array(512).fill(round + 1), 1)]);
    ids.push(await bench.checkpoint());
  }
  const kept = ids.filter((_, i) => i % 6 === 0 || i === ids.length - 1);
  await bench.journal.thin(ids.filter((id) => !kept.includes(id)));
  await indexed(bench);
  const images = new Map<number, readonly Buffer[]>();
  for (const id of kept) images.set(id, await imageAt(bench, id));
  return { bench, kept, images };
}

async function indexed(bench: FileBench): Promise<void> {
  while (bench.journal.stats().unindexedSegments > 0) await new Promise((resolve) => setTimeout(resolve, 2));
}

async function imageAt(bench: FileBench, checkpointId: number): Promise<readonly Buffer[]> {
  const view = await bench.journal.openView({ checkpointId });
  try {
    return await Promise.all(view.volumes.map(async (volume) => Buffer.from(await readAll(volume))));
  } finally {
    await view.close();
  }
}

async function expectImages({ bench, kept, images }: Thinned): Promise<void> {
  expect(bench.journal.checkpoints().map(({ checkpointId }) => checkpointId)).toEqual(kept);
  for (const id of kept) {
    const found = await imageAt(bench, id);
    expect([id, found.map((bytes, volume) => bytes.equals(images.get(id)?.[volume] ?? Buffer.alloc(0)))]).toEqual([id, [true, true]]);
  }
}

const compact = async (bench: FileBench, beforeSeq = Infinity): Promise<CompactionResult> =>
  await bench.journal.compact({ beforeSeq, allow: () => Promise.resolve(), shouldStop: () => false, pause: () => Promise.resolve() });

const namesOf = async ({ folder }: FileBench): Promise<string[]> => await readdir(join(folder, 'journal'));

class Died extends Error {}

/** Counts what changes files, and dies at one of these steps: from there on nothing is done any more, as after a kill. */
class DyingFiles {
  steps: string[] = [];
  /** Index of the step that is not done; Infinity: none. */
  dieAt = Infinity;
  /** What the step before which it dies throws: a process that lives on sees it. */
  error: Error = new Died('killed');
  isOnce = false;
  #isDead = false;
  /** Written since they were synced: must not get another name. */
  readonly #unsynced = new Set<string>();

  readonly layer: FileLayer = {
    ...nodeFiles,
    open: async (path, mode) => this.#handle(path, await (mode === 'create' ? this.#step(`create ${path}`, async () => await nodeFiles.open(path, mode)) : nodeFiles.open(path, mode))),
    remove: async (path) => await this.#step(`remove ${path}`, async () => await nodeFiles.remove(path)),
    rename: async (from, to) => await this.#step(`rename ${to}`, async () => {
      expect(this.#unsynced.has(from)).toBe(false);
      await nodeFiles.rename(from, to);
    }),
    syncFolder: async (path) => await this.#step('syncFolder', async () => await nodeFiles.syncFolder(path)),
  };

  revive(): void {
    this.dieAt = Infinity;
    this.#isDead = false;
  }

  async #step<T>(name: string, act: () => Promise<T>): Promise<T> {
    if (this.#isDead && !this.isOnce) throw this.error;
    if (this.steps.length === this.dieAt) {
      this.#isDead = true;
      this.steps.push(name);
      throw this.error;
    }
    this.steps.push(name);
    return await act();
  }

  #handle(path: string, handle: JournalHandle): JournalHandle {
    return {
      writeAll: async (chunks, at) => await this.#step(`write ${path}`, async () => {
        this.#unsynced.add(path);
        await handle.writeAll(chunks, at);
      }),
      dataSync: async () => await this.#step(`sync ${path}`, async () => {
        await handle.dataSync();
        this.#unsynced.delete(path);
      }),
      truncate: async (bytes) => await this.#step(`truncate ${path}`, async () => await handle.truncate(bytes)),
      readFully: async (target, at) => await handle.readFully(target, at),
      size: async () => await handle.size(),
      dropCache: () => handle.dropCache(),
      close: async () => await handle.close(),
    };
  }
}

afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.remove();
});

describe('compaction of a journal on files', () => {
  it('gives the space of versions back that no kept checkpoint shows, over a restart, and is not done twice', async () => {
    const all = await thinned();
    const { bench } = all;
    const before = bench.journal.journalBytes;
    const result = await compact(bench);
    expect(result.rewrittenSegments).toBeGreaterThan(3);
    expect([before - bench.journal.journalBytes, bench.journal.stats().compactedBytes]).toEqual([result.freedBytes, result.freedBytes]);
    expect(result.freedBytes).toBeGreaterThan(before / 5);
    await expectImages(all);
    const names = await namesOf(bench);
    expect(names.filter((name) => name.endsWith('.temp'))).toEqual([]);
    const sizes = await Promise.all(names.filter((name) => name.endsWith('.segment')).map(async (name) => (await stat(join(bench.folder, 'journal', name))).size));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(bench.journal.journalBytes);
    expect(await compact(bench)).toMatchObject({ rewrittenSegments: 0, readBytes: 0 });
    await bench.reopen();
    expect(bench.journal.tornTail).toBe('');
    expect(bench.journal.stats().state.phase).toBe('open');
    await expectImages(all);
    for (const { segment } of bench.journal.segments) expect(await bench.journal.verifySegment(segment)).toMatchObject({ isWhole: true });
  });

  it('reads the same without its index, after a second thinning, and when the mirrors roll forward over it', async () => {
    const all = await thinned();
    const { bench, kept, images } = all;
    await compact(bench);
    await bench.journal.thin(kept.slice(1, 3));
    await compact(bench);
    await bench.journal.close();
    for (const name of await namesOf(bench)) if (name.endsWith('.index')) await nodeFiles.remove(join(bench.folder, 'journal', name));
    await bench.open();
    const left = kept.filter((_, i) => i === 0 || i > 2);
    await expectImages({ bench, kept: left, images });
    await bench.begin();
    await bench.journal.retire(left[1] ?? 0);
    await bench.journal.allowApply(left[1] ?? 0);
    await expectImages({ bench, kept: left.slice(1), images });
    await bench.reopen();
    await expectImages({ bench, kept: left.slice(1), images });
  });

  it('killed before any of its steps, finds every image again, and nothing of it lies about', async () => {
    const files = new DyingFiles();
    const { images, kept, bench } = await thinned(files.layer);
    // One bench for all: what one run has put in place the next one finds.
    let finished = false;
    // Every step of the first segments, every third of what comes after: it is the same once more.
    for (let step = 0; !finished; step += step < 20 ? 1 : 3) {
      const from = files.steps.length;
      files.dieAt = from + step;
      finished = await compact(bench).then(() => files.steps.length <= files.dieAt, (error: unknown) => {
        expect(String(error)).toContain('killed');
        return false;
      });
      // A killed process leaves what it had; only its memory is gone.
      await bench.journal.close();
      files.revive();
      await bench.open();
      expect(bench.journal.stats().state.phase).toBe('open');
      // (The index may be at it again.)
      expect((await namesOf(bench)).filter((name) => name.endsWith('.segment.temp'))).toEqual([]);
      await expectImages({ bench, kept, images });
      await indexed(bench);
    }
    expect(files.steps.filter((name) => name.startsWith('rename') && name.endsWith('.segment')).length).toBeGreaterThan(5);
  });

  it('leaves the journal as it was on a full disk, and while a view is open', async () => {
    const files = new DyingFiles();
    const all = await thinned(files.layer);
    const { bench } = all;
    const before = bench.journal.journalBytes;
    files.isOnce = true;
    files.error = Object.assign(new Error('no space'), { code: 'ENOSPC' });
    files.dieAt = files.steps.length + 4;
    await expect(compact(bench)).rejects.toThrow('no space');
    files.revive();
    expect([bench.journal.stats().state.phase, bench.journal.journalBytes, bench.journal.damage]).toEqual(['open', before, undefined]);
    const view = await bench.journal.openView({ checkpointId: all.kept[1] ?? 0 });
    expect(await compact(bench)).toMatchObject({ rewrittenSegments: 0 });
    expect(bench.journal.journalBytes).toBe(before);
    expect((await namesOf(bench)).filter((name) => name.endsWith('.temp'))).toEqual([]);
    await view.close();
    expect((await compact(bench)).freedBytes).toBeGreaterThan(before / 5);
    await expectImages(all);
  });

  it('is opened anew when files could not be put in place, whichever they are', async () => {
    const files = new DyingFiles();
    const all = await thinned(files.layer);
    const { bench } = all;
    const { steps } = files;
    files.error = Object.assign(new Error('EIO'), { code: 'EIO' });
    files.isOnce = true;
    // The second of the segments that change places.
    let renames = 0;
    files.steps = new Proxy(steps, { get: (target, key) => (key === 'push' ? (name: string): number => {
      if (name.startsWith('rename') && name.endsWith('.segment')) renames += 1;
      if (renames === 1 && files.dieAt === Infinity) files.dieAt = target.length + 1;
      return target.push(name);
    } : (Reflect.get(target, key) as unknown)) });
    await expect(compact(bench)).rejects.toThrow('EIO');
    expect(bench.journal.damage?.detail).toContain('could not be put in place');
    files.revive();
    files.steps = [];
    await bench.journal.close();
    await bench.open();
    await expectImages(all);
  });
});
