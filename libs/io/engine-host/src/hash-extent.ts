import { KiB } from '@tidemark/base';
import type { BlockHashes } from '@tidemark/frame';
import type { AllocationRun, ReadOptions, Volume } from '@tidemark/volume';
import type { HashPool } from './hash-pool.js';

/** Below this, asking for holes costs as much as reading. */
export const HOLE_QUERY_BYTES_MIN = 64 * KiB;
/** A piece in more runs than this is read as a whole. */
const RUNS_MAX = 16;

/** Past the page cache where that can be: the copies out of it were half of the CPU of a sync, and it belongs to the guests. */
export const READ_ONCE: ReadOptions = { isOnce: true };

type Readable = Pick<Volume, 'read' | 'allocation'>;

/** Digests of an extent, read past its holes. */
export async function hashExtent(pool: HashPool, volume: Readable, { offset, length }: { readonly offset: number; readonly length: number }): Promise<BlockHashes> {
  const runs = await volume.allocation(offset, length);
  if (isAllZero(runs)) return 'zeroes';
  return await pool.digests(length, async (target) => {
    if (runs.length > RUNS_MAX) await volume.read(offset, target, READ_ONCE);
    else await readRuns(volume, offset, target, runs);
  });
}

export const isAllZero = (runs: readonly AllocationRun[]): boolean => runs.every(({ isZero }) => isZero);

async function readRuns(volume: Readable, offset: number, target: Uint8Array, runs: readonly AllocationRun[]): Promise<void> {
  let at = 0;
  for (const { length, isZero } of runs) {
    const part = target.subarray(at, at + length);
    if (isZero) part.fill(0);
    else await volume.read(offset + at, part, READ_ONCE);
    at += length;
  }
}
