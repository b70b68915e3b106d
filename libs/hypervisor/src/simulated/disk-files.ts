import { lstat, mkdir, open, realpath, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { HypervisorError } from '../hypervisor-error.js';
import { localPart } from './state.js';

/** `<datastore>/vm-3-web01/scsi-0-0.raw`; the VM's name is there for people, so what a shell would trip over is replaced. */
export function chosenLocation(datastorePath: string, vm: { readonly id: string; readonly name: string }, diskId: string): string {
  const name = vm.name.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 40);
  return join(datastorePath, `${localPart(vm.id)}-${name}`, `${diskId.replaceAll(':', '-')}.raw`);
}

/** Throws HYPERVISOR_INVALID unless `location` is a plain path below the datastore's folder, symbolic links followed. */
export async function assertInside(datastorePath: string, location: string): Promise<void> {
  const isPlain = resolve(location) === location && location.startsWith(datastorePath + sep);
  if (isPlain && isBelow(await realpath(datastorePath), await realFolderOf(location))) return;
  throw new HypervisorError('HYPERVISOR_INVALID', `${location} is not inside the datastore folder ${datastorePath}`);
}

const isBelow = (folder: string, path: string): boolean => path === folder || path.startsWith(folder + sep);

/** The real path of the nearest folder above `location` that exists. */
async function realFolderOf(location: string): Promise<string> {
  for (let folder = dirname(location); ; folder = dirname(folder)) {
    try {
      return await realpath(folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}

/** Size of the file at `location`, or undefined when there is none. Something that is not a plain file is refused. */
export async function fileBytes(location: string): Promise<number | undefined> {
  const stat = await lstat(location).catch(() => undefined);
  if (!stat) return undefined;
  if (!stat.isFile()) throw new HypervisorError('HYPERVISOR_INVALID', `${location} exists and is not a file`);
  return stat.size;
}

/** A file that allocates nothing and reads as zeroes, durable with its folder entry. It must not exist. */
export async function createSparse(location: string, sizeBytes: number): Promise<void> {
  await mkdir(dirname(location), { recursive: true, mode: 0o755 });
  try {
    const file = await open(location, 'wx', 0o600);
    try {
      await file.truncate(sizeBytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await syncFolder(dirname(location));
  } catch (cause) {
    if (!isOutOfSpace(cause)) throw cause;
    await rm(location, { force: true });
    throw new HypervisorError('HYPERVISOR_FULL', `no room for ${location}`, { cause });
  }
}

/** Makes a file longer, with zeroes that allocate nothing; durable when it resolves. A longer one stays as it is. */
export async function growSparse(location: string, sizeBytes: number): Promise<void> {
  const file = await open(location, 'r+');
  try {
    if ((await file.stat()).size < sizeBytes) await file.truncate(sizeBytes);
    await file.sync();
  } catch (cause) {
    if (!isOutOfSpace(cause)) throw cause;
    throw new HypervisorError('HYPERVISOR_FULL', `no room to grow ${location}`, { cause });
  } finally {
    await file.close();
  }
}

const isOutOfSpace = (error: unknown): boolean => ['ENOSPC', 'EDQUOT', 'EFBIG'].includes((error as NodeJS.ErrnoException).code ?? '');

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Deletes a disk's file and, when that leaves its folder empty, the folder. Missing already: done. */
export async function deleteDisk(datastorePath: string, location: string): Promise<void> {
  await assertInside(datastorePath, location);
  await rm(location, { force: true });
  const folder = dirname(location);
  if (folder === datastorePath) return;
  await rmdir(folder).catch((error: unknown) => {
    if (!['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  });
}
