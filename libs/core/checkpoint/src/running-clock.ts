/** Both clocks of a host at one moment, ms. */
export interface ClockReading {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

export interface ClockStep {
  /** How far the wall clock went beyond what the monotonic clock counted meanwhile; below 0: it was set back. */
  readonly byMs: number;
  /** Wall clock behind the step. */
  readonly atMs: number;
}

export interface RunningClockOptions {
  /** From this difference on the two clocks contradict each other. Default 10 s: leap seconds and a daemon's corrections stay below it. */
  readonly stepMsMin?: number;
  /** How long they must agree again until ages are trusted. Default 1 h. */
  readonly settleMs?: number;
}

/**
 * The time by which checkpoints age: the monotonic clock, with the wall clock as its witness. Where they contradict each other nobody can say which of them is wrong,
 * so no more is counted than both have seen. Too little age costs journal space; too much costs the history. ADR 0049
 */
export class RunningClock {
  readonly #stepMsMin: number;
  readonly #settleMs: number;
  /** The reading since which the two agree. */
  #anchor: ClockReading;
  #last: ClockReading;
  #runningMs: number;
  #step: ClockStep | undefined;
  #trustedFromMs = -Infinity;

  constructor(first: ClockReading, { stepMsMin = 10_000, settleMs = 3_600_000 }: RunningClockOptions = {}) {
    this.#anchor = { ...first };
    this.#last = { ...first };
    this.#runningMs = first.monotonicMs;
    this.#stepMsMin = stepMsMin;
    this.#settleMs = settleMs;
  }

  /** Never goes back. Read it every second at least: a contradiction costs the time since the reading before. */
  read({ monotonicMs, wallMs }: ClockReading): number {
    const countedMs = Math.max(0, monotonicMs - this.#last.monotonicMs);
    const seenMs = Math.max(0, wallMs - this.#last.wallMs);
    const byMs = wallMs - this.#anchor.wallMs - (monotonicMs - this.#anchor.monotonicMs);
    const isStep = Math.abs(byMs) >= this.#stepMsMin;
    this.#runningMs += isStep ? Math.min(countedMs, seenMs) : countedMs;
    this.#last = { monotonicMs, wallMs };
    if (isStep) {
      this.#anchor = this.#last;
      this.#step = { byMs, atMs: wallMs };
      this.#trustedFromMs = this.#runningMs + this.#settleMs;
    }
    return this.#runningMs;
  }

  /** At the last reading: the newest contradiction, while ages are not to be trusted because of it. */
  get doubt(): (ClockStep & { readonly endsInMs: number }) | undefined {
    const endsInMs = this.#trustedFromMs - this.#runningMs;
    return this.#step && endsInMs > 0 ? { ...this.#step, endsInMs } : undefined;
  }
}
