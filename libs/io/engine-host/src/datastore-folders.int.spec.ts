import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatastoreFolders } from './datastore-folders.js';

describe('paths that messages name', () => {
  let root: string;
  let folders: DatastoreFolders;
  beforeAll(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'tidemark-paths-')));
    for (const name of ['ds', 'ds2', 'outside', 'mounted']) await mkdir(join(root, name));
    await writeFile(join(root, 'ds', 'disk.raw'), '');
    await mkdir(join(root, 'ds', 'vm'));
    await symlink(join(root, 'outside'), join(root, 'ds', 'link'));
    await symlink(join(root, 'nowhere'), join(root, 'ds', 'dangling'));
    await symlink('/etc/passwd', join(root, 'ds', 'passwd.raw'));
    await symlink(join(root, 'ds', 'vm'), join(root, 'ds', 'inner'));
    await symlink(join(root, 'ds'), join(root, 'ds', 'self'));
    await symlink(join(root, 'mounted'), join(root, 'alias'));
    folders = new DatastoreFolders([join(root, 'ds'), join(root, 'alias')]);
  });
  afterAll(() => rm(root, { recursive: true }));

  it.each(['ds/disk.raw', 'ds/vm/new.raw', 'ds/a/b/c/journal', 'ds/inner/new.raw', 'alias/x/journal'])('%s is taken', async (path) => {
    await expect(folders.assertInside(join(root, path))).resolves.toBeUndefined();
  });

  it.each([
    'ds', 'ds/', 'ds/../outside/x', 'ds/vm/../../outside/x', 'ds/./disk.raw', 'ds//disk.raw', 'ds2/disk.raw', 'outside/x', 'ds/link/x', 'ds/link', 'ds/passwd.raw', 'ds/self', 'ds/x\0y', 'mounted/x',
  ])('%s is refused', async (path) => {
    await expect(folders.assertInside(`${root}/${path}`)).rejects.toMatchObject({ code: 'VRA_PATH' });
  });

  it.each(['', 'disk.raw', '/', '/etc/shadow', '../x'])('%p is refused', async (path) => {
    await expect(folders.assertInside(path)).rejects.toMatchObject({ code: 'VRA_PATH' });
  });

  it('names every kind of path of a recovery and of a VM', async () => {
    const inside = join(root, 'ds', 'x');
    const recovery = (more: object) => ({
      vpgId: 'g', vmId: 'v', protectedSiteId: 's', epoch: 1, recoverers: [], volumes: [{ diskId: 'd', sizeBytes: 512, mirrorPath: inside }], journalFolder: inside, historyMs: 1000,
      datastore: { path: join(root, 'ds'), capacityBytes: 1 }, ...more,
    });
    await folders.assertRecovery(recovery({}));
    for (const more of [{ volumes: [{ diskId: 'd', sizeBytes: 512, mirrorPath: '/x' }] }, { journalFolder: '/x' }, { datastore: { path: '/x', capacityBytes: 1 } }]) {
      await expect(folders.assertRecovery(recovery(more))).rejects.toMatchObject({ code: 'VRA_PATH' });
    }
    const disk = { diskId: 'd', exportName: 'e', sizeBytes: 512 };
    await folders.assertDisks({ disks: [{ ...disk, path: inside }, { ...disk, path: 'nbd://127.0.0.1:10809/x' }] });
    await expect(folders.assertDisks({ disks: [{ ...disk, path: inside }, { ...disk, path: '/x' }] })).rejects.toMatchObject({ code: 'VRA_PATH' });
  });
});
