import { isNbdUri } from '@tidemark/base';
import { realpath } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { EngineError } from './engine-error.js';
import type { AttachedVmSpec, RecoverySpec } from './types.js';

const isBelow = (folder: string, path: string): boolean => path.startsWith(folder.endsWith(sep) ? folder : folder + sep);

/**
 * The datastores of a VRA's host: the only folders in which it opens, makes and deletes files that a message names. It removes journals with all that is in
 * them, so a message, whoever made it, must not be able to name the VRA's own state, or anything else of the host.
 */
export class DatastoreFolders {
  constructor(private readonly folders: readonly string[]) {}

  /** Throws VRA_PATH unless each file and folder of a recovery lies below a datastore. */
  async assertRecovery({ volumes, journalFolder, datastore }: RecoverySpec): Promise<void> {
    for (const { mirrorPath } of volumes) await this.assertInside(mirrorPath);
    await this.assertInside(journalFolder);
    if (!this.folders.includes(datastore.path)) await this.assertInside(datastore.path);
  }

  /** Disks behind an NBD server have no path here. Throws VRA_PATH. */
  async assertDisks({ disks }: Pick<AttachedVmSpec, 'disks'>): Promise<void> {
    for (const { path } of disks) if (!isNbdUri(path)) await this.assertInside(path);
  }

  /** As {@link assertInside}; a datastore that cannot be looked at has nothing inside. */
  async isInside(path: string): Promise<boolean> {
    return await this.assertInside(path).then(() => true, () => false);
  }

  /** Throws VRA_PATH unless `path` is plain (absolute, without `.`, `..`, doubled or final slashes) and lies below a datastore, both as written and with symbolic links followed. */
  async assertInside(path: string): Promise<void> {
    const isPlain = !path.includes('\0') && resolve(path) === path;
    const folder = isPlain ? this.folders.find((each) => isBelow(each, path)) : undefined;
    if (folder !== undefined && isBelow(await realpath(folder), await realPathOf(path, folder))) return;
    throw new EngineError('VRA_PATH', `${JSON.stringify(path.slice(0, 200))} is not inside a datastore of this host (${this.folders.join(', ')})`);
  }
}

/** With links followed as far as there is anything; the rest is yet to be made. */
async function realPathOf(path: string, folder: string): Promise<string> {
  for (let known = path; known !== folder; known = dirname(known)) {
    const real = await realpath(known).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new EngineError('VRA_PATH', `${known} cannot be looked at: ${String(error)}`, { cause: error });
    });
    if (real !== undefined) return real + path.slice(known.length);
  }
  return (await realpath(folder)) + path.slice(folder.length);
}
