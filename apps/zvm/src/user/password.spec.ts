import { expect, it } from '@jest/globals';
import { assertGoodPassword, generatePassword, hashPassword, isRightPassword } from './password.js';

it('passwords are kept as argon2id, each with a salt of its own, and only the right one is right', async () => {
  const password = generatePassword();
  const [first, second] = await Promise.all([hashPassword(password), hashPassword(password)]);
  expect(first).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect(first).not.toBe(second);
  expect(await Promise.all([isRightPassword(first, password), isRightPassword(first, `${password}x`), isRightPassword('no hash', password)])).toEqual([true, false, false]);
}, 60_000);

it('nobody has the password of a user that there is not', async () => {
  expect(await isRightPassword(undefined, '')).toBe(false);
}, 60_000);

it('many at once wait, and no more than 52 of them', async () => {
  const outcomes = await Promise.allSettled(Array.from({ length: 60 }, () => isRightPassword('no hash', 'guess')));
  expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(8);
  expect(await isRightPassword('no hash', 'guess')).toBe(false);
}, 60_000);

it.each([['short', 'eleven-char'], ['long', 'abcdefgh'.repeat(33)], ['the user name in it', 'I am ANN of the north'], ['the same few characters', 'abababababababab']])('a bad one is refused: %s', (_what, password) => {
  expect(() => assertGoodPassword(password, 'ann')).toThrow(/^NewPassword: /);
});
