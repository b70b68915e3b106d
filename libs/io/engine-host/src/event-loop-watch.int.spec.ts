import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { EventLoopWatch } from './event-loop-watch.js';

const block = (ms: number): void => {
  for (const untilMs = performance.now() + ms; performance.now() < untilMs; );
};

it('shows a long turn, until a whole window has passed without one', async () => {
  const watch = new EventLoopWatch(300);
  try {
    await delay(20);
    block(120);
    await delay(20);
    expect(watch.sample().maxMs).toBeGreaterThan(100);
    await delay(300);
    expect(watch.sample().maxMs).toBeGreaterThan(100);
    // On a loaded machine other turns are long as well: it takes a quiet window, not the first one.
    for (let windows = 0; windows < 30 && watch.sample().maxMs >= 100; windows += 1) await delay(600);
    expect(watch.sample().maxMs).toBeLessThan(100);
  } finally {
    watch.close();
  }
});
