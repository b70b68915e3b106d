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
    await delay(600);
    expect(watch.sample().maxMs).toBeLessThan(100);
  } finally {
    watch.close();
  }
});
