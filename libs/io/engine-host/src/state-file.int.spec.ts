import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { StateFile } from './state-file.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-state-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

describe('StateFile', () => {
  it('has no document before the first save, and the newest one after many at once', async () => {
    const file = new StateFile<{ n: number }>(join(folder, 'deep', 'state.json'), 'it begins anew');
    await expect(file.load()).resolves.toBeUndefined();
    await Promise.all([1, 2, 3, 4, 5].map((n) => file.save({ n })));
    await expect(new StateFile(file.path, 'it begins anew').load()).resolves.toEqual({ n: 5 });
    expect(await readdir(join(folder, 'deep'))).toEqual(['state.json']);
    expect((await stat(file.path)).mode & 0o777).toBe(0o600);
  });

  it('writes the document as it was when save was called', async () => {
    const file = new StateFile<{ names: string[] }>(join(folder, 'state.json'), 'it begins anew');
    const document = { names: ['a'] };
    const saved = file.save(document);
    document.names.push('b');
    await saved;
    await expect(file.load()).resolves.toEqual({ names: ['a'] });
  });

  it('ignores what a crash left half written, and refuses a document that is damaged', async () => {
    const file = new StateFile<{ n: number }>(join(folder, 'state.json'), 'it begins anew');
    await file.save({ n: 1 });
    await writeFile(`${file.path}.new`, '{"n": 2');
    await expect(file.load()).resolves.toEqual({ n: 1 });
    await writeFile(file.path, '{"n": ');
    await expect(file.load()).rejects.toMatchObject({ code: 'VRA_STATE_FILE' });
    await file.save({ n: 1 });
    await writeFile(file.path, (await readFile(file.path, 'utf8')).replace('1', '7'));
    await expect(file.load()).rejects.toMatchObject({ code: 'VRA_STATE_FILE' });
  });

  it('a save that fails rejects its own caller; the next one is made', async () => {
    const blocked = new StateFile<{ n: number }>(join(folder, 'file', 'state.json'), 'it begins anew');
    await writeFile(join(folder, 'file'), '');
    await expect(blocked.save({ n: 1 })).rejects.toThrow();
    await rm(join(folder, 'file'));
    await blocked.save({ n: 2 });
    await expect(blocked.load()).resolves.toEqual({ n: 2 });
  });
});
