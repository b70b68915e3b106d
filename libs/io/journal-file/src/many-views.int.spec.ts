import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { KiB } from '@tidemark/base';
import { crc32c } from './defaults.js';
import type { FileLayer } from './file-layer.js';
import { type JournalFileStats, nodeFiles, ReadCache } from './index.js';
import { RunFile } from './run-file.js';
import { FileBench, write } from './testing/fixture.js';

const BLOCK = 512;
const BLOCKS = 2048;
const CACHE_BYTES = 24 * KiB;

const benches: FileBench[] = [];
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.remove();
});

const fillOf = (bench: number, block: number, version: number): number => 1 + ((bench * 31 + block * 7 + version * 101) % 255);

/** Every block written `versions` times; in the image of its checkpoint the last one shows. */
async function makeJournal(number: number, options: Parameters<typeof FileBench.make>[0]): Promise<FileBench> {
  const bench = await FileBench.make({ volumeBytes: [BLOCKS * BLOCK], segmentBytes: 96 * KiB, ...options });
  benches.push(bench);
  await bench.base();
  for (const version of [1, 2]) {
    for (let from = 0; from < BLOCKS; from += 64) {
      await bench.sendDurable(Array.from({ length: 64 }, (_, i) => write(BLOCK * (from + i), new Uint8Array(BLOCK).fill(fillOf(number, from + i, version)))));
    }
  }
  await bench.checkpoint();
  await merged(bench);
  return bench;
}

async function merged({ journal }: FileBench): Promise<void> {
  const isMerged = ({ unindexedSegments, indexFiles }: JournalFileStats): boolean => unindexedSegments === 0 && indexFiles.filter(({ firstSegment, lastSegment }) => firstSegment === lastSegment).length < 8;
  while (!isMerged(journal.stats())) await sleep(2);
}

/** Notes reads of index files: name and place. */
function noted(): { readonly files: FileLayer; reads: string[] } {
  const noting = {
    reads: [] as string[],
    files: {
      ...nodeFiles,
      open: async (path: string, mode: Parameters<FileLayer['open']>[1]) => {
        const handle = await nodeFiles.open(path, mode);
        if (!path.endsWith('.index')) return handle;
        return {
          writeAll: async (chunks: readonly Uint8Array[], at: number) => await handle.writeAll(chunks, at),
          size: async () => await handle.size(),
          truncate: async (bytes: number) => await handle.truncate(bytes),
          dataSync: async () => await handle.dataSync(),
          dropCache: () => handle.dropCache(),
          close: async () => await handle.close(),
          readFully: async (target: Uint8Array, at: number) => {
            noting.reads.push(`${basename(path)}:${String(at)}`);
            await handle.readFully(target, at);
          },
        };
      },
    },
  };
  return noting;
}

describe('views of many journals', () => {
  it('hold no more of their indexes than the cache that all share, and show their bytes out of it', async () => {
    const readCache = new ReadCache(CACHE_BYTES);
    for (let number = 0; number < 6; number += 1) await makeJournal(number, { readCache });
    const before = benches.reduce((sum, { journal }) => sum + journal.stats().indexMemoryBytes, 0);
    const views = await Promise.all(benches.map(async ({ journal }) => await journal.openView({ checkpointId: 1 })));
    expect(readCache.bytes).toBe(0);
    for (let round = 0; round < 30; round += 1) {
      await Promise.all(views.map(async ({ volumes: [volume] }, number) => {
        const block = (round * 97 + number * 13) % BLOCKS;
        const bytes = new Uint8Array(BLOCK);
        await volume?.read(BLOCK * block, bytes);
        expect(bytes.every((byte) => byte === fillOf(number, block, 2))).toBe(true);
        expect(readCache.bytes).toBeLessThanOrEqual(CACHE_BYTES);
      }));
    }
    expect(readCache.bytes).toBeGreaterThan(CACHE_BYTES / 2);
    const during = benches.reduce((sum, { journal }) => sum + journal.stats().indexMemoryBytes, 0);
    expect(during - before).toBeLessThanOrEqual(CACHE_BYTES);
    for (const view of views) await view.close();
    expect(readCache.bytes).toBe(0);
  });

  it('read nothing when they are opened, and every fence page once, whoever wants it first', async () => {
    const noting = noted();
    const bench = await makeJournal(1, { files: noting.files });
    await bench.reopen();
    await merged(bench);
    noting.reads = [];
    const views = await Promise.all(Array.from({ length: 20 }, async () => await bench.journal.openView({ checkpointId: 1 })));
    expect(noting.reads).toEqual([]);
    for (let block = 0; block < BLOCKS; block += 61) {
      await Promise.all(views.map(async ({ volumes: [volume] }) => {
        const bytes = new Uint8Array(BLOCK);
        await volume?.read(BLOCK * block, bytes);
        expect(bytes[0]).toBe(fillOf(1, block, 2));
      }));
    }
    const numbered = (segment: number): string => String(segment).padStart(10, '0');
    // One volume: all its pages but the last are full, and one fence page follows them.
    const fencePages = bench.journal.stats().indexFiles.map((file) => `${numbered(file.firstSegment)}-${numbered(file.lastSegment)}.index:${4096 * Math.ceil(file.entryCount / 127)}`);
    expect(fencePages.length).toBeGreaterThan(2);
    expect(noting.reads.filter((place) => fencePages.includes(place)).sort()).toEqual(fencePages.filter((place) => noting.reads.includes(place)).sort());
    expect(noting.reads.filter((place) => fencePages.includes(place)).length).toBeGreaterThan(2);
    for (const each of views) await each.close();
  });

  it('keep a fence page without the ones that were read with it', async () => {
    const bench = await FileBench.make({ volumeBytes: [BLOCK, BLOCK, BLOCK], segmentBytes: 96 * KiB });
    benches.push(bench);
    await bench.base();
    while (bench.journal.stats().segmentCount < 2) await bench.sendDurable([0, 1, 2].map((volume) => write(0, new Uint8Array(BLOCK).fill(1), volume)));
    await merged(bench);
    const run = await RunFile.open({ path: join(bench.folder, 'journal', '0000000001-0000000001.index'), files: nodeFiles, crc32c });
    const pages = await run?.fencePages(run.fencePagesAt, run.footer.fencePageCount);
    expect(pages?.map(({ buffer }) => buffer.byteLength)).toEqual([4096, 4096, 4096]);
    await run?.retire();
  });
});
