import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileSet } from './file-set.js';

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

  it('goes on after a write that failed', async () => {
    const set = new FileSet(join(folder, 'failing'), NAMES);
    const [first, second] = await Promise.allSettled([set.write({ key: Symbol('no text') as never, certificate: '' }), set.write({ key: 'k', certificate: 'c' })]);
    expect([first.status, second.status, await set.read()]).toEqual(['rejected', 'fulfilled', { key: 'k', certificate: 'c' }]);
    expect(await readdir(set.folder)).toHaveLength(2);
  });
});
