import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PAGE_BYTES, payloadPool, sys } from '@tidemark/sys';
import type { AllocationRun, ReadOptions } from '@tidemark/volume';
import { hashExtent } from './hash-extent.js';
import { HashPool } from './hash-pool.js';
import type { ProtectedVolume } from './protected-volume.js';
import { readForSync } from './sync-source.js';

const KiB = 1024;
const DATA = { isHole: false, isZero: false };
const HOLE = { isHole: true, isZero: true };

interface SeenRead {
  readonly offset: number;
  readonly length: number;
  readonly isOnce: boolean | undefined;
  /** Beyond the last page border. */
  readonly strayBytes: bigint;
}

/** Notes how it is read. */
function volumeOf(runs: AllocationRun[]): { readonly volume: ProtectedVolume; readonly reads: SeenRead[] } {
  const reads: SeenRead[] = [];
  const volume = {
    allocation: () => runs,
    read: (offset: number, target: Uint8Array, options?: ReadOptions) => {
      reads.push({ offset, length: target.length, isOnce: options?.isOnce, strayBytes: sys.addressOf(target) % BigInt(PAGE_BYTES) });
      target.fill(1);
    },
  };
  return { volume: volume as unknown as ProtectedVolume, reads };
}

describe('what a sync reads', () => {
  let pool: HashPool;
  beforeAll(() => { pool = new HashPool(1); });
  afterAll(async () => await pool.close());

  it('is read once, into memory that begins on a page: to be sent', async () => {
    const { volume, reads } = volumeOf([{ length: 256 * KiB, ...DATA }]);
    expect(await readForSync(volume, 4096, payloadPool.take(256 * KiB))).toHaveLength(256 * KiB);
    expect(reads).toEqual([{ offset: 4096, length: 256 * KiB, isOnce: true, strayBytes: 0n }]);
  });

  it('is read once, into memory that begins on a page: to be hashed, past its holes', async () => {
    const { volume, reads } = volumeOf([{ length: 128 * KiB, ...DATA }, { length: 64 * KiB, ...HOLE }, { length: 64 * KiB, ...DATA }]);
    const digests = await hashExtent(pool, volume, { offset: 0, length: 256 * KiB });
    expect(reads).toEqual([{ offset: 0, length: 128 * KiB, isOnce: true, strayBytes: 0n }, { offset: 192 * KiB, length: 64 * KiB, isOnce: true, strayBytes: 0n }]);
    const isZero = (block: number): boolean => typeof digests !== 'string' && digests.subarray(block * 32, block * 32 + 32).every((byte) => byte === 0);
    expect([digests.length, isZero(0), isZero(32), isZero(47), isZero(48)]).toEqual([64 * 32, false, true, true, false]);
  });

  it('is not read where all of it is a hole', async () => {
    const { volume, reads } = volumeOf([{ length: 256 * KiB, ...HOLE }]);
    expect([await readForSync(volume, 0, payloadPool.take(256 * KiB)), await hashExtent(pool, volume, { offset: 0, length: 256 * KiB }), reads]).toEqual(['zeroes', 'zeroes', []]);
  });
});
