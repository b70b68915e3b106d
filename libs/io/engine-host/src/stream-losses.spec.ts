import { expect, it } from '@jest/globals';
import { StreamLosses } from './stream-losses.js';

it('keeps the newest loss, after the sender has forgotten why', () => {
  const losses = new StreamLosses();
  expect([losses.opened({ lostAcknowledgedCount: 0, detail: '' }, 10), losses.last]).toEqual([undefined, null]);
  expect(losses.opened({ lostAcknowledgedCount: 1, detail: 'durable up to 4' }, 20)).toEqual({ count: 1, atMs: 20, detail: 'durable up to 4' });
  expect(losses.opened({ lostAcknowledgedCount: 1, detail: '' }, 30)).toBeUndefined();
  expect(losses.last).toEqual({ count: 1, atMs: 20, detail: 'durable up to 4' });
  expect(losses.opened({ lostAcknowledgedCount: 2, detail: 'durable up to 7' }, 40)).toEqual(losses.last);
  expect(losses.last).toEqual({ count: 2, atMs: 40, detail: 'durable up to 7' });
});
