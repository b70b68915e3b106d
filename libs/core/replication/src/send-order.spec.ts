import { describe, expect, it } from '@jest/globals';
import { SendOrder, type SendPriority } from './index.js';

const FRAME = 100_000;

function drive(order: SendOrder<string>, turns: number, priorityOf: (name: string) => SendPriority): Map<string, number> {
  const sent = new Map<string, number>();
  for (let turn = 0; turn < turns; turn += 1) {
    const name = order.next();
    if (name === undefined) break;
    sent.set(name, (sent.get(name) ?? 0) + FRAME);
    order.sent(name, priorityOf(name), FRAME);
  }
  return sent;
}

describe('send order', () => {
  it('gives classes 9 : 3 : 1 of a full link and starves none', () => {
    const order = new SendOrder<string>();
    for (const name of ['low', 'medium', 'high'] as const) order.add(name, name);
    const sent = drive(order, 1300, (name) => name as SendPriority);
    expect((sent.get('high') ?? 0) / (sent.get('low') ?? 1)).toBeCloseTo(9, 0);
    expect((sent.get('medium') ?? 0) / (sent.get('low') ?? 1)).toBeCloseTo(3, 0);
  });

  it('shares a class by turns', () => {
    const order = new SendOrder<string>();
    for (const name of ['a', 'b', 'c']) order.add(name, 'medium');
    expect([...drive(order, 300, () => 'medium').values()]).toEqual([100 * FRAME, 100 * FRAME, 100 * FRAME]);
  });

  it('lets a class that was idle go next, and gives it nothing for the time before', () => {
    const order = new SendOrder<string>();
    order.add('low', 'low');
    drive(order, 1000, () => 'low');
    order.add('high', 'high');
    expect(order.next()).toBe('high');
    const sent = drive(order, 100, (name) => name as SendPriority);
    expect((sent.get('low') ?? 0) / FRAME).toBeGreaterThanOrEqual(9);
    expect((sent.get('low') ?? 0) / FRAME).toBeLessThanOrEqual(11);
  });

  it('lets a low class that was idle wait no longer than its share', () => {
    const order = new SendOrder<string>();
    order.add('high', 'high');
    drive(order, 1000, () => 'high');
    order.add('low', 'low');
    expect(drive(order, 20, (name) => name as SendPriority).get('low')).toBeGreaterThan(0);
  });

  it('keeps what a class is owed while all of them are out, and looked at, after every frame', () => {
    const order = new SendOrder<string>();
    const sent = new Map<string, number>();
    for (let turn = 0; turn < 1300; turn += 1) {
      for (const name of ['low', 'medium', 'high'] as const) order.add(name, name);
      const sender = order.next() ?? '';
      sent.set(sender, (sent.get(sender) ?? 0) + FRAME);
      order.sent(sender, sender as SendPriority, FRAME);
      // The link is full: whoever comes next is found to have to wait.
      for (let name = order.next(); name !== undefined; name = order.next()) order.remove(name);
    }
    expect((sent.get('high') ?? 0) / (sent.get('low') ?? 1)).toBeCloseTo(9, 0);
    expect((sent.get('medium') ?? 0) / (sent.get('low') ?? 1)).toBeCloseTo(3, 0);
  });

  it('takes another priority for what is in already', () => {
    const order = new SendOrder<string>();
    order.add('a', 'low');
    order.add('b', 'medium');
    order.add('a', 'high');
    expect(order.next()).toBe('a');
    order.remove('a');
    expect(order.next()).toBe('b');
  });

  it('forgets who left', () => {
    const order = new SendOrder<string>();
    order.add('a', 'high');
    order.remove('a');
    expect(order.isEmpty).toBe(true);
    expect(order.next()).toBeUndefined();
  });
});
