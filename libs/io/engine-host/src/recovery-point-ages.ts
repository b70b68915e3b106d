import { protectionKey, type ProtectionRef } from './types.js';

/** A quarter of an hour, at one sample a second; 3.6 kB for each VM. */
const SAMPLES = 900;

/** Distribution over the last quarter of an hour of a VM's recovery point: the age of the newest checkpoint in its journal. */
export interface RecoveryPointAge extends ProtectionRef {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** What design §2 calls the published RPO. Sampled in time, so that a checkpoint that does not come weighs as long as it does not come. */
export class RecoveryPointAges {
  #windows = new Map<string, { readonly ref: ProtectionRef; readonly ages: Float32Array; count: number }>();

  /** Once a second. VMs that are not among them, or have no checkpoint, are forgotten. */
  sample(points: readonly (ProtectionRef & { readonly ageMs: number })[]): void {
    const windows = new Map<string, { readonly ref: ProtectionRef; readonly ages: Float32Array; count: number }>();
    for (const { vpgId, vmId, ageMs } of points) {
      const key = protectionKey({ vpgId, vmId });
      const window = this.#windows.get(key) ?? { ref: { vpgId, vmId }, ages: new Float32Array(SAMPLES), count: 0 };
      window.ages[window.count % SAMPLES] = ageMs;
      window.count += 1;
      windows.set(key, window);
    }
    this.#windows = windows;
  }

  /** Sorts each window: for who asks now and then, not for every status. */
  list(): RecoveryPointAge[] {
    return [...this.#windows.values()].map(({ ref, ages, count }) => {
      const sorted = ages.slice(0, Math.min(count, SAMPLES)).sort();
      const rank = (share: number): number => sorted[Math.ceil(sorted.length * share) - 1] ?? 0;
      return { ...ref, p50Ms: rank(0.5), p99Ms: rank(0.99), maxMs: rank(1) };
    });
  }
}
