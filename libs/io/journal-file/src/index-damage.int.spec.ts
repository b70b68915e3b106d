import { open, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { decodeFooter, FOOTER_BYTES, layoutOf } from '@tidemark/journal';
import { crc32c } from './defaults.js';
import { type FileLayer, nodeFiles } from './index.js';
import { FileBench, readAll, write } from './testing/fixture.js';
import { turnBit } from './testing/turn-bit.js';

const SIZE = 64 * 1024;
const SEGMENT_BYTES = 12 * 1024;
const PAGE_BYTES = 4096;

let bench: FileBench;
let expected: Uint8Array;
let damaged: string[];

beforeEach(async () => {
  damaged = [];
  expected = new Uint8Array(SIZE);
  bench = await FileBench.make({ volumeBytes: [SIZE], segmentBytes: SEGMENT_BYTES, onIndexDamaged: (path) => damaged.push(path) });
  await bench.base();
});
afterEach(async () => {
  await bench.remove();
});

const journalFolder = (): string => join(bench.folder, 'journal');

async function indexed(): Promise<void> {
  while (bench.journal.stats().unindexedSegments > 0) await sleep(2);
}

/** Until there are so many segments, all sealed ones with an index; then a checkpoint. */
async function grow(segments: number): Promise<number> {
  while (bench.journal.stats().segmentCount < segments) {
    const at = (bench.lastSeq * 11 * 512) % (SIZE - 1024);
    const bytes = new Uint8Array(700).fill(1 + (bench.lastSeq % 250));
    expected.set(bytes, at);
    await bench.sendDurable([write(at, bytes)]);
  }
  await indexed();
  return await bench.checkpoint();
}

const flip = async (name: string, at: number): Promise<void> => {
  await turnBit(join(journalFolder(), name), at);
};

async function bytesOf(name: string, at: number, count = PAGE_BYTES): Promise<Buffer> {
  const file = await open(join(journalFolder(), name), 'r');
  const bytes = Buffer.alloc(count);
  await file.read(bytes, 0, count, at);
  await file.close();
  return bytes;
}

async function put(name: string, at: number, bytes: Uint8Array): Promise<void> {
  const file = await open(join(journalFolder(), name), 'r+');
  await file.write(bytes, 0, bytes.byteLength, at);
  await file.close();
}

/** Of an index file with one fence page. */
async function placesOf(name: string): Promise<{ readonly fencePageAt: number; readonly upperFencesAt: number; readonly sectionsAt: number; readonly footerAt: number; readonly fileBytes: number }> {
  const { size } = await stat(join(journalFolder(), name));
  const footer = decodeFooter(await bytesOf(name, size - FOOTER_BYTES, FOOTER_BYTES), size, crc32c);
  expect(footer?.fencePageCount).toBe(1);
  return { ...layoutOf(footer ?? { pageCount: 0, fencePageCount: 0, sectionsBytes: 0 }), fencePageAt: (footer?.pageCount ?? 0) * PAGE_BYTES };
}

const indexNames = async (): Promise<string[]> => (await readdir(journalFolder())).filter((name) => name.endsWith('.index')).sort();

async function expectImage(checkpointId: number): Promise<void> {
  const view = await bench.journal.openView({ checkpointId });
  const [volume] = view.volumes;
  expect(volume && Buffer.compare(await readAll(volume), expected)).toBe(0);
  await view.close();
}

describe('an index file that rots', () => {
  it('under an open view is made again from its segments: the guest sees its bytes, the log the file', async () => {
    const checkpointId = await grow(12);
    const view = await bench.journal.openView({ checkpointId });
    const names = await indexNames();
    expect(names.length).toBeGreaterThan(2);
    for (const name of names) await flip(name, PAGE_BYTES / 2);
    const [volume] = view.volumes;
    if (volume === undefined) throw new Error('a view has volumes');
    const reads = await Promise.all([readAll(volume), readAll(volume)]);
    expect(reads.map((bytes) => Buffer.compare(bytes, expected))).toEqual([0, 0]);
    expect(damaged.map((path) => basename(path)).sort()).toEqual(names);
    expect(bench.journal.stats().damagedIndexFiles).toBe(names.length);
    await indexed();
    expect(Buffer.compare(await readAll(volume), expected)).toBe(0);
    await view.close();
    await bench.reopen();
    await expectImage(checkpointId);
    expect(bench.journal.stats()).toMatchObject({ damagedIndexFiles: 0, unindexedSegments: 0 });
  });

  it('in a fence page, or of another file where one of its pages was, is made again when a view reads', async () => {
    const checkpointId = await grow(6);
    const [name = '', other = ''] = await indexNames();
    const { fencePageAt } = await placesOf(name);
    await flip(name, fencePageAt + 40);
    await expectImage(checkpointId);
    expect(damaged.map((path) => basename(path))).toEqual([name]);
    await indexed();
    await expectImage(checkpointId);
    // The disk put them into the wrong file: whole pages of this journal, with the numbers that they should have.
    for (const at of [0, fencePageAt]) {
      damaged = [];
      const before = await bytesOf(name, at);
      await put(name, at, await bytesOf(other, at));
      expect(Buffer.compare(before, await bytesOf(name, at))).not.toBe(0);
      await expectImage(checkpointId);
      expect(damaged.map((path) => basename(path))).toEqual([name]);
      await indexed();
    }
  });

  it('in any of its parts never shows other bytes, nor when merges read it', async () => {
    const checkpointId = await grow(4);
    const [name = ''] = await indexNames();
    const places = await placesOf(name);
    for (const at of [100, places.fencePageAt + 50, places.upperFencesAt + 9, places.sectionsAt + 20, places.footerAt + 60]) {
      await bench.journal.close();
      damaged = [];
      const before = await bytesOf(name, 0, places.fileBytes);
      await flip(name, at);
      await bench.open();
      await expectImage(checkpointId);
      await indexed();
      // Made anew, and the same again; a footer that does not hold is like a file that was not finished.
      expect(Buffer.compare(before, await bytesOf(name, 0, places.fileBytes))).toBe(0);
      expect(damaged.length).toBe(at > places.footerAt ? 0 : 1);
    }
  });

  it('before a merge reads pages of another file from it does not end up in the merged one', async () => {
    await grow(6);
    const [, name = '', other = ''] = await indexNames();
    await put(name, 0, await bytesOf(other, 0));
    const checkpointId = await grow(20);
    while (bench.journal.stats().indexFiles.every(({ firstSegment, lastSegment }) => lastSegment - firstSegment < 7)) await sleep(2);
    expect(damaged.map((path) => basename(path))).toEqual([name]);
    await expectImage(checkpointId);
  });

  it('before it is merged with its neighbours does not keep them from being merged', async () => {
    await grow(6);
    const [, name = ''] = await indexNames();
    await flip(name, PAGE_BYTES / 2);
    const checkpointId = await grow(20);
    while (bench.journal.stats().indexFiles.every(({ firstSegment, lastSegment }) => lastSegment - firstSegment < 7)) await sleep(2);
    expect(damaged.length).toBe(1);
    await expectImage(checkpointId);
  });

  it('and whose segment has rotted as well is an error, never other bytes', async () => {
    const checkpointId = await grow(4);
    const [name = ''] = await indexNames();
    const view = await bench.journal.openView({ checkpointId });
    await flip(name, PAGE_BYTES / 2);
    await flip(name.slice(0, 10) + '.segment', 1024 + 128 + 4);
    const [volume] = view.volumes;
    for (let i = 0; i < 2; i += 1) await expect(volume && readAll(volume)).rejects.toMatchObject({ code: 'VOLUME_IO' });
    expect(await indexNames()).toContain(name);
    await view.close();
  });
});

describe('an index file that cannot be read', () => {
  /** Which end of index files gives an error: sections are behind the pages, the footer is last. */
  let unreadable: 'nothing' | 'sections' | 'footer' = 'nothing';
  const files: FileLayer = {
    ...nodeFiles,
    open: async (path, mode) => {
      const handle = await nodeFiles.open(path, mode);
      return {
        writeAll: async (chunks, at) => await handle.writeAll(chunks, at),
        size: async () => await handle.size(),
        truncate: async (bytes) => await handle.truncate(bytes),
        dataSync: async () => await handle.dataSync(),
        dropCache: () => handle.dropCache(),
        close: async () => await handle.close(),
        readFully: async (target, at) => {
          const isFooter = at + target.byteLength === (await handle.size());
          if (path.endsWith('.index') && at > 0 && (unreadable === 'footer' ? isFooter : unreadable === 'sections' && !isFooter)) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
          await handle.readFully(target, at);
        },
      };
    },
  };

  it.each(['sections', 'footer'] as const)('in its %s does not keep the journal closed: it is made again, and the log has the file', async (where) => {
    await bench.remove();
    bench = await FileBench.make({ volumeBytes: [SIZE], segmentBytes: SEGMENT_BYTES, files, onIndexDamaged: (path) => damaged.push(path) });
    await bench.base();
    const checkpointId = await grow(4);
    const names = await indexNames();
    await bench.journal.close();
    unreadable = where;
    await bench.open();
    unreadable = 'nothing';
    expect(damaged.map((path) => basename(path)).sort()).toEqual(names);
    expect(bench.states).not.toContain('broken');
    await expectImage(checkpointId);
  });
});
