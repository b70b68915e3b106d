import { expect, it } from '@jest/globals';
import { IsInt } from 'class-validator';
import { gzipSync } from 'node:zlib';
import { answerMessage } from './answer.js';

class Numbered {
  @IsInt() number!: number;
}

it('a message that would become 80 MiB is refused unread, however many come at once', async () => {
  const bomb = gzipSync(Buffer.alloc(80 * 1024 * 1024, 0x20), { level: 1 });
  expect(bomb.byteLength).toBeLessThan(4 * 1024 * 1024);
  let handled = 0;
  const replies = await Promise.all(Array.from({ length: 6 }, () => answerMessage(Numbered, bomb, () => (handled += 1))));
  expect(replies.map(({ isOk }) => isOk)).toEqual(Array(6).fill(false));
  expect(handled).toBe(0);
  // The place is free again.
  expect(await answerMessage(Numbered, gzipSync('{"number":3}'), ({ number }) => number)).toEqual({ isOk: true, result: 3 });
});
