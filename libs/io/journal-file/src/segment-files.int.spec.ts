import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
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
