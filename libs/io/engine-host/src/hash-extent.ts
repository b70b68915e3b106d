import { KiB } from '@tidemark/base';
import type { BlockHashes } from '@tidemark/frame';
import type { AllocationRun, Volume } from '@tidemark/volume';
import type { HashPool } from './hash-pool.js';

/** Below this, asking for holes costs as much as reading. */
export const HOLE_QUERY_BYTES_MIN = 64 * KiB;
/** A piece in more runs than this is read as a whole. */
const RUNS_MAX = 16;

type Readable = Pick<Volume, 'read' | 'allocation'>;

/** Digests of an extent, read past its holes. */
export async function hashExtent(pool: HashPool, volume: Readable, { offset, length }: { readonly offset: number; readonly length: number }): Promise<BlockHashes> {
  const runs = await volume.allocation(offset, length);
  if (isAllZero(runs)) return 'zeroes';
  return await pool.digests(length, async (target) => {
    if (runs.length > RUNS_MAX) await volume.read(offset, target);
    else await readRuns(volume, offset, target, runs);
  });
}

export const isAllZero = (runs: readonly AllocationRun[]): boolean => runs.every(({ isZero }) => isZero);

async function readRuns(volume: Readable, offset: number, target: Uint8Array, runs: readonly AllocationRun[]): Promise<void> {
  let at = 0;
  for (const { length, isZero } of runs) {
    const part = target.subarray(at, at + length);
    if (isZero) part.fill(0);
    else await volume.read(offset + at, part);
    at += length;
  }
}
