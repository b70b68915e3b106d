import { threadsOf, threadTimes } from './thread-times.js';

/** A reading of the kernel's counters that is not older is good enough, and a shorter wait is taken as it is. */
const READ_MS = 5;

/** When a wait began, and what the kernel had counted until then. */
export interface WaitStart {
  readonly atMs: number;
  readonly counters: Counters;
}

interface Counters {
  readonly readAtMs: number;
  /** On a CPU: main thread of each process. */
  readonly ranMs: ReadonlyMap<number, number>;
  /** Every thread: ready to run, and no CPU. Of the guest's: on a CPU as well. */
  readonly hinderedMs: ReadonlyMap<number, number>;
}

/**
 * Measures how long processes keep those waiting who wait for them, on a machine that has other work as well. Taken off is the time in which a thread of theirs
 * was ready to run and had no CPU. What stays is that in which they computed, slept or waited for something else; never less than their main thread ran, for that
 * is where guests are answered. Threads that are hindered at the same time count one by one: under load it shows too little rather than too much, with CPUs to
 * spare all.
 */
export class WaitMeter {
  #last: Counters | undefined;

  /**
   * @param pids the processes, as of now
   * @param guestPid who waits, if it is a process of this test that has other work in the same thread: that work is taken off, too
   */
  constructor(
    private readonly pids: () => readonly number[],
    private readonly guestPid?: number,
  ) {}

  start(): WaitStart {
    const atMs = performance.now();
    return { atMs, counters: this.#counters(atMs) };
  }

  /** Since then, milliseconds. */
  waitedMs({ atMs, counters: before }: WaitStart): number {
    const nowMs = performance.now();
    const wallMs = nowMs - atMs;
    if (wallMs < READ_MS) return wallMs;
    const after = this.#counters(nowMs);
    const ranMs = Math.max(0, ...increases(before.ranMs, after.ranMs));
    const hinderedMs = increases(before.hinderedMs, after.hinderedMs).reduce((sum, ms) => sum + ms, 0);
    return Math.min(wallMs, Math.max(ranMs, wallMs - hinderedMs));
  }

  #counters(nowMs: number): Counters {
    if (!this.#last || nowMs - this.#last.readAtMs >= READ_MS) this.#last = this.#read(nowMs);
    return this.#last;
  }

  #read(readAtMs: number): Counters {
    const ranMs = new Map<number, number>();
    const hinderedMs = new Map<number, number>();
    for (const pid of this.pids()) {
      for (const thread of threadsOf(pid)) {
        const times = threadTimes(pid, thread);
        if (!times) continue;
        hinderedMs.set(thread, times.queuedMs);
        if (thread === pid) ranMs.set(pid, times.ranMs);
      }
    }
    const guest = this.guestPid === undefined ? undefined : threadTimes(this.guestPid, this.guestPid);
    if (guest && this.guestPid !== undefined) hinderedMs.set(this.guestPid, guest.ranMs + guest.queuedMs);
    return { readAtMs, ranMs, hinderedMs };
  }
}

/** Who is not in `before` has begun since. */
const increases = (before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number[] => [...after].map(([id, ms]) => Math.max(0, ms - (before.get(id) ?? 0)));
