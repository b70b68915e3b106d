import { TidemarkError } from '@tidemark/base';
import type { Random } from '../sim/random.js';

/** A decoder of bytes from peers or disks. */
export interface FuzzTarget {
  readonly name: string;
  /** Makes an input and decodes it, both by `random` alone. May throw typed errors; whatever else it throws is a finding. */
  run(random: Random): void | Promise<void>;
  /** Executions in the gate's short run. */
  readonly gateCount: number;
}

export interface Finding {
  readonly target: string;
  readonly seed: number;
  readonly what: string;
}

/** One input is at most 300 KB, so one execution that takes longer does work that its input did not pay for. Generous: machines that test are busy. */
const TIME_MS_MAX = 2000;
/** Nor may it allocate what a length merely announces (a frame may announce 33 MiB, an NBD request 4 GiB). */
const MEMORY_BYTES_MAX = 24 * 1024 * 1024;

/** Said by targets themselves: an invariant of the decoded result does not hold. */
export class FuzzViolation extends Error {}

export async function execute(target: FuzzTarget, seed: number, makeRandom: (seed: number) => Random): Promise<Finding | undefined> {
  const beganMs = performance.now();
  const before = process.memoryUsage().arrayBuffers;
  try {
    const done = target.run(makeRandom(seed));
    if (done) await done;
  } catch (error) {
    if (!(error instanceof TidemarkError)) return { target: target.name, seed, what: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  const elapsedMs = performance.now() - beganMs;
  if (elapsedMs > TIME_MS_MAX) return { target: target.name, seed, what: `took ${Math.round(elapsedMs)} ms` };
  const grownBytes = process.memoryUsage().arrayBuffers - before;
  if (grownBytes > MEMORY_BYTES_MAX) return { target: target.name, seed, what: `allocated ${grownBytes} bytes` };
  return undefined;
}
