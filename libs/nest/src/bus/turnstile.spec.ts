import { expect, it } from '@jest/globals';
import { Turnstile } from './turnstile.js';

it('lets so many through at a time, also past one that fails', async () => {
  const turnstile = new Turnstile(2);
  let [inside, most] = [0, 0];
  const order: number[] = [];
  const visit = (visitor: number): Promise<void> => turnstile.pass(async () => {
    inside += 1;
    most = Math.max(most, inside);
    order.push(visitor);
    await new Promise((resolve) => setTimeout(resolve, 5));
    inside -= 1;
    if (visitor % 3 === 0) throw new Error('fell');
  });
  await Promise.allSettled([0, 1, 2, 3, 4, 5, 6].map(visit));
  expect({ most, order, inside }).toEqual({ most: 2, order: [0, 1, 2, 3, 4, 5, 6], inside: 0 });
  await visit(1);
});
