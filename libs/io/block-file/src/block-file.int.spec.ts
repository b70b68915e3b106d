import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { loadSys, sys, SysError, syncLane, type Sys } from '@tidemark/sys';
import { describeReadOnlyVolume, describeVolume, patternBytes } from '@tidemark/volume/testing';
import { volumeErrorOf } from './file-errors.js';
import { BlockFile, type BlockFileOptions } from './index.js';

const MiB = 1024 * 1024;
let folder: string;
let count = 0;
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), 'tidemark-block-file-')); });
afterAll(() => rmSync(folder, { recursive: true }));

const newPath = (): string => join(folder, `disk-${String((count += 1))}.raw`);
const without = loadSys(() => { throw new Error('not here'); });

async function made(sizeBytes: number, options: Partial<BlockFileOptions> = {}): Promise<BlockFile> {
  return await BlockFile.open({ path: newPath(), sizeBytes, isReadOnly: false, create: true, ...options });
}
function sparse(sizeBytes: number): string {
  const path = newPath();
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

describeVolume('BlockFile', async ({ sizeBytes, isReadOnly }) => await BlockFile.open({ path: sparse(sizeBytes), isReadOnly }));
describeVolume('BlockFile without system calls', async ({ sizeBytes, isReadOnly }) =>
  await BlockFile.open({ path: sparse(sizeBytes), isReadOnly, sys: without }));
describeReadOnlyVolume('BlockFile', async (contents) => {
  const path = newPath();
  writeFileSync(path, contents);
  return await BlockFile.open({ path, isReadOnly: true });
});

describe('BlockFile', () => {
  it('is created sparse, with its size, and opened again with what was written', async () => {
    const file = await made(64 * MiB);
    expect(statSync(file.path)).toMatchObject({ size: 64 * MiB, blocks: 0 });
    await file.write(5000, patternBytes(3 * MiB, 1));
    await file.flush();
    await file.close();
    const again = await BlockFile.open({ path: file.path, sizeBytes: 64 * MiB, isReadOnly: false, create: true });
    const target = new Uint8Array(3 * MiB);
    await again.read(5000, target);
    expect(Buffer.compare(target, patternBytes(3 * MiB, 1))).toBe(0);
    await again.close();
    expect(Buffer.compare(readFileSync(file.path).subarray(5000, 5000 + 3 * MiB), patternBytes(3 * MiB, 1))).toBe(0);
  });

  it('grows under its users, with zeroes, and never shrinks by that; who opens it later may know the old size only', async () => {
    const file = await made(MiB);
    await file.write(MiB - 512, patternBytes(512, 1));
    expect(() => file.write(MiB, patternBytes(512, 2))).toThrow('outside the volume');
    await file.grow(3 * MiB);
    expect(file.sizeBytes).toBe(3 * MiB);
    const target = new Uint8Array(1024);
    await file.read(MiB - 512, target);
    expect([Buffer.compare(target.subarray(0, 512), patternBytes(512, 1)), target.subarray(512).every((byte) => byte === 0)]).toEqual([0, true]);
    await file.write(3 * MiB - 512, patternBytes(512, 2));
    await expect(file.grow(2 * MiB)).rejects.toMatchObject({ code: 'VOLUME_SIZE' });
    await file.close();
    const options = { path: file.path, sizeBytes: MiB, isReadOnly: false };
    await expect(BlockFile.open(options)).rejects.toMatchObject({ code: 'VOLUME_SIZE' });
    const late = await BlockFile.open({ ...options, isLongerFine: true });
    expect(late.sizeBytes).toBe(MiB);
    await late.grow(3 * MiB);
    await late.read(3 * MiB - 512, target.subarray(0, 512));
    expect(Buffer.compare(target.subarray(0, 512), patternBytes(512, 2))).toBe(0);
    await late.close();
  });

  it('is cut on demand, also when the file is longer than the volume, and again', async () => {
    const file = await made(2 * MiB);
    await file.close();
    const known = await BlockFile.open({ path: file.path, sizeBytes: MiB, isReadOnly: false, isLongerFine: true });
    for (let time = 0; time < 2; time += 1) {
      await known.shrink(MiB);
      expect([known.sizeBytes, readFileSync(file.path).length]).toEqual([MiB, MiB]);
    }
    await known.shrink(MiB / 2);
    expect(() => known.write(MiB / 2, patternBytes(512, 1))).toThrow('outside the volume');
    expect(readFileSync(file.path)).toHaveLength(MiB / 2);
    await expect(known.shrink(MiB)).rejects.toMatchObject({ code: 'VOLUME_SIZE' });
    await known.close();
  });

  it.each([1, 32])('frees the space of %d MiB of zeroes when it may, keeps it when not', async (mebibytes) => {
    const file = await made(64 * MiB);
    const blocks = (): number => statSync(file.path).blocks * 512;
    await file.write(0, patternBytes(mebibytes * MiB, 1));
    await file.flush();
    const before = blocks();
    await file.writeZeroes(0, mebibytes * MiB);
    await file.flush();
    expect(blocks()).toBeGreaterThanOrEqual(before);
    await file.writeZeroes(0, mebibytes * MiB, { mayUnmap: true });
    expect(blocks()).toBe(0);
    await file.close();
  });

  it('reports data and holes', async () => {
    const file = await made(MiB);
    await file.write(256 * 1024, patternBytes(65_536, 1));
    expect(await file.allocation(0, MiB)).toEqual([
      { length: 256 * 1024, isHole: true, isZero: true },
      { length: 65_536, isHole: false, isZero: false },
      { length: MiB - 320 * 1024, isHole: true, isZero: true },
    ]);
    await file.close();
  });

  it('reports thousands of runs without gaps', async () => {
    const file = await made(64 * MiB);
    for (let at = 0; at < 64 * MiB; at += 16_384) await file.write(at, patternBytes(4096, 1));
    const runs = await file.allocation(0, 64 * MiB);
    expect([runs.length, runs.reduce((sum, run) => sum + run.length, 0)]).toEqual([8192, 64 * MiB]);
    await file.close();
  });

  it('tells what is wrong with a file', async () => {
    await expect(BlockFile.open({ path: newPath(), isReadOnly: false })).rejects.toMatchObject({ code: 'VOLUME_NOT_FOUND' });
    await expect(BlockFile.open({ path: sparse(4096), sizeBytes: 8192, isReadOnly: false, create: true })).rejects.toMatchObject({ code: 'VOLUME_SIZE' });
    await expect(BlockFile.open({ path: newPath(), isReadOnly: false, create: true })).rejects.toMatchObject({ code: 'VOLUME_SIZE' });
    await expect(BlockFile.open({ path: folder, isReadOnly: true })).rejects.toMatchObject({ code: 'VOLUME_IO' });
  });

  it('has one writer, or many readers', async () => {
    const path = sparse(4096);
    const writer = await BlockFile.open({ path, isReadOnly: false });
    await expect(BlockFile.open({ path, isReadOnly: false })).rejects.toMatchObject({ code: 'VOLUME_BUSY', isRetryable: true });
    await expect(BlockFile.open({ path, isReadOnly: true })).rejects.toMatchObject({ code: 'VOLUME_BUSY' });
    const unlocked = await BlockFile.open({ path, isReadOnly: true, isLocked: false });
    await unlocked.close();
    await writer.close();
    const readers = [await BlockFile.open({ path, isReadOnly: true }), await BlockFile.open({ path, isReadOnly: true })];
    await Promise.all(readers.map((reader) => reader.close()));
  });

  it('closes after what is in flight, and once', async () => {
    const file = await made(64 * MiB);
    const write = file.write(0, patternBytes(32 * MiB, 1));
    const closed = Promise.all([file.close(), file.close()]);
    await write;
    await closed;
    expect(readFileSync(file.path)[32 * MiB - 1]).toBe(patternBytes(32 * MiB, 1)[32 * MiB - 1]);
  });

  it('says that the file was cut under it', async () => {
    const file = await made(MiB);
    truncateSync(file.path, 4096);
    await expect(file.read(8192, new Uint8Array(4096))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await file.close();
  });
});

describe('BlockFile on a bad disk', () => {
  /** This machine's calls, but for those given. */
  const failing = (wrong: Partial<Sys>): Sys => new Proxy(sys, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(wrong, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });

  it.each([['ENOSPC', 'VOLUME_FULL'], ['EDQUOT', 'VOLUME_FULL'], ['EIO', 'VOLUME_IO'], ['EROFS', 'VOLUME_READ_ONLY']])('%s becomes %s', (errno, code) => {
    expect(volumeErrorOf(Object.assign(new Error(errno), { code: errno }), 'write')).toMatchObject({ code, message: `write: ${errno}` });
  });

  it('no space for zeroes is a full volume, not a broken one', async () => {
    const full = (): Promise<void> => Promise.reject(new SysError('SYS_FULL', 'fallocate', 'ENOSPC'));
    const file = await made(MiB, { sys: failing({ zeroRangeAsync: full }) });
    await expect(file.writeZeroes(0, 4096)).rejects.toMatchObject({ code: 'VOLUME_FULL', isRetryable: true });
    await file.close();
  });

  it('a file system without holes gets zeroes written', async () => {
    const unsupported = (): never => { throw new SysError('SYS_UNSUPPORTED', 'fallocate', 'EOPNOTSUPP'); };
    const file = await made(8 * MiB, { sys: failing({ punchHole: unsupported, punchHoleAsync: () => Promise.resolve().then(unsupported) }) });
    await file.write(0, patternBytes(8 * MiB, 1));
    await file.writeZeroes(100, 4096, { mayUnmap: true });
    await file.writeZeroes(MiB, 6 * MiB, { mayUnmap: true });
    const expected = patternBytes(8 * MiB, 1).fill(0, 100, 4196).fill(0, MiB, 7 * MiB);
    await file.close();
    expect(Buffer.compare(readFileSync(file.path), expected)).toBe(0);
  });

  it('a flush and a forced write do not wait for the fdatasyncs of journals on the same datastore', async () => {
    const file = await made(MiB);
    const gates: (() => void)[] = [];
    const lane = syncLane(statSync(file.path).dev, 'journal');
    const slow = Array.from({ length: 5 }, async () => await lane.run(async () => await new Promise<void>((resolve) => { gates.push(resolve); })));
    await file.flush();
    await file.write(0, patternBytes(512, 1), { isFua: true });
    expect(gates).toHaveLength(2);
    while (gates.length > 0) {
      gates.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(slow);
    await file.close();
  });

  it('a failed fdatasync fails all later flushes and forced writes, though the kernel would say all is well', async () => {
    let calls = 0;
    const once = (): Promise<void> => ((calls += 1) === 1 ? Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })) : Promise.resolve());
    const file = await made(MiB, { sys: failing({ fdatasync: once }) });
    await expect(file.flush()).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(file.flush()).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(file.write(0, new Uint8Array(512), { isFua: true })).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await file.close();
  });

  it('flushes that come while one runs share the next one, which begins after them', async () => {
    const gates: (() => void)[] = [];
    const file = await made(MiB, { sys: failing({ fdatasync: () => new Promise((resolve) => { gates.push(resolve); }) }) });
    const turn = (): Promise<void> => new Promise((resolve) => { setImmediate(resolve); });
    let lateDone = 0;
    const first = file.flush();
    await turn();
    const late = [file.flush(), file.flush()].map(async (flush) => { await flush; lateDone += 1; });
    await turn();
    expect(gates.length).toBe(1);
    gates[0]?.();
    await first;
    await turn();
    expect([gates.length, lateDone]).toEqual([2, 0]);
    gates[1]?.();
    await Promise.all(late);
    expect(lateDone).toBe(2);
    await file.close();
  });
});
