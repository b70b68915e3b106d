import 'reflect-metadata';
import { expect, it } from '@jest/globals';
import { Type } from 'class-transformer';
import { IsArray, IsInt, IsString, ValidateNested } from 'class-validator';
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

class Part {
  @IsInt() number!: number;
}

class Whole {
  @ValidateNested() @Type(() => Part) one!: Part;
  @IsArray() @ValidateNested({ each: true }) @Type(() => Part) many!: Part[];
  @IsString() text!: string;
}

it.each([
  ['a list where one belongs', { one: [] }, 'one must be an object'], ['a list of lists', { many: [[]] }, 'many must be a list of objects'], ['a number in a list', { many: [5] }, 'many must be a list of objects'],
  ['nothing in a list', { many: [null] }, 'many must be a list of objects'], ['one where a list belongs', { many: { number: 1 } }, 'many must be an array'], ['a part with a fault', { one: { number: 'x' } }, 'one.number must be an integer number'],
  ['a zero byte', { text: 'a\0b' }, 'a text must have no zero byte'],
])('a message with %s is refused', async (_what, part, fault) => {
  const good = { one: { number: 1 }, many: [{ number: 1 }], text: 'x' };
  const sent = (message: object): Uint8Array => Buffer.from(JSON.stringify(message));
  expect(await answerMessage(Whole, sent(good), () => 'taken')).toEqual({ isOk: true, result: 'taken' });
  expect(await answerMessage(Whole, sent({ ...good, ...part }), () => 'taken')).toEqual({ isOk: false, code: 'CONTROL_INVALID', message: fault });
});
