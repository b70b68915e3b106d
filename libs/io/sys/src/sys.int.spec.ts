import { closeSync, fsyncSync, ftruncateSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { loadSys, PAGE_BYTES, pageAligned, sys } from './index.js';

const BLOCK = 4096;
let folder: string;
let fd: number;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-sys-'));
  fd = openSync(join(folder, 'file'), 'w+');
});
afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

function filled(blocks: number): void {
  writeSync(fd, Buffer.alloc(blocks * BLOCK, 0xab), 0, blocks * BLOCK, 0);
}
function bytesAt(offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length, 1);
  readSync(fd, bytes, 0, length, offset);
  return bytes;
}

describe('sys on the real file system', () => {
  it('calls libc here', () => {
    expect(sys.isAvailable).toBe(true);
    expect(sys.description).toContain('koffi');
  });

  it('can be loaded more than once in a process', () => {
    expect([loadSys().isAvailable, loadSys().isAvailable]).toEqual([true, true]);
  });

  it('punches a hole: zeroes read, space freed, size and neighbours kept', () => {
    filled(64);
    const before = fstatSync(fd);
    sys.punchHole(fd, { offset: 8 * BLOCK, length: 32 * BLOCK });
    const after = fstatSync(fd);
    expect([after.size, before.blocks - after.blocks]).toEqual([64 * BLOCK, (32 * BLOCK) / 512]);
    expect(bytesAt(8 * BLOCK, 32 * BLOCK).every((byte) => byte === 0)).toBe(true);
    expect([bytesAt(8 * BLOCK - 1, 1)[0], bytesAt(40 * BLOCK, 1)[0]]).toEqual([0xab, 0xab]);
  });

  it('forgets cached pages: what the disk holds is read anew', () => {
    filled(64);
    const page = Buffer.alloc(BLOCK);
    fsyncSync(fd);
    expect(sys.readCached(fd, page, 0)).toBe(BLOCK);
    sys.dropCache(fd);
    expect(sys.readCached(fd, page, 0)).toBe(0);
    expect(bytesAt(0, BLOCK).every((byte) => byte === 0xab)).toBe(true);
    expect(() => sys.dropCache(-1)).toThrow(expect.objectContaining({ name: 'SysError' }));
  });

  it('reads past the page cache what the disk has, and nothing while the page cache has it newer', async () => {
    filled(64);
    const memory = pageAligned(Buffer.alloc(65 * BLOCK), 64 * BLOCK);
    const direct = sys.openDirect(fd);
    // The kernel may write pages back, or have no request free, just then; or, beside a dirty page, write that back just then.
    const readUntil = async (isWanted: (got: number) => boolean, offset: number, before: () => void): Promise<number> => {
      let got = -1;
      for (let time = 0; time < 1000 && !isWanted(got); time += 1) {
        before();
        got = await sys.readDirect(direct, memory, offset);
      }
      return got;
    };
    try {
      expect(await readUntil((got) => got > 0, 0, () => fsyncSync(fd))).toBe(64 * BLOCK);
      expect(memory.every((byte) => byte === 0xab)).toBe(true);
      expect(await readUntil((got) => got > 0, 60 * BLOCK, () => fsyncSync(fd))).toBe(4 * BLOCK); // the file ends there
      expect([await sys.readDirect(direct, memory.subarray(1, 1 + BLOCK), 0), await sys.readDirect(direct, memory.subarray(0, BLOCK), 1)]).toEqual([0, 0]);
      expect(await readUntil((got) => got === 0, 0, () => writeSync(fd, Buffer.alloc(BLOCK, 0xcd), 0, BLOCK, BLOCK))).toBe(0);
    } finally {
      closeSync(direct);
    }
    expect(() => sys.openDirect(-1)).toThrow(expect.objectContaining({ name: 'SysError', errno: 'ENOENT' }));
  });

  it('cuts memory to begin on a page', () => {
    for (let skip = 0; skip < 3; skip += 1) {
      const memory = pageAligned(new Uint8Array(new SharedArrayBuffer(3 * PAGE_BYTES + skip)).subarray(skip), 2 * PAGE_BYTES);
      expect([memory.length, sys.addressOf(memory) % BigInt(PAGE_BYTES)]).toEqual([2 * PAGE_BYTES, 0n]);
    }
  });

  it('finds data and holes', async () => {
    ftruncateSync(fd, 64 * BLOCK);
    expect(sys.seekData(fd, 0)).toBeUndefined();
    writeSync(fd, Buffer.alloc(BLOCK, 1), 0, BLOCK, 16 * BLOCK);
    expect([sys.seekData(fd, 0), sys.seekHole(fd, 16 * BLOCK), sys.seekHole(fd, 0)]).toEqual([16 * BLOCK, 17 * BLOCK, 0]);
    await sys.punchHoleAsync(fd, { offset: 0, length: 64 * BLOCK });
    expect(sys.seekData(fd, 0)).toBeUndefined();
  });

  it('zeroes a range and keeps its space; reserves space without changing what is there', async () => {
    filled(16);
    await sys.zeroRangeAsync(fd, { offset: BLOCK, length: 8 * BLOCK });
    expect(bytesAt(BLOCK, 8 * BLOCK).every((byte) => byte === 0)).toBe(true);
    expect(bytesAt(0, 1)[0]).toBe(0xab);
    await sys.allocateAsync(fd, { offset: 0, length: 32 * BLOCK });
    expect([fstatSync(fd).size, fstatSync(fd).blocks >= (32 * BLOCK) / 512]).toEqual([16 * BLOCK, true]);
    expect(bytesAt(0, 1)[0]).toBe(0xab);
  });

  it('names the error of a failing call', async () => {
    expect(() => sys.punchHole(-1, { offset: 0, length: BLOCK })).toThrow(expect.objectContaining({ code: 'SYS_IO', errno: 'EBADF' }));
    await expect(sys.zeroRangeAsync(-1, { offset: 0, length: BLOCK })).rejects.toMatchObject({ code: 'SYS_IO', errno: 'EBADF' });
    expect(() => sys.seekHole(fd, 10 * BLOCK)).toThrow(expect.objectContaining({ errno: 'ENXIO' }));
    await expect(sys.allocateAsync(fd, { offset: 0, length: 2 ** 52 })).rejects.toMatchObject({ code: 'SYS_FULL' });
  });

  it('lets one writer or many readers lock a file', () => {
    const other = openSync(join(folder, 'file'), 'r+');
    try {
      expect(sys.tryLock(fd, 'exclusive')).toBe(true);
      expect([sys.tryLock(other, 'exclusive'), sys.tryLock(other, 'shared')]).toEqual([false, false]);
      expect([sys.tryLock(fd, 'shared'), sys.tryLock(other, 'shared')]).toEqual([true, true]);
    } finally {
      closeSync(other);
    }
  });

  it('doubles a descriptor', () => {
    filled(1);
    const copy = sys.dup(fd);
    expect(copy).not.toBe(fd);
    closeSync(fd);
    fd = copy;
    expect(bytesAt(0, 1)[0]).toBe(0xab);
  });

  it('reads what is in the page cache', () => {
    filled(4);
    const target = new Uint8Array(2 * BLOCK);
    expect(sys.readCached(fd, target.subarray(100), BLOCK)).toBe(2 * BLOCK - 100);
    expect([target[99], target[100], target[2 * BLOCK - 1]]).toEqual([0, 0xab, 0xab]);
    expect(sys.readCached(fd, target, 4 * BLOCK)).toBe(0);
  });
});

describe('sys without koffi', () => {
  const none = loadSys(() => {
    throw new Error('no prebuilt binary\nlong text');
  });

  it('says so and why', () => {
    expect(none.isAvailable).toBe(false);
    expect(none.description).toContain('(no prebuilt binary): zeroes are written');
  });

  it('fails every call as unsupported', async () => {
    expect(() => none.punchHole(fd, { offset: 0, length: 1 })).toThrow(expect.objectContaining({ code: 'SYS_UNSUPPORTED' }));
    expect(() => none.seekData(fd, 0)).toThrow(expect.objectContaining({ code: 'SYS_UNSUPPORTED' }));
    await expect(none.zeroRangeAsync(fd, { offset: 0, length: 1 })).rejects.toMatchObject({ code: 'SYS_UNSUPPORTED' });
  });
});
