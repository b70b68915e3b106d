import { BLOCK_BYTES } from '@tidemark/base';
import type { Random } from './random.js';

/** Fault kinds; each run has some of them, at its own rate. */
export const FAULTS = [
  'killRecovering', 'powerLossRecovering', 'killProtecting', 'cutOne', 'cutAll', 'blockOneWay', 'slowDisk', 'fullDisk', 'failSync', 'stepClock',
  'readErrors', 'writeErrors', 'refuseConfirm', 'insertTagged', 'openView', 'pauseRetirement',
] as const;
export type Fault = (typeof FAULTS)[number];

/** Mean time between two of a kind; those not named here get the usual ones. Checkpoints on demand may come one right after the other. */
const MEAN_MS: Partial<Record<Fault, readonly number[]>> = { insertTagged: [15, 100, 400], openView: [200, 1000] };

/** What one run looks like: chosen by the seed, so that some runs are extreme in one way and quiet in all others. */
export interface SwarmOptions {
  readonly protectingCount: 1 | 2 | 3;
  readonly recoveringCount: 1 | 2;
  readonly vmVolumeBytes: readonly (readonly number[])[];
  readonly faults: ReadonlyMap<Fault, number>;
  readonly faultPhaseMs: number;
  readonly threadCount: number;
  readonly thinkMsMax: number;
  readonly writeSectorsMax: number;
  readonly readChance: number;
  readonly zeroesChance: number;
  /** Chance that a thread's next request goes to the VM after the one before, rather than the same. */
  readonly hopChance: number;
  readonly budgetBytes: number;
  readonly frameBytesMax: number;
  readonly creditBytesMax: number;
  readonly segmentBytes: number;
  readonly intervalMs: number;
  readonly holdBoundMs: number;
  readonly historyMs: number;
  readonly delayMsMax: number;
  readonly spikeMsMax: number;
  readonly ioMsMax: number;
  readonly diskMsMax: number;
}

export function swarm(random: Random): SwarmOptions {
  const protectingCount = random.pick([1, 2, 2, 2, 3] as const);
  const vmCount = Math.max(protectingCount, random.pick([2, 3, 3, 4]));
  const isQuiet = random.chance(0.1);
  const faults = new Map<Fault, number>();
  for (const fault of FAULTS) if (!isQuiet && random.chance(0.3)) faults.set(fault, random.pick(MEAN_MS[fault] ?? [400, 1200, 3000]));
  return {
    protectingCount,
    recoveringCount: random.pick([1, 2]),
    vmVolumeBytes: Array.from({ length: vmCount }, () => volumes(random)),
    faults,
    faultPhaseMs: random.pick([2000, 4000, 7000]),
    threadCount: random.pick([2, 4, 8]),
    thinkMsMax: random.pick([1, 5, 30]),
    writeSectorsMax: random.pick([1, 8, 24]),
    readChance: random.pick([0, 0.2, 0.5]),
    zeroesChance: random.pick([0, 0.1, 0.3]),
    hopChance: random.pick([0.3, 0.8, 1]),
    budgetBytes: random.pick([24, 100, 1000]) * 1024,
    frameBytesMax: random.pick([2000, 16_000, 64_000]),
    creditBytesMax: random.pick([30_000, 200_000]),
    segmentBytes: random.pick([16, 64, 256]) * 1024,
    intervalMs: random.pick([60, 200, 300, 700]),
    holdBoundMs: 50,
    historyMs: random.pick([500, 1500, 5000, 60_000]),
    delayMsMax: random.pick([0.5, 2, 2, 15, 40]),
    spikeMsMax: random.pick([0, 0, 80, 400]),
    ioMsMax: random.pick([0.5, 3, 12, 50]),
    diskMsMax: random.pick([0.3, 2, 15]),
  };
}

function volumes(random: Random): number[] {
  const count = random.pick([1, 1, 2]);
  // Sizes need not be whole blocks.
  return Array.from({ length: count }, () => random.pick([6, 12, 20]) * BLOCK_BYTES + random.pick([0, 512]));
}
