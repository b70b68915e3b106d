import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { AllocationRun, Volume } from '../volume.js';
import { applyToBoth, differenceAt, type VolumeAction, volumeActions } from './volume-model.js';

export interface VolumeWanted {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

/** Makes a new volume that reads as zeroes. The suite closes it. */
export type MakeVolume = (wanted: VolumeWanted) => Volume | Promise<Volume>;

/** Makes a read-only volume with these contents. The suite closes it. */
export type MakeReadOnlyVolume = (contents: Uint8Array) => Volume | Promise<Volume>;

// Not a multiple of 4 KiB: the last block is a short one.
const SIZE = 1024 * 1024 + 1536;

/** Contents that differ at every offset and between seeds, never zero. */
export function patternBytes(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i += 1) bytes[i] = ((i * 31 + (i >>> 8) * 17 + seed * 101) % 255) + 1;
  return bytes;
}

/** Reads a range; the target is filled with rubbish first, so that a read that does nothing is seen. */
export async function readBytes(volume: Volume, offset: number, length: number): Promise<Uint8Array> {
  const target = new Uint8Array(length).fill(0xa5);
  await volume.read(offset, target);
  return target;
}

/** Runs one operation and gives the error code with which it failed, thrown or rejected; `undefined` when it succeeded. */
async function codeOf(run: () => unknown): Promise<unknown> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return (error as { code?: unknown }).code ?? error;
  }
}

function expectCover(runs: readonly AllocationRun[], length: number): void {
  expect(runs.every((run) => run.length > 0)).toBe(true);
  expect(runs.reduce((sum, run) => sum + run.length, 0)).toBe(length);
}

/** What a run says to be zero must read as zeroes. */
async function expectHonest(volume: Volume, offset: number, length: number): Promise<void> {
  const runs = await volume.allocation(offset, length);
  expectCover(runs, length);
  let at = offset;
  for (const run of runs) {
    if (run.isZero) expect((await readBytes(volume, at, run.length)).every((byte) => byte === 0)).toBe(true);
    at += run.length;
  }
}

async function withVolume(made: Volume | Promise<Volume>, use: (volume: Volume) => Promise<void>): Promise<void> {
  const volume = await made;
  try {
    await use(volume);
  } finally {
    await volume.close();
  }
}

/** The conformance suite of the {@link Volume} port: every writable volume passes it. */
export function describeVolume(name: string, make: MakeVolume): void {
  const writable = (use: (volume: Volume) => Promise<void>, sizeBytes = SIZE) => async (): Promise<void> =>
    await withVolume(make({ sizeBytes, isReadOnly: false }), use);

  describe(`${name} as a volume`, () => {
    it('has the size asked for and reads as zeroes when new', writable(async (volume) => {
      expect([volume.sizeBytes, volume.isReadOnly]).toEqual([SIZE, false]);
      expect((await readBytes(volume, 0, SIZE)).every((byte) => byte === 0)).toBe(true);
    }));

    it.each([[0, 4096], [4096, 65_536], [512, 512], [1, 1], [4095, 2], [123, 70_001], [SIZE - 1, 1], [SIZE - 5000, 5000]])(
      'reads back what was written at %d, %d bytes, and nothing else changed', async (offset, length) => {
        await writable(async (volume) => {
          const expected = patternBytes(SIZE, 1);
          await volume.write(0, patternBytes(SIZE, 1));
          await volume.write(offset, patternBytes(length, 2));
          expected.set(patternBytes(length, 2), offset);
          expect(differenceAt(await readBytes(volume, 0, SIZE), expected)).toBe(-1);
          expect(differenceAt(await readBytes(volume, offset, length), patternBytes(length, 2))).toBe(-1);
        })();
      });

    it.each([[0, 4096, true], [0, SIZE, true], [4000, 9000, true], [4000, 9000, false], [777, 100, true], [SIZE - 4000, 4000, true], [8192, 65_536, false]])(
      'reads zeroes after writeZeroes at %d, %d bytes, mayUnmap %s, and the rest is kept', async (offset, length, mayUnmap) => {
        await writable(async (volume) => {
          const expected = patternBytes(SIZE, 3);
          await volume.write(0, patternBytes(SIZE, 3));
          await volume.writeZeroes(offset, length, { mayUnmap });
          expected.fill(0, offset, offset + length);
          expect(differenceAt(await readBytes(volume, 0, SIZE), expected)).toBe(-1);
          await expectHonest(volume, 0, SIZE);
        })();
      });

    it('reports runs that cover any range asked for, and calls nothing zero that is not', writable(async (volume) => {
      await volume.write(65_536, patternBytes(70_000, 4));
      await volume.write(512 * 1024 + 100, patternBytes(1, 4));
      for (const [offset, length] of [[0, SIZE], [1, 100_000], [65_536, 1], [70_001, 4096], [SIZE - 1, 1]] as const) {
        await expectHonest(volume, offset, length);
      }
    }));

    it('holds requests of no bytes harmless', writable(async (volume) => {
      await volume.read(10, new Uint8Array(0));
      await volume.write(SIZE, new Uint8Array(0));
      await volume.writeZeroes(SIZE, 0);
      expectCover(await volume.allocation(100, 0), 0);
    }));

    it('takes operations that are in flight together', writable(async (volume) => {
      const writes = Array.from({ length: 64 }, (_, i) => volume.write(i * 10_000, patternBytes(10_000, i)));
      for (const write of writes) await write;
      const reads = await Promise.all(writes.map((_, i) => readBytes(volume, i * 10_000, 10_000)));
      expect(reads.every((bytes, i) => differenceAt(bytes, patternBytes(10_000, i)) === -1)).toBe(true);
    }));

    it('flushes, and writes with forced unit access', writable(async (volume) => {
      await volume.write(0, patternBytes(4096, 5), { isFua: true });
      await volume.writeZeroes(4096, 4096, { isFua: true, mayUnmap: true });
      await volume.flush();
      expect(differenceAt(await readBytes(volume, 0, 4096), patternBytes(4096, 5))).toBe(-1);
    }));

    it('keeps a source that it was handed over without changing it', writable(async (volume) => {
      const source = patternBytes(9000, 6);
      await volume.write(100, source);
      await volume.write(5000, patternBytes(2000, 7));
      await volume.writeZeroes(0, 3000, { mayUnmap: true });
      expect(differenceAt(source, patternBytes(9000, 6))).toBe(-1);
    }));

    it('asserts ranges inside the volume', writable(async (volume) => {
      for (const run of [() => volume.read(SIZE - 1, new Uint8Array(2)), () => volume.write(SIZE, new Uint8Array(1)), () => volume.writeZeroes(-1, 1)]) {
        expect(await codeOf(run)).toMatchObject({ name: 'AssertionError' });
      }
    }));

    it('refuses writes when read-only, and reads', async () => {
      await withVolume(make({ sizeBytes: SIZE, isReadOnly: true }), async (volume) => {
        expect(volume.isReadOnly).toBe(true);
        await expectRefusesWrites(volume);
        expect((await readBytes(volume, 0, 4096)).every((byte) => byte === 0)).toBe(true);
      });
    });

    it('refuses everything after close', async () => {
      const volume = await make({ sizeBytes: SIZE, isReadOnly: false });
      await volume.close();
      expect(await codeOf(() => volume.read(0, new Uint8Array(512)))).toBe('VOLUME_CLOSED');
      expect(await codeOf(() => volume.write(0, new Uint8Array(512)))).toBe('VOLUME_CLOSED');
      expect(await codeOf(() => volume.writeZeroes(0, 512))).toBe('VOLUME_CLOSED');
      expect(await codeOf(() => volume.flush())).toBe('VOLUME_CLOSED');
    });

    it('equals an array of bytes after any sequence of operations', async () => {
      const sizeBytes = 64 * 1024 + 1000;
      await fc.assert(fc.asyncProperty(volumeActions(sizeBytes), async (actions: readonly VolumeAction[]) => {
        await writable(async (volume) => {
          const model = new Uint8Array(sizeBytes);
          for (const action of actions) await applyToBoth(action, { volume, model });
          expect(differenceAt(await readBytes(volume, 0, sizeBytes), model)).toBe(-1);
          await expectHonest(volume, 0, sizeBytes);
        }, sizeBytes)();
      }), { numRuns: 40 });
    });
  });
}

async function expectRefusesWrites(volume: Volume): Promise<void> {
  expect(await codeOf(() => volume.write(0, new Uint8Array(512)))).toBe('VOLUME_READ_ONLY');
  expect(await codeOf(() => volume.writeZeroes(0, 512))).toBe('VOLUME_READ_ONLY');
}

/** The part of the suite that volumes pass which nobody can write to, such as a checkpoint view without scratch. */
export function describeReadOnlyVolume(name: string, make: MakeReadOnlyVolume): void {
  const contents = (): Uint8Array => {
    const bytes = patternBytes(SIZE, 8);
    bytes.fill(0, 100_000, 300_000);
    return bytes;
  };

  describe(`${name} as a read-only volume`, () => {
    it.each([[0, SIZE], [1, 1], [4095, 2], [99_000, 5000], [150_000, 70_000], [299_999, 100_000], [SIZE - 1, 1]])(
      'reads its contents at %d, %d bytes', async (offset, length) => {
        await withVolume(make(contents()), async (volume) => {
          expect([volume.sizeBytes, volume.isReadOnly]).toEqual([SIZE, true]);
          expect(differenceAt(await readBytes(volume, offset, length), contents().subarray(offset, offset + length))).toBe(-1);
          await expectHonest(volume, offset, length);
        });
      });

    it('refuses writes, and everything after close', async () => {
      const volume = await make(contents());
      await expectRefusesWrites(volume);
      await volume.flush();
      await volume.close();
      expect(await codeOf(() => volume.read(0, new Uint8Array(512)))).toBe('VOLUME_CLOSED');
    });
  });
}
