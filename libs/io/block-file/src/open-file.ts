import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { sys as systemSys, type Sys } from '@tidemark/sys';
import { syncFolder } from '@tidemark/sys/replace-file';
import { VolumeError } from '@tidemark/volume';

export interface BlockFileOptions {
  readonly path: string;
  /** The size that the file must have, or gets when it is created. Without it, the size that it has. */
  readonly sizeBytes?: number;
  readonly isReadOnly: boolean;
  /** A file that is longer is taken too, for the volume of that size: it grew, and whoever opens it does not know yet. */
  readonly isLongerFine?: boolean;
  /** Make the file, sparse and durable, if there is none. Needs `sizeBytes`. */
  readonly create?: boolean;
  /** Take the advisory lock: one writer, or many readers. True if not given. `VOLUME_BUSY` when another has it. */
  readonly isLocked?: boolean;
  /** System calls; those of this machine if not given. */
  readonly sys?: Sys;
}

/** A crash between creating and sizing leaves an empty file: found by its size at the next open, and said, never guessed away. */
export async function openOrCreate(options: BlockFileOptions): Promise<FileHandle> {
  if (options.isReadOnly) return await open(options.path, 'r');
  if (options.create !== true) return await open(options.path, 'r+');
  if (options.sizeBytes === undefined) throw new VolumeError('VOLUME_SIZE', 'a new file needs a size');
  try {
    return await createDurable(options.path, options.sizeBytes);
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'EEXIST') throw error;
    return await open(options.path, 'r+');
  }
}

/** A volume holds what a guest keeps secret: nobody else's to read. */
const FILE_MODE = 0o600;

/** The new, sparse file survives a power loss: the file and the folder that names it are synced. */
async function createDurable(path: string, sizeBytes: number): Promise<FileHandle> {
  const file = await open(path, 'wx+', FILE_MODE);
  try {
    await file.truncate(sizeBytes);
    await file.sync();
    await syncFolder(dirname(path));
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

export async function checkedStat(file: FileHandle, options: BlockFileOptions): Promise<{ size: number; dev: number }> {
  const stat = await file.stat();
  if (!stat.isFile()) throw new VolumeError('VOLUME_IO', `${options.path} is not a regular file`);
  const isLonger = options.sizeBytes !== undefined && stat.size > options.sizeBytes;
  if (options.sizeBytes !== undefined && stat.size !== options.sizeBytes && !(isLonger && options.isLongerFine === true)) {
    throw new VolumeError('VOLUME_SIZE', `${options.path} has ${String(stat.size)} bytes instead of ${String(options.sizeBytes)}`);
  }
  return stat;
}

/** To `sizeBytes` at least, durably. */
export async function growFile(file: FileHandle, sizeBytes: number): Promise<void> {
  if ((await file.stat()).size < sizeBytes) await file.truncate(sizeBytes);
  await file.sync();
}

/** To `sizeBytes` at most, durably: what an earlier try, which was killed, has cut may not be on disk yet. */
export async function shrinkFile(file: FileHandle, sizeBytes: number): Promise<void> {
  if ((await file.stat()).size > sizeBytes) await file.truncate(sizeBytes);
  await file.sync();
}

/** The lock goes with the descriptor, so with the process too. */
export function lockFile(file: FileHandle, options: BlockFileOptions): void {
  const sys = options.sys ?? systemSys;
  if (options.isLocked === false || !sys.isAvailable) return;
  if (!sys.tryLock(file.fd, options.isReadOnly ? 'shared' : 'exclusive')) {
    throw new VolumeError('VOLUME_BUSY', `${options.path} is in use by another process`);
  }
}
