import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import type { FileLayer, JournalHandle } from './file-layer.js';
import { scratchFiles } from './node-files.js';
import { openScratch } from './open-scratch.js';
import type { ScratchJournal } from './scratch-journal.js';
import { IDENTITY } from './testing/fixture.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-scratch-'));
});
afterEach(async () => await rm(folder, { recursive: true }));

/** A disk whose sync fails once: the pages stay in the cache as if they were written, and what the disk has shows when the cache is dropped. */
class FailingDisk {
  isFailing = false;
  /** End of what the disk has, by file. */
  readonly #onDisk = new Map<string, number>();

  readonly files: FileLayer = {
    ...scratchFiles,
    open: async (path, mode) => this.#handle(path, await scratchFiles.open(path, mode)),
  };

  #handle(path: string, handle: JournalHandle): JournalHandle {
    let isLost = false;
    return {
      writeAll: async (chunks, at) => await handle.writeAll(chunks, at),
      readFully: async (target, at) => {
        await handle.readFully(target, at);
        const from = (this.#onDisk.get(path) ?? 0) - at;
        if (isLost && from < target.byteLength) target.fill(0, Math.max(0, from));
      },
      size: async () => await handle.size(),
      truncate: async (bytes) => await handle.truncate(bytes),
      dataSync: async () => {
        if (this.isFailing) throw Object.assign(new Error('EIO'), { code: 'EIO' });
        await handle.dataSync();
        this.#onDisk.set(path, await handle.size());
      },
      dropCache: () => void (isLost = true),
      close: async () => await handle.close(),
    };
  }
}

const nothing = (): void => undefined;

const opened = async ({ files }: { readonly files: FileLayer }): Promise<ScratchJournal> =>
  await openScratch(
    { folder, identity: IDENTITY, volumes: [], epoch: 1, files, clocks: { monotonicMs: () => 0, wallClockMs: () => 0 }, onDurable: nothing, onCheckpointsChanged: nothing, onState: nothing },
    { folder, volumeCount: 1, roomBytes: undefined },
  );

async function found(disk: { readonly files: FileLayer }): Promise<{ readonly offsets: readonly number[]; readonly scratch: ScratchJournal }> {
  const scratch = await opened(disk);
  const offsets: number[] = [];
  scratch.attach(({ offset }) => offsets.push(offset));
  return { offsets, scratch };
}

it('does not take for durable what a failed sync left in the page cache alone', async () => {
  const disk = new FailingDisk();
  const first = await opened(disk);
  const write = async (scratch: ScratchJournal, offset: number): Promise<void> => await scratch.write({ volume: 0, offset, length: 512, payload: new Uint8Array(512).fill(7) });
  first.attach(() => undefined);
  await write(first, 0);
  await first.sync();
  await write(first, 4096);
  disk.isFailing = true;
  await expect(first.sync()).rejects.toMatchObject({ code: 'VOLUME_IO' });
  await expect(write(first, 8192)).rejects.toMatchObject({ code: 'VOLUME_IO' });
  await first.close();
  disk.isFailing = false;
  // The guest was told that its flush failed. What comes now must not be built on bytes that a power loss takes.
  const again = await found(disk);
  expect(again.offsets).toEqual([0]);
  await write(again.scratch, 12_288);
  await again.scratch.sync();
  await again.scratch.close();
  expect((await found(disk)).offsets).toEqual([0, 12_288]);
});

it('keeps what a killed process wrote and had not flushed: the page cache still has it to write', async () => {
  const disk = { files: scratchFiles };
  const scratch = await opened(disk);
  scratch.attach(() => undefined);
  await scratch.write({ volume: 0, offset: 512, length: 512, payload: new Uint8Array(512).fill(9) });
  await scratch.close();
  const again = await found(disk);
  await again.scratch.close();
  expect(again.offsets).toEqual([512]);
});
