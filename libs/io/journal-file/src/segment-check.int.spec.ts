import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { KiB, MiB } from '@tidemark/base';
import { nodeFiles } from './node-files.js';
import { FileBench, write } from './testing/fixture.js';

it('checks a long segment piece by piece, with turns for everything else in between, and finds damage at its end', async () => {
  let turns = 0;
  const files = {
    ...nodeFiles,
    giveWay: async (): Promise<void> => {
      turns += 1;
      await nodeFiles.giveWay();
    },
  };
  const bench = await FileBench.make({ files, volumeBytes: [8 * MiB] });
  try {
    await bench.base();
    for (let at = 0; at < 6 * MiB; at += 256 * KiB) bench.send([write(at, new Uint8Array(256 * KiB).fill(at / KiB / 256))]);
    await bench.durable(bench.lastSeq);
    turns = 0;
    expect(await bench.journal.verifySegment(1)).toMatchObject({ isWhole: true, lastSeq: bench.lastSeq });
    // 6 MiB in pieces of half a MiB, each as long as its last record makes it.
    expect(turns).toBeGreaterThanOrEqual(8);
    const file = await open(join(bench.folder, 'journal', '0000000001.segment'), 'r+');
    const { size } = await file.stat();
    await file.write(Buffer.of(0xff), 0, 1, size - 1000);
    await file.close();
    expect(await bench.journal.verifySegment(1)).toMatchObject({ isWhole: false, detail: expect.stringContaining('does not read or does not follow') });
  } finally {
    await bench.journal.close();
    await rm(bench.folder, { recursive: true });
  }
});
