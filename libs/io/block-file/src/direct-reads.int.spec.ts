import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { PAGE_BYTES, pageAligned, sys, SysError, type Sys } from '@tidemark/sys';
import { patternBytes } from '@tidemark/volume/testing';
import { BlockFile } from './index.js';

const KiB = 1024;
const MiB = 1024 * KiB;
/** Not whole pages: the end of a volume may be like that. */
const SIZE_BYTES = MiB + 1536;
const PIECE_BYTES = 256 * KiB;
const ONCE = { isOnce: true };

let folder: string;
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'tidemark-direct-')); });
afterAll(() => rmSync(folder, { recursive: true }));

const aligned = (bytes: number): Uint8Array => pageAligned(new Uint8Array(bytes + PAGE_BYTES), bytes);

/** This machine's calls, but for those given. */
const machineWith = (other: Partial<Sys>): Sys => new Proxy(sys, {
  get(target, name): unknown {
    const value: unknown = Reflect.get(other, name) ?? Reflect.get(target, name);
    return typeof value === 'function' ? (value.bind(target) as unknown) : value;
  },
});

const made = async (path: string, calls: Sys = sys): Promise<BlockFile> => await BlockFile.open({ path, sizeBytes: SIZE_BYTES, isReadOnly: false, create: true, sys: calls });

async function readOnce(file: BlockFile, offset: number, target: Uint8Array): Promise<Uint8Array> {
  await file.read(offset, target, ONCE);
  return target;
}
const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const descriptorsOf = (path: string): number => readdirSync('/proc/self/fd').filter((fd) => linkOf(fd) === path).length;
function linkOf(fd: string): string {
  try {
    return readlinkSync(join('/proc/self/fd', fd));
  } catch {
    return ''; // the descriptor of the folder that was listed
  }
}

describe('BlockFile read once', () => {
  let path: string;
  let file: BlockFile;
  let reads: { readonly offset: number; readonly asked: number; readonly got: number }[];
  const counting = machineWith({
    readDirect: async (fd, target, offset) => {
      const got = await sys.readDirect(fd, target, offset);
      reads.push({ offset, asked: target.length, got });
      return got;
    },
  });

  beforeEach(async () => {
    reads = [];
    path = join(folder, `disk-${String(Math.random())}.raw`);
    file = await made(path, counting);
  });
  afterEach(async () => {
    await file.close();
    rmSync(path);
  });

  it('goes past the page cache for whole pages, in pieces, and reads the end that is none all the same', async () => {
    await file.write(0, patternBytes(SIZE_BYTES, 1));
    const pieces = [0, 1, 2, 3].map((at) => ({ offset: at * PIECE_BYTES, asked: PIECE_BYTES, got: PIECE_BYTES }));
    // The kernel may write pages back, or have no request free, just then: direct reads pass until it has.
    for (let time = 0; time < 1000 && reads.filter(({ got }) => got > 0).length < pieces.length; time += 1) {
      reads.splice(0);
      await file.flush();
      expect(isSame(await readOnce(file, 0, aligned(SIZE_BYTES)), patternBytes(SIZE_BYTES, 1))).toBe(true);
    }
    expect(reads).toEqual(pieces);
  });

  it('reads whatever place, length and memory as ever', async () => {
    await file.write(0, patternBytes(SIZE_BYTES, 2));
    await file.flush();
    const whole = patternBytes(SIZE_BYTES, 2);
    for (const [offset, length, skip] of [[512, 128 * KiB, 0], [0, 128 * KiB, 1], [0, 128 * KiB, 512], [4096, 64 * KiB - 1, 0], [SIZE_BYTES - 512, 512, 0], [0, 0, 0]] as const) {
      const target = aligned(length + skip).subarray(skip);
      expect(isSame(await readOnce(file, offset, target), whole.subarray(offset, offset + length))).toBe(true);
    }
    expect(reads).toEqual([]);
  });

  it('sees every write that was done before it, written back or not, and zeroes of holes', async () => {
    const target = aligned(256 * KiB);
    const expected = new Uint8Array(256 * KiB);
    for (let time = 1; time <= 60; time += 1) {
      const at = ((time * 7919) % 64) * 4096;
      await file.write(at, patternBytes(4096, time));
      expected.set(patternBytes(4096, time), at);
      const hole = ((time * 104_729) % 64) * 4096;
      await file.writeZeroes(hole, 4096, { mayUnmap: true });
      expected.fill(0, hole, hole + 4096);
      if (time % 3 === 0) await file.flush();
      target.fill(0xee);
      expect(isSame(await readOnce(file, 0, target), expected)).toBe(true);
    }
  });

  it('reads while a guest writes: each page as it was or as it is written, never older than what was done before', async () => {
    const target = aligned(256 * KiB);
    let written = 0;
    let isOver = false;
    const guest = (async (): Promise<void> => {
      while (!isOver) {
        const version = written + 1;
        await file.write(0, Buffer.alloc(256 * KiB, version % 251));
        written = version;
        if (version % 5 === 0) await file.flush();
      }
    })();
    const versionsBehind: number[] = [];
    try {
      for (let time = 0; time < 100; time += 1) {
        const before = written;
        await readOnce(file, 0, target);
        // At most one write is under way behind `written`, which was counted after the read.
        const allowed = new Set<number>(Array.from({ length: written + 2 - before }, (_, i) => (before + i) % 251));
        for (let page = 0; page < target.length; page += 4096) if (!allowed.has(target[page] ?? -1)) versionsBehind.push(page);
      }
    } finally {
      isOver = true;
      await guest;
    }
    expect(versionsBehind).toEqual([]);
  });

  it('holds its second descriptor until what is in flight has ended', async () => {
    await file.write(0, patternBytes(SIZE_BYTES, 3));
    const target = aligned(MiB);
    const reading = file.read(0, target, ONCE);
    expect(descriptorsOf(path)).toBe(2);
    await Promise.all([file.close(), reading]);
    expect([descriptorsOf(path), isSame(target, patternBytes(SIZE_BYTES, 3).subarray(0, MiB))]).toEqual([0, true]);
  });
});

describe('BlockFile read once where direct reads fail', () => {
  const unsupported = (): never => { throw new SysError('SYS_UNSUPPORTED', 'open(O_DIRECT)', 'EOPNOTSUPP'); };

  it.each([
    ['are not to be had', { openDirect: unsupported }],
    ['bring nothing, and spoil the memory', { readDirect: (_fd: number, target: Uint8Array) => { target.fill(0xee); return Promise.resolve(0); } }],
    ['bring a part', { readDirect: async (fd: number, target: Uint8Array, offset: number) => await sys.readDirect(fd, target.subarray(0, 64 * KiB), offset) }],
  ])('because they %s, it reads as ever', async (_why, other) => {
    const path = join(folder, 'without.raw');
    const file = await made(path, machineWith(other));
    await file.write(0, patternBytes(SIZE_BYTES, 4));
    await file.flush();
    expect(isSame(await readOnce(file, 0, aligned(SIZE_BYTES)), patternBytes(SIZE_BYTES, 4))).toBe(true);
    await file.close();
    rmSync(path);
  });

  it('reads as ever from a file system in memory', async () => {
    const shm = mkdtempSync('/dev/shm/tidemark-direct-');
    try {
      const file = await made(join(shm, 'disk.raw'));
      await file.write(0, patternBytes(SIZE_BYTES, 5));
      expect(isSame(await readOnce(file, 0, aligned(SIZE_BYTES)), patternBytes(SIZE_BYTES, 5))).toBe(true);
      await file.close();
    } finally {
      rmSync(shm, { recursive: true });
    }
  });

  it('tells of a file that was cut under it as any read does', async () => {
    const path = join(folder, 'cut.raw');
    const file = await made(path);
    truncateSync(path, 256 * KiB);
    await expect(readOnce(file, 0, aligned(MiB))).rejects.toMatchObject({ code: 'VOLUME_IO', message: 'read: the file is shorter than its volume' });
    await file.close();
    rmSync(path);
  });

  it('has at most two in flight on a datastore, whatever the number of volumes', async () => {
    const gates: (() => void)[] = [];
    const slow = machineWith({ readDirect: async (_fd, target) => await new Promise((resolve) => gates.push(() => resolve(target.length))) });
    const files = await Promise.all(['a', 'b'].map(async (name) => await made(join(folder, name), slow)));
    expect(new Set(files.map(({ path }) => statSync(path).dev)).size).toBe(1);
    const reads = files.flatMap((file) => Array.from({ length: 4 }, async () => await file.read(0, aligned(MiB), ONCE)));
    const turn = async (): Promise<void> => await new Promise((resolve) => { setImmediate(resolve); });
    await turn();
    expect(gates).toHaveLength(2);
    gates.shift()?.();
    await turn();
    expect(gates).toHaveLength(2);
    for (let open = gates.shift(); open !== undefined; open = gates.shift()) {
      open();
      await turn();
    }
    await Promise.all(reads);
    await Promise.all(files.map(async (file) => await file.close()));
  });
});
