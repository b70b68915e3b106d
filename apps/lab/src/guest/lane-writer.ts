import { setTimeout as sleep } from 'node:timers/promises';
import { blockOfWrite, type LanePlan } from './lane.js';
import type { NbdGuest } from './nbd-guest.js';

/** Begins to measure a wait. @returns what tells how long it has lasted, milliseconds */
export type WaitMeasure = () => () => number;

const byTheClock: WaitMeasure = () => {
  const startedAtMs = performance.now();
  return () => performance.now() - startedAtMs;
};

/** Writes one lane for as long as it is wanted. */
export class LaneWriter {
  #issuedSeq = 0;
  #completedSeq = 0;
  #slowestMs = 0;

  /** @param guests one for each region of the plan, in its order */
  constructor(
    readonly plan: LanePlan,
    private readonly guests: readonly NbdGuest[],
    private readonly beginWait = byTheClock,
  ) {}

  /** The newest write that was handed to a disk. */
  get issuedSeq(): number {
    return this.#issuedSeq;
  }

  /** The newest write that a disk has reported as done. */
  get completedSeq(): number {
    return this.#completedSeq;
  }

  /** The longest that a guest has waited for one write, milliseconds, since this was asked last. */
  takeSlowestMs(): number {
    const slowest = this.#slowestMs;
    this.#slowestMs = 0;
    return slowest;
  }

  async run(signal: AbortSignal, pauseMs: number): Promise<void> {
    while (!signal.aborted) {
      await this.writeNext();
      if (pauseMs > 0) await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async writeNext(): Promise<void> {
    const seq = this.#issuedSeq + 1;
    const { place, bytes } = blockOfWrite(this.plan, seq);
    const guest = this.guests[place.region];
    if (!guest) throw new RangeError(`no guest for region ${place.region}`);
    this.#issuedSeq = seq;
    const waitedMs = this.beginWait();
    await guest.write(place.offset, bytes);
    this.#slowestMs = Math.max(this.#slowestMs, waitedMs());
    this.#completedSeq = seq;
  }
}
