import type { MonotonicMs, WallClockMs } from '@tidemark/base';
import { RunningClock, type ClockReading, type RunningClockOptions } from '@tidemark/checkpoint';
import type { Logger } from './types.js';

export interface HostClocks {
  readonly monotonicMs: MonotonicMs;
  readonly wallClockMs: WallClockMs;
}

/** The newest contradiction of the host's clocks, while nothing is retired by age because of it. */
export interface ClockDoubtStatus {
  /** How far the wall clock went beyond what the monotonic clock counted; below 0: back. */
  readonly byMs: number;
  /** Wall clock behind it. */
  readonly atMs: number;
  readonly endsInMs: number;
}

export interface AgeClockOptions extends RunningClockOptions {
  readonly log: Logger;
  /** For tests. */
  readonly clocks?: HostClocks | undefined;
}

const HOST_CLOCKS: HostClocks = { monotonicMs: () => performance.now(), wallClockMs: () => Date.now() };
/** A process that was stopped between the two readings has not seen a step. */
const READING_MS_MAX = 100;
const READINGS_MAX = 5;

/** The one clock by which checkpoints of this VRA age: what arrival, age and thinning are measured with. Its readings are this process's only. */
export class AgeClock {
  readonly clocks: HostClocks;
  readonly #log: Logger;
  readonly #clock: RunningClock;
  #toldAtMs: number | undefined;

  constructor({ log, clocks = HOST_CLOCKS, ...options }: AgeClockOptions) {
    this.clocks = clocks;
    this.#log = log;
    this.#clock = new RunningClock(this.#reading(), options);
  }

  /** Never goes back. */
  nowMs(): number {
    const nowMs = this.#clock.read(this.#reading());
    const { doubt } = this.#clock;
    if (doubt?.atMs !== this.#toldAtMs) this.#tell(doubt);
    return nowMs;
  }

  /** null: ages are trusted. */
  doubt(): ClockDoubtStatus | null {
    this.nowMs();
    return this.#clock.doubt ?? null;
  }

  #tell(doubt: ClockDoubtStatus | undefined): void {
    this.#toldAtMs = doubt?.atMs;
    if (doubt) this.#log.error({ ...doubt }, 'wall clock and running time of this host contradict each other: until they have agreed for a while nothing is retired or thinned by age');
    else this.#log.info({}, 'the clocks of this host have agreed for long enough: checkpoints are retired by age again');
  }

  #reading(): ClockReading {
    const { monotonicMs, wallClockMs } = this.clocks;
    for (let i = 1; ; i += 1) {
      const reading = { monotonicMs: monotonicMs(), wallMs: wallClockMs() };
      if (monotonicMs() - reading.monotonicMs <= READING_MS_MAX || i === READINGS_MAX) return reading;
    }
  }
}
