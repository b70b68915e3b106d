import { readdirSync, readFileSync } from 'node:fs';

const NANOS_PER_MS = 1e6;

/** What the kernel counts for a thread, milliseconds. */
export interface ThreadTimes {
  /** On a CPU. */
  readonly ranMs: number;
  /** Ready to run, and every CPU had something else to do. */
  readonly queuedMs: number;
}

/** `schedstat` (Documentation/scheduler/sched-stats.rst): nanoseconds on a CPU, nanoseconds on a run queue, turns. A thread that has ended: undefined. */
export function threadTimes(pid: number, threadId: number): ThreadTimes | undefined {
  try {
    const [ran, queued] = readFileSync(`/proc/${pid}/task/${threadId}/schedstat`, 'utf8').split(' ');
    return { ranMs: Number(ran) / NANOS_PER_MS, queuedMs: Number(queued) / NANOS_PER_MS };
  } catch {
    return undefined;
  }
}

/** A process that has ended: none. */
export function threadsOf(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}
