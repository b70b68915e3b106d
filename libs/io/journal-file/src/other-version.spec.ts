import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { FOOTER_BYTES, JOURNAL_RECORD_HEADER_BYTES, RECORD_MAGIC, SEGMENT_HEADER_BYTES } from '@tidemark/journal';
import { crc32c } from './defaults.js';
import type { FileLayer, JournalHandle } from './file-layer.js';
import { FileBench, write } from './testing/fixture.js';

/** Files in memory, and what was done to them. */
class MemoryFiles implements FileLayer {
  readonly files = new Map<string, Uint8Array>();
  changes: string[] = [];

  #change(path: string, act: string, bytes: Uint8Array | undefined): void {
    this.changes.push(`${act} ${path}`);
    if (bytes === undefined) this.files.delete(path);
    else this.files.set(path, bytes);
  }

  bytesOf(path: string): Uint8Array {
    const bytes = this.files.get(path);
    if (bytes === undefined) throw Object.assign(new Error(path), { code: 'ENOENT' });
    return bytes;
  }

  makeFolder = (): Promise<void> => Promise.resolve();
  giveWay = (): Promise<void> => Promise.resolve();
  syncFolder = (): Promise<void> => Promise.resolve();
  list = (folder: string): Promise<string[]> => Promise.resolve([...this.files.keys()].filter((path) => path.startsWith(`${folder}/`)).map((path) => path.slice(folder.length + 1)).sort());
  remove = (path: string): Promise<void> => Promise.resolve(this.#change(path, 'remove', undefined));
  removeFolder = (path: string): Promise<void> => Promise.resolve(this.#change(path, 'remove', undefined));

  rename(from: string, to: string): Promise<void> {
    this.#change(to, 'rename', this.bytesOf(from));
    return this.remove(from);
  }

  open(path: string, mode: 'create' | 'readWrite'): Promise<JournalHandle> {
    if (mode === 'create') this.#change(path, 'create', new Uint8Array());
    this.bytesOf(path);
    return Promise.resolve({
      writeAll: (chunks, at) => {
        const bytes = Buffer.concat(chunks);
        const whole = new Uint8Array(Math.max(this.bytesOf(path).byteLength, at + bytes.byteLength));
        whole.set(this.bytesOf(path));
        whole.set(bytes, at);
        return Promise.resolve(this.#change(path, 'write', whole));
      },
      readFully: (target, at) => Promise.resolve(target.set(this.bytesOf(path).subarray(at, at + target.byteLength))),
      size: () => Promise.resolve(this.bytesOf(path).byteLength),
      truncate: (bytes) => Promise.resolve(this.#change(path, 'truncate', this.bytesOf(path).slice(0, bytes))),
      dataSync: () => Promise.resolve(),
      dropCache: () => undefined,
      close: () => Promise.resolve(),
    });
  }
}

/** Several segments, with an index file of the sealed ones, and what compactions and merges that were killed leave. */
async function written(): Promise<{ readonly files: MemoryFiles; readonly bench: FileBench }> {
  const files = new MemoryFiles();
  const bench = await FileBench.make({ folder: '/memory', files, segmentBytes: 8192, volumeBytes: [64 * 1024] });
  await bench.base();
  for (let i = 0; i < 12; i += 1) {
    await bench.sendDurable([write(i * 4096, new Uint8Array(4096).fill(i + 1))]);
    await bench.checkpoint();
  }
  await bench.journal.close();
  expect([pathsOf(files, '.segment').length > 2, pathsOf(files, '.index').length > 0]).toEqual([true, true]);
  return { files, bench };
}

const pathsOf = (files: MemoryFiles, suffix: string): string[] => [...files.files.keys()].filter((path) => path.endsWith(suffix)).sort();

/** Magic, CRC and version stay where they are in any version. */
function make2(bytes: Uint8Array, at: number, headerBytes: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(at + 8, 2, true);
  view.setUint32(at, crc32c(bytes.subarray(at + 4, at + headerBytes)), true);
}

const firstRecordAt = (bytes: Uint8Array): number => {
  expect(new DataView(bytes.buffer, bytes.byteOffset).getUint32(SEGMENT_HEADER_BYTES + 4, true)).toBe(RECORD_MAGIC);
  return SEGMENT_HEADER_BYTES;
};

describe('opening a journal that a newer version has written in', () => {
  it.each<[string, string, (bytes: Uint8Array) => void]>([
    ['a segment', '.segment', (bytes) => make2(bytes, 0, SEGMENT_HEADER_BYTES)],
    ['a record of the open segment', '.segment', (bytes) => make2(bytes, firstRecordAt(bytes), JOURNAL_RECORD_HEADER_BYTES)],
    ['an index file', '.index', (bytes) => make2(bytes, bytes.byteLength - FOOTER_BYTES, FOOTER_BYTES)],
  ])('is refused for %s, and not one byte is written, cut or removed; the right version goes on with all of it', async (what, suffix, change) => {
    const isRefusedFirst = what === 'a segment'; // else what a killed compaction or merge was writing is gone by then
    const { files, bench } = await written();
    const path = pathsOf(files, suffix).at(-1) ?? '';
    const own = files.bytesOf(path).slice();
    change(files.bytesOf(path));
    for (const name of ['0000000001.segment.temp', '0000000001-0000000001.index.temp']) files.files.set(join('/memory/journal', name), new Uint8Array(10));
    const before = new Map([...files.files].map(([name, bytes]) => [name, bytes.slice()]));
    files.changes = [];
    for (let attempt = 0; attempt < 2; attempt += 1) await expect(bench.open()).rejects.toMatchObject({ code: 'JOURNAL_VERSION' });
    const isLeftover = (name: string): boolean => /\.(segment|index)\.temp$/.test(name);
    expect(files.changes.filter((act) => !isLeftover(act) || isRefusedFirst)).toEqual([]);
    for (const [name, bytes] of before) if (isRefusedFirst || !isLeftover(name)) expect(files.bytesOf(name)).toEqual(bytes);

    files.files.set(path, own); // what that version would find
    await bench.open();
    expect([bench.journal.stats().state.phase, bench.journal.checkpoints().length]).toEqual(['open', 12]);
    await bench.journal.close();
  });
});
