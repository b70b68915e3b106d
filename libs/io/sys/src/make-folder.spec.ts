import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import type * as Files from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const files: typeof Files = jest.requireActual('node:fs/promises');
const { mkdtemp, rm, stat, writeFile } = files;
let steps: string[] = [];
let root: string;

jest.unstable_mockModule('node:fs/promises', () => ({
  ...files,
  mkdir: async (path: string, options: object) => {
    await files.mkdir(path, options);
    steps.push(`make ${path.slice(root.length)}`);
  },
  open: async (path: string, flags: string) => {
    steps.push(`sync ${path.slice(root.length)}`);
    return await files.open(path, flags);
  },
}));
const { makeFolder } = await import('./replace-file.js');

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tidemark-folder-'));
  steps = [];
});
afterEach(() => rm(root, { recursive: true }));

it('makes each name durable before the next is made below it', async () => {
  await makeFolder(join(root, 'a/b/c'), 0o700);
  expect(steps).toEqual(['make /a', 'sync ', 'make /a/b', 'sync /a', 'make /a/b/c', 'sync /a/b']);
  expect((await stat(join(root, 'a/b/c'))).mode & 0o777).toBe(0o700);
});

it('makes the name of one that is there durable once more: a killed process may have left it', async () => {
  await files.mkdir(join(root, 'left'));
  await makeFolder(join(root, 'left'), 0o700);
  expect(steps).toEqual(['sync ']);
});

it('refuses where a file is in the way', async () => {
  await writeFile(join(root, 'file'), '');
  await expect(makeFolder(join(root, 'file'), 0o700)).rejects.toThrow('EEXIST');
  await expect(makeFolder(join(root, 'file/below'), 0o700)).rejects.toThrow('ENOTDIR');
});
