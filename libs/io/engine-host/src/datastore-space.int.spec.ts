import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { allocatedBytes, DatastoreSpace } from './datastore-space.js';

const MiB = 1024 * 1024;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-space-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

describe('space of a datastore', () => {
  it('counts what is allocated, in all folders, and not what is sparse', async () => {
    await mkdir(join(folder, 'a', 'b'), { recursive: true });
    const sparse = await open(join(folder, 'sparse.raw'), 'w');
    await sparse.truncate(64 * MiB);
    await sparse.close();
    await writeFile(join(folder, 'a', 'b', 'journal'), Buffer.alloc(3 * MiB, 1));
    const bytes = await allocatedBytes(folder);
    expect(bytes).toBeGreaterThanOrEqual(3 * MiB);
    expect(bytes).toBeLessThan(4 * MiB);
    await expect(allocatedBytes(join(folder, 'missing'))).resolves.toBe(0);
  });

  it('is the declared capacity less that, and never below nothing', async () => {
    await writeFile(join(folder, 'disk'), Buffer.alloc(2 * MiB, 1));
    const roomy = await DatastoreSpace.open(folder, 10 * MiB);
    const tight = await DatastoreSpace.open(folder, 1 * MiB);
    try {
      expect(roomy.freeBytes).toBeLessThanOrEqual(8 * MiB);
      expect(roomy.freeBytes).toBeGreaterThan(7 * MiB);
      expect(tight.freeBytes).toBe(0);
    } finally {
      roomy.close();
      tight.close();
    }
  });

  it('keeps its guard free, and counts what is written before it is measured again', async () => {
    const space = await DatastoreSpace.open(folder, 1000 * MiB);
    try {
      const { roomBytes } = space;
      expect(space.freeBytes - roomBytes).toBe(150 * MiB);
      space.charge(roomBytes - MiB);
      expect(space.roomBytes).toBe(MiB);
      space.charge(2 * MiB);
      expect(space.roomBytes).toBe(0);
      // What was charged and not written (or is measured by now) counts no longer.
      await new Promise((resolve) => setTimeout(resolve, 1400));
      expect(space.roomBytes).toBe(roomBytes);
    } finally {
      space.close();
    }
  });
});
