import { describe, expect, it } from '@jest/globals';
import { AlignedVolume } from './aligned-volume.js';
import { MemoryVolume } from './memory-volume.js';
import { describeVolume, patternBytes, readBytes } from './testing/index.js';
import type { Volume } from './volume.js';

const BLOCK = 512;

/** Throws for anything that is not whole blocks, and ends its requests later, as a server does. */
function strict(inner: MemoryVolume): Volume {
  const check = (offset: number, length: number): void => {
    if (offset % BLOCK !== 0 || length % BLOCK !== 0) throw new Error(`${String(offset)}, ${String(length)} is not aligned`);
  };
  return {
    sizeBytes: inner.sizeBytes,
    isReadOnly: inner.isReadOnly,
    read: async (offset, target) => {
      check(offset, target.length);
      await Promise.resolve();
      inner.read(offset, target);
    },
    write: async (offset, source) => {
      check(offset, source.length);
      await Promise.resolve();
      inner.write(offset, source);
    },
    writeZeroes: async (offset, length, options) => {
      check(offset, length);
      await Promise.resolve();
      inner.writeZeroes(offset, length, options);
    },
    flush: () => inner.flush(),
    allocation: (offset, length) => {
      check(offset, length);
      return inner.allocation(offset, length);
    },
    close: () => inner.close(),
  };
}

describeVolume('AlignedVolume', (wanted) => {
  // The suite's size is no multiple of the block; what lies beyond is out of its reach.
  const inner = new MemoryVolume({ ...wanted, sizeBytes: Math.ceil(wanted.sizeBytes / BLOCK) * BLOCK });
  const volume = new AlignedVolume(strict(inner), BLOCK);
  return Object.defineProperty(volume, 'sizeBytes', { value: wanted.sizeBytes });
});

describe('AlignedVolume', () => {
  it('keeps unaligned writes to one block apart: none undoes another', async () => {
    const volume = new AlignedVolume(strict(new MemoryVolume({ sizeBytes: 8 * BLOCK })), BLOCK);
    const expected = patternBytes(8 * BLOCK, 1);
    await Promise.all(Array.from({ length: 8 * BLOCK / 64 }, (_, i) => volume.write(i * 64, expected.subarray(i * 64, (i + 1) * 64))));
    expect(Buffer.compare(await readBytes(volume, 0, 8 * BLOCK), expected)).toBe(0);
  });
});
