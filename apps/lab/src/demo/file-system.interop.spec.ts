import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { addToExt4, changedBlocks, checkExt4, compareManifests, makeExt4, makeFiles, makeMoreFiles, manifestOf, readOutExt4 } from './file-system.js';

const MiB = 1024 * 1024;

describe('the ext4 file system of the demo', () => {
  let folder: string;
  const at = (name: string): string => join(folder, name);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-ext4-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('is made, grown and read out without a mount; every file comes back, and the check is clean', async () => {
    await makeFiles(at('first'));
    await makeMoreFiles(at('second'));
    await makeExt4(at('image'), at('first'), 48 * MiB);
    const before = await readFile(at('image'));
    await addToExt4(at('image'), at('second'));
    expect(changedBlocks(before, await readFile(at('image'))).length).toBeGreaterThan(100);
    expect((await checkExt4(at('image'))).isClean).toBe(true);
    const expected = new Map([...(await manifestOf(at('first'))), ...(await manifestOf(at('second')))]);
    expect(compareManifests(expected, await readOutExt4(at('image'), at('out')))).toEqual([]);
  });

  it('garbage over its metadata is noticed by the check, over a file by the digests', async () => {
    await makeFiles(at('first'));
    await makeExt4(at('image'), at('first'), 48 * MiB);
    const expected = await manifestOf(at('first'));
    const picture = await readFile(at('first/www/pictures/img-3.jpg'));
    const image = await readFile(at('image'));
    const file = await open(at('image'), 'r+');
    await file.write(Buffer.alloc(4096, 0xa5), 0, 4096, image.indexOf(picture.subarray(0, 4096)));
    expect((await checkExt4(at('image'))).isClean).toBe(true);
    expect(compareManifests(expected, await readOutExt4(at('image'), at('out')))).toEqual(['www/pictures/img-3.jpg has other bytes']);
    await file.write(Buffer.alloc(MiB, 0xa5), 0, MiB, 0);
    await file.close();
    expect((await checkExt4(at('image'))).isClean).toBe(false);
  });
});
