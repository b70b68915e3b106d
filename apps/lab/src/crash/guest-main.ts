/** The guests of the crash loop (see {@link GuestProcess}): write their lanes, keep a log of when which write was complete, and answer over IPC. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type LaneMarks, Workload } from '../guest/workload.js';
import type { GuestRequest } from './guest-process.js';
import { CRASH_LANES } from './lanes.js';

const SAMPLE_MS = 25;
/** A checkpoint's marker stands in every stream this long after its time at the latest: interval, hold bound and a slow machine. */
const MARKER_MS_MAX = 1000;
const NS_PER_MS = 1e6;

interface Sample {
  readonly atMs: number;
  readonly completed: LaneMarks;
  readonly issued: LaneMarks;
}

const samples: Sample[] = [];
const delay = monitorEventLoopDelay({ resolution: 5 });
let workload: Workload | undefined;
let failure = '';

function start({ vms, pauseMs }: Extract<GuestRequest, { readonly type: 'start' }>): void {
  const running = new Workload(CRASH_LANES, vms);
  workload = running;
  running.start(pauseMs);
  running.ended.catch((error: unknown) => {
    failure = String(error);
  });
  setInterval(() => samples.push({ atMs: Date.now(), completed: running.completed(), issued: running.issued() }), SAMPLE_MS);
  delay.enable();
}

function takeWait(): object {
  const ownDelayMs = delay.max / NS_PER_MS;
  delay.reset();
  return { waits: workload?.takeWaits() ?? [], ownDelayMs, writeCount: workload?.writeCount ?? 0, failure };
}

function boundsAt(atMs: number): object {
  const before = samples.findLast((sample) => sample.atMs < atMs);
  const after = samples.find((sample) => sample.atMs > atMs + MARKER_MS_MAX);
  return { atLeast: [...(before?.completed ?? new Map<number, number>())], atMost: [...(after?.issued ?? workload?.issued() ?? new Map<number, number>())] };
}

function answer(request: GuestRequest): object {
  switch (request.type) {
    case 'start':
      start(request);
      return {};
    case 'wait':
      return takeWait();
    case 'bounds':
      return boundsAt(request.atMs);
  }
}

process.on('message', (request: GuestRequest) => {
  try {
    process.send?.({ result: answer(request) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.on('disconnect', () => process.exit(0));
