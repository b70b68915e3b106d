import { describe, expect, it } from '@jest/globals';
import { Lane, syncLane } from './index.js';

describe('Lane', () => {
  it('never runs more than its limit, serves in order, survives failures', async () => {
    const lane = new Lane(2);
    const log: string[] = [];
    let running = 0;
    let runningMax = 0;
    const task = (name: string) => async (): Promise<void> => {
      running += 1;
      runningMax = Math.max(runningMax, running);
      log.push(name);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (name === 'b') throw new Error('b');
    };
    const results = await Promise.allSettled(['a', 'b', 'c', 'd', 'e'].map((name) => lane.run(task(name))));
    expect(log).toEqual(['a', 'b', 'c', 'd', 'e']);
    expect([runningMax, results.filter(({ status }) => status === 'rejected').length]).toEqual([2, 1]);
  });

  it('is one per datastore', () => {
    expect(syncLane(1)).toBe(syncLane(1));
    expect(syncLane(1)).not.toBe(syncLane(2));
  });
});
