import { expect, it } from '@jest/globals';
import { StreamLosses } from './stream-losses.js';

it('keeps the newest loss after the sender has forgotten why, and logs each once', () => {
  const logged: object[] = [];
  const losses = new StreamLosses('v/m', { info: () => undefined, warn: () => undefined, error: (fields) => logged.push(fields) });
  losses.opened({ lostAcknowledgedCount: 0, detail: '' }, 10);
  expect(losses.last).toBeNull();
  losses.opened({ lostAcknowledgedCount: 1, detail: 'durable up to 4' }, 20);
  losses.opened({ lostAcknowledgedCount: 1, detail: '' }, 30);
  expect(losses.last).toEqual({ count: 1, atMs: 20, detail: 'durable up to 4' });
  losses.opened({ lostAcknowledgedCount: 2, detail: 'durable up to 7' }, 40);
  expect(losses.last).toEqual({ count: 2, atMs: 40, detail: 'durable up to 7' });
  expect(logged).toEqual([{ stream: 'v/m', count: 1, atMs: 20, detail: 'durable up to 4' }, { stream: 'v/m', count: 2, atMs: 40, detail: 'durable up to 7' }]);
});
