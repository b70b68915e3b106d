import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { SEGMENT_HEADER_BYTES } from '@tidemark/journal';
import { crc32c } from './defaults.js';
import { nodeFiles } from './node-files.js';
import { SegmentFiles } from './segment-files.js';

it('makes the names of segments durable that a killed process has left, before anything is written behind them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-segments-'));
  try {
    const synced: string[] = [];
    const segments = new SegmentFiles(folder, {
      ...nodeFiles,
      syncFolder: async (path) => {
        synced.push(path);
        await nodeFiles.syncFolder(path);
      },
    });
    expect(await segments.find(crc32c)).toHaveLength(0);
    await writeFile(join(folder, '0000000001.segment'), new Uint8Array(10));
    expect(await segments.find(crc32c)).toHaveLength(1);
    expect(synced).toEqual([folder]);
    await segments.closeAll();
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('reads the header of the newest segment past the page cache: its first sync may have failed, and a power loss takes what only the cache has', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-segments-'));
  try {
    const order: string[] = [];
    const segments = new SegmentFiles(folder, {
      ...nodeFiles,
      open: async (path, mode) => {
        const handle = await nodeFiles.open(path, mode);
        const name = path.slice(-9);
        return Object.assign(Object.create(handle) as typeof handle, {
          size: () => handle.size(),
          close: () => handle.close(),
          dropCache: () => void order.push(`drop ${name}`),
          readFully: (target: Uint8Array, at: number) => {
            order.push(`read ${name}`);
            return handle.readFully(target, at);
          },
        });
      },
    });
    for (const number of ['1', '2']) await writeFile(join(folder, `000000000${number}.segment`), new Uint8Array(SEGMENT_HEADER_BYTES));
    await segments.find(crc32c);
    expect(order).toEqual(['read 1.segment', 'drop 2.segment', 'read 2.segment']);
    await segments.closeAll();
  } finally {
    await rm(folder, { recursive: true });
  }
});
