import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB } from '@tidemark/base';
import { VraEngine, type RecoverySpec } from '@tidemark/engine-host';
import { quietLog } from './rig.js';
import { SITE_ID, TestSite } from './test-site.js';

const vpgId = randomUUID();

/** A VRA whose messages name files of its host that are none of its business. */
describe('a VRA outside its datastores', () => {
  let root: string;
  let vra: VraEngine;
  const at = (path: string): string => join(root, path);
  const recovery = (more: Partial<RecoverySpec> = {}): RecoverySpec => ({
    vpgId, vmId: 'vm', protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: vra.address, vmIds: ['vm'] }], historyMs: 3_600_000, journalFolder: at('ds/g/vm/journal'), datastore: { path: at('ds'), capacityBytes: 1024 * MiB },
    volumes: [{ diskId: 'd', sizeBytes: MiB, mirrorPath: at('ds/g/vm/d.raw') }], ...more,
  });

  beforeEach(async () => {
    root = await realpath(await mkdtemp(join(tmpdir(), 'tidemark-paths-')));
    for (const folder of ['ds', 'outside/journal', 'state']) await mkdir(at(folder), { recursive: true });
    await writeFile(at('outside/journal/precious'), 'x');
    vra = await VraEngine.start({
      vraId: 'r', transport: await (await TestSite.in(root)).transport('r'), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: at('nbd.sock'), stateFolder: at('state'), datastoreFolders: [at('ds')], captureBytesMax: 16 * MiB,
      log: { ...quietLog, error: () => undefined },
    });
  });
  afterEach(async () => {
    await vra.close();
    await rm(root, { recursive: true });
  });

  it('neither makes a mirror nor a journal', async () => {
    for (const more of [
      { journalFolder: at('state') }, { journalFolder: at('ds/../outside/journal') }, { journalFolder: at('ds') }, { volumes: [{ diskId: 'd', sizeBytes: MiB, mirrorPath: at('outside/d.raw') }] },
    ]) await expect(vra.putRecovery(recovery(more))).rejects.toMatchObject({ code: 'VRA_PATH' });
    expect(await readdir(at('outside'))).toEqual(['journal']);
    expect(await readdir(at('ds'))).toEqual([]);
    expect(vra.status().recoveries).toEqual([]);
  });

  it('does not delete what a link leads to that was put in a journal’s place', async () => {
    await vra.putRecovery(recovery());
    await rename(at('ds/g/vm'), at('ds/g/moved'));
    await symlink(at('outside'), at('ds/g/vm'));
    await expect(vra.removeRecovery({ vpgId, vmId: 'vm', isMirrorKept: false })).rejects.toMatchObject({ code: 'VRA_PATH' });
    await access(at('outside/journal/precious'));
  });

  it('does not serve a file as the disk of a VM', async () => {
    await writeFile(at('outside/disk.raw'), Buffer.alloc(4096));
    const disk = { diskId: 'd', exportName: 'vm-d', sizeBytes: 4096 };
    await vra.applyDesiredState({ revision: 1, attachedVms: [{ vmId: 'vm', disks: [{ ...disk, path: at('outside/disk.raw') }] }], protections: [], barriers: [] });
    expect(vra.exportNames).toEqual([]);
    await rename(at('outside/disk.raw'), at('ds/disk.raw'));
    await vra.applyDesiredState({ revision: 2, attachedVms: [{ vmId: 'vm', disks: [{ ...disk, path: at('ds/disk.raw') }] }], protections: [], barriers: [] });
    expect(vra.exportNames).toEqual(['vm-d']);
  });
});
