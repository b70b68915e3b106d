import { describe, expect, it } from '@jest/globals';
import { RunningClock } from './index.js';

const DAY_MS = 86_400_000;
const WALL_MS = 1_790_000_000_000;

/** A host's two clocks, read each second; `settleMs` 60 s. */
class Host {
  monotonicMs = 5000;
  wallMs = WALL_MS;
  readonly clock = new RunningClock({ monotonicMs: 5000, wallMs: WALL_MS }, { settleMs: 60_000 });

  pass(seconds: number): number {
    let runningMs = 0;
    for (let i = 0; i < seconds; i += 1) {
      this.monotonicMs += 1000;
      this.wallMs += 1000;
      runningMs = this.clock.read(this);
    }
    return runningMs;
  }
}

describe('the time by which checkpoints age', () => {
  it('begins where the monotonic clock stands and goes on as it does', () => {
    const host = new Host();
    expect(host.pass(7)).toBe(12_000);
    expect(host.clock.doubt).toBeUndefined();
  });

  it.each([['three days forward', 3 * DAY_MS, 1000], ['two days back', -2 * DAY_MS, 0]])('a wall clock set %s adds nothing to it, and is doubted until both have agreed for a while', (_name, stepMs, countedMs) => {
    const host = new Host();
    host.wallMs += stepMs;
    expect(host.pass(1)).toBe(5000 + countedMs);
    expect(host.clock.doubt).toEqual({ byMs: stepMs, atMs: WALL_MS + stepMs + 1000, endsInMs: 60_000 });
    expect(host.pass(59)).toBe(5000 + countedMs + 59_000);
    expect(host.clock.doubt).toMatchObject({ endsInMs: 1000 });
    host.pass(1);
    expect(host.clock.doubt).toBeUndefined();
  });

  it('a monotonic clock that jumps is not believed either: no more counts than the wall clock has seen', () => {
    const host = new Host();
    host.monotonicMs += 3 * DAY_MS;
    expect(host.pass(1)).toBe(6000);
    expect(host.clock.doubt?.byMs).toBe(-3 * DAY_MS);
    expect(host.pass(61)).toBe(67_000);
    expect(host.clock.doubt).toBeUndefined();
  });

  it('what was set wrong and is put right is two contradictions; the second one counts', () => {
    const host = new Host();
    host.wallMs += 3 * DAY_MS;
    host.pass(30);
    host.wallMs -= 3 * DAY_MS;
    host.pass(31);
    expect(host.clock.doubt).toMatchObject({ byMs: -3 * DAY_MS, endsInMs: 30_000 });
  });

  it('small corrections are none, but a clock that runs at another speed is', () => {
    const host = new Host();
    for (let i = 0; i < 9; i += 1) {
      host.wallMs += 1000;
      host.pass(100);
    }
    expect(host.clock.doubt).toBeUndefined();
    host.wallMs += 1000;
    host.pass(1);
    expect(host.clock.doubt?.byMs).toBe(10_000);
  });
});
