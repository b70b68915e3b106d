import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import * as real from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

class Kill extends Error {}
/** Calls to the file system that are made before the process is killed. */
let callsLeft = Infinity;

const counted = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => async (...args: A): Promise<R> => {
  callsLeft -= 1;
  if (callsLeft < 0) throw new Kill();
  return await call(...args);
};
/** As the kernel sees it: one call per entry; the process may be killed at each, and nobody has promised an order. */
async function removeTree(path: string): Promise<void> {
  if (!(await real.lstat(path)).isDirectory()) return await counted(real.unlink)(path);
  for (const name of (await real.readdir(path)).sort().reverse()) await removeTree(join(path, name));
  await counted(real.rmdir)(path);
}
jest.unstable_mockModule('node:fs/promises', () => {
  const rm = async (path: string, options: { recursive?: boolean }): Promise<void> => {
    if (options.recursive !== true) return await counted(real.rm)(path, options);
    await removeTree(path).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    });
  };
  const calls = Object.entries({ ...real, rm }).map(([name, call]) => [name, typeof call === 'function' && name !== 'rm' ? counted(call as never) : call]);
  return Object.fromEntries(calls) as object;
});
const { FileSet } = await import('./file-set.js');
const { mkdtemp, readdir, rm } = real;

const NAMES = ['key', 'certificate'] as const;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trust-set-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('a set of files', () => {
  it('is one of those that were written, whole, however many were written at once', async () => {
    const place = join(folder, 'at-once');
    // Two objects: a program and a command, or two services of one program.
    const [one, other] = [new FileSet(place, NAMES), new FileSet(place, NAMES)];
    const texts = Array.from({ length: 30 }, (_, n) => ({ key: `key ${n}`, certificate: `certificate ${n}` }));
    await Promise.all(texts.map((text, n) => (n % 2 === 0 ? one : other).write(text)));
    expect(await one.read()).toEqual(texts.at(-1));
    expect(await readdir(place)).toHaveLength(2);
    await Promise.all([one.write({ key: 'x', certificate: 'x' }), other.remove()]);
    expect(await readdir(place)).toEqual([]);
    expect(await one.read()).toBeUndefined();
  });

  it('is the one before or the one after, whole, wherever the process is killed; and the one before is gone after the next write', async () => {
    const place = join(folder, 'killed');
    const set = new FileSet(place, NAMES);
    const textsOf = (n: number) => ({ key: `key ${n}`, certificate: `certificate ${n}` });
    await set.write(textsOf(0));
    let [kept, kills, isNew] = [0, 0, 0];
    for (let calls = 0, isKilled = true; isKilled; calls += 1) {
      callsLeft = calls;
      isKilled = await set.write(textsOf(calls + 1)).then(() => false, (error: unknown) => error instanceof Kill);
      callsLeft = Infinity;
      const found = await new FileSet(place, NAMES).read();
      expect([textsOf(kept), textsOf(calls + 1)]).toContainEqual(found);
      if (isKilled && found?.key === `key ${calls + 1}`) isNew += 1;
      kept = Number(found?.key.slice(4));
      kills += Number(isKilled);
    }
    // Killed before and behind the one call that counts.
    expect([kills > 10, isNew > 1, kills - isNew > 5]).toEqual([true, true, true]);
    expect(await readdir(place)).toHaveLength(2);
    let left = 0;
    for (let isKilled = true; isKilled; left += 1) {
      callsLeft = left;
      isKilled = await set.remove().then(() => false, (error: unknown) => error instanceof Kill);
      callsLeft = Infinity;
      expect([undefined, textsOf(kept)]).toContainEqual(await set.read());
    }
    expect([left > 3, await readdir(place)]).toEqual([true, []]);
  });

  it('is there whole or not at all wherever the process is killed that removes its folder', async () => {
    const set = new FileSet(join(folder, 'leaving'), NAMES);
    const texts = { key: 'k', certificate: 'c' };
    let [kills, whole] = [0, 0];
    for (let calls = 0, isKilled = true; isKilled; calls += 1) {
      await set.write(texts);
      callsLeft = calls;
      isKilled = await set.removeFolder().then(() => false, (error: unknown) => error instanceof Kill);
      callsLeft = Infinity;
      const found = await set.read();
      expect([undefined, texts]).toContainEqual(found);
      kills += Number(isKilled);
      whole += Number(found !== undefined);
    }
    expect([kills > 5, whole > 0, whole < kills, await readdir(folder)]).toEqual([true, true, true, expect.not.arrayContaining(['leaving'])]);
    await set.removeFolder();
  });

  it('goes on after a write that failed', async () => {
    const set = new FileSet(join(folder, 'failing'), NAMES);
    const [first, second] = await Promise.allSettled([set.write({ key: Symbol('no text') as never, certificate: '' }), set.write({ key: 'k', certificate: 'c' })]);
    expect([first.status, second.status, await set.read()]).toEqual(['rejected', 'fulfilled', { key: 'k', certificate: 'c' }]);
    expect(await readdir(set.folder)).toHaveLength(2);
  });
});
