import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The histogram counts the time between two of its timers, this one included. */
const RESOLUTION_MS = 5;
const WINDOW_MS = 30_000;
const NANOS_PER_MS = 1e6;

export interface EventLoopDelay {
  readonly p99Ms: number;
  /** The longest turn of the last 30 to 60 seconds: so long a guest's write may have waited for this process. */
  readonly maxMs: number;
}

/**
 * How long the event loop that answers the guests was busy with something else. Kept for a whole window and the one that runs: whoever asks, and
 * however often, sees every long turn.
 */
export class EventLoopWatch {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #timer: NodeJS.Timeout;
  #previous: EventLoopDelay = { p99Ms: 0, maxMs: 0 };

  constructor(windowMs = WINDOW_MS) {
    this.#histogram.enable();
    this.#timer = setInterval(() => {
      this.#previous = this.#current();
      this.#histogram.reset();
    }, windowMs).unref();
  }

  sample(): EventLoopDelay {
    const current = this.#current();
    return { p99Ms: Math.max(current.p99Ms, this.#previous.p99Ms), maxMs: Math.max(current.maxMs, this.#previous.maxMs) };
  }

  /** Forgets what was. */
  reset(): void {
    this.#previous = { p99Ms: 0, maxMs: 0 };
    this.#histogram.reset();
  }

  #current(): EventLoopDelay {
    const { count, max } = this.#histogram;
    if (count === 0) return { p99Ms: 0, maxMs: 0 };
    const delayMs = (nanos: number): number => Math.max(0, nanos / NANOS_PER_MS - RESOLUTION_MS);
    return { p99Ms: delayMs(this.#histogram.percentile(99)), maxMs: delayMs(max) };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#histogram.disable();
  }
}
