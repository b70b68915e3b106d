import { rm, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { RecoverySpec } from './types.js';
import { ViewHost } from './view-host.js';

/** A recovery that is being removed: durable before the first file goes, so that a crash cannot leave half of one that looks whole. */
export interface Removal {
  readonly spec: RecoverySpec;
  readonly isMirrorKept: boolean;
  readonly viewIds: readonly string[];
}

/** Deletes journal and scratch, and the mirrors unless they are kept. All files are closed. What is gone already is no error. */
export async function removeRecoveryFiles({ spec, isMirrorKept, viewIds }: Removal): Promise<void> {
  for (const viewId of viewIds) await rm(ViewHost.scratchFolder(spec, viewId), { recursive: true, force: true });
  await rm(spec.journalFolder, { recursive: true, force: true });
  if (isMirrorKept) return;
  for (const { mirrorPath } of spec.volumes) {
    await rm(mirrorPath, { force: true });
    await removeEmptyFolders(mirrorPath, spec.datastore.path);
  }
}

/** The folders of the VM and of the VPG, as far as nothing is left in them. */
async function removeEmptyFolders(path: string, datastorePath: string): Promise<void> {
  const [vmFolder, vpgFolder] = [dirname(path), dirname(dirname(path))];
  for (const folder of [vmFolder, vpgFolder]) {
    if (!folder.startsWith(`${datastorePath}/`)) return;
    // Not empty: another volume or VM is still there, and removes the folder after itself.
    if (!(await rmdir(folder).then(() => true, () => false))) return;
  }
}
