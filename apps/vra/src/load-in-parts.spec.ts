import { expect, it } from '@jest/globals';
import { loadInParts } from './load-in-parts.js';

it('begins a part only when the pause after the one before has ended', async () => {
  const log: string[] = [];
  const pauses: (() => void)[] = [];
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const loaded = loadInParts(['one', 'two'], async (part) => void log.push(await Promise.resolve(part)), () => new Promise<void>((resolve) => pauses.push(resolve)));
  await turn();
  expect(log).toEqual(['one']);
  pauses[0]?.();
  await turn();
  expect([log, pauses.length]).toEqual([['one', 'two'], 2]);
  pauses[1]?.();
  await loaded;
});
