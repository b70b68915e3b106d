import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { crc32c } from '@tidemark/link';
import { StateFile } from './state-file.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-state-'));
});
afterEach(async () => await rm(folder, { recursive: true, force: true }));

const sealedAs = (version: number, text: string): string => `${text}\nversion ${version} crc32c ${crc32c(Buffer.from(text)).toString(16).padStart(8, '0')}\n`;

describe('a state file of a newer version', () => {
  it('is refused by name, nobody is told to remove it, and it stays as it is', async () => {
    const path = join(folder, 'votes.json');
    const text = sealedAs(2, 'not even JSON any more');
    await writeFile(path, text);
    const loading = new StateFile(path, 'all votes are gone').load();
    await expect(loading).rejects.toMatchObject({ code: 'VRA_STATE_VERSION', message: expect.stringMatching(/votes\.json has format version 2, .*version 1 only/) });
    await expect(loading).rejects.not.toThrow(/remove|damaged/);
    expect([await readFile(path, 'utf8'), await readdir(folder)]).toEqual([text, ['votes.json']]);
  });

  it('whose checksum does not hold is damaged', async () => {
    const path = join(folder, 'votes.json');
    await writeFile(path, sealedAs(2, 'new').replace('new', 'now'));
    await expect(new StateFile(path, 'all votes are gone').load()).rejects.toMatchObject({ code: 'VRA_STATE_FILE' });
  });
});
