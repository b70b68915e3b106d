import { describe, it } from '@jest/globals';
import * as fc from 'fast-check';
import { RunningClock } from './index.js';

const STEP_MS_MIN = 10_000;
const SETTLE_MS = 30_000;

/** Between two readings: how much time really passed, and what one of the clocks did wrong meanwhile. */
const reading = fc.record({
  passedMs: fc.integer({ min: 0, max: 5000 }),
  fault: fc.option(fc.record({ clock: fc.constantFrom('wall' as const, 'monotonic' as const), byMs: fc.oneof(fc.integer({ min: 20_000, max: 1e12 }), fc.integer({ min: -1e12, max: -20_000 })) }), { freq: 4 }),
});

describe('whatever one of the two clocks does', () => {
  it('no more time is counted than has passed, and all of it but where the clocks contradicted each other; which is doubted for as long as it says', () => {
    fc.assert(fc.property(fc.array(reading, { maxLength: 60 }), (readings) => {
      let [monotonicMs, wallMs, passedMs, lostMs, trustedFromMs] = [1e6, 1.79e12, 0, 0, -1];
      const clock = new RunningClock({ monotonicMs, wallMs }, { stepMsMin: STEP_MS_MIN, settleMs: SETTLE_MS });
      let runningMs = monotonicMs;
      for (const { passedMs: ms, fault } of readings) {
        // A monotonic clock that goes back is none: it can only jump.
        const jumpMs = fault?.clock === 'monotonic' ? Math.abs(fault.byMs) : 0;
        const stepMs = fault?.clock === 'wall' ? fault.byMs : 0;
        monotonicMs += ms + jumpMs;
        wallMs += ms + stepMs;
        passedMs += ms;
        const nextMs = clock.read({ monotonicMs, wallMs });
        if (nextMs < runningMs) throw new Error('it went back');
        runningMs = nextMs;
        if (fault) lostMs += ms;
        if (fault) trustedFromMs = runningMs + SETTLE_MS;
        const countedMs = runningMs - 1e6;
        if (countedMs > passedMs || countedMs < passedMs - lostMs) throw new Error(`${String(countedMs)} ms counted of ${String(passedMs)}`);
        if ((clock.doubt !== undefined) !== (runningMs < trustedFromMs)) throw new Error('doubted too long, or not long enough');
      }
    }), { numRuns: 500 });
  });
});
