import { mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces `path` whole; durable when it resolves: temporary file (`<path>.new`), fsync, rename, fsync of the folder. After a crash at any point the
 * old or the new text is there, never a part, and never with a wider mode than `mode`. Callers serialise what they write to one path.
 */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const temporary = `${path}.new`;
  await writeSynced(temporary, text, { mode, flags: 'w' });
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** What it holds is durable when it resolves; its name is when {@link syncFolder} of its folder does. Of exactly `mode`, whatever the umask. */
export async function writeSynced(path: string, text: string, { mode, flags }: { readonly mode: number; readonly flags: 'w' | 'wx' }): Promise<void> {
  const file = await open(path, flags, mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Makes a folder and what is missing above it, each with its name durable before the next is made below: so what stands above one that is there is durable, and of that one itself
 * the name is synced once more, for a process that was killed in between may have left it.
 */
export async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) {
      await makeFolder(dirname(path), mode);
      return await makeFolder(path, mode);
    }
    if (code !== 'EEXIST' || !(await stat(path)).isDirectory()) throw error;
  }
  await syncFolder(dirname(path));
}

/** Names made, changed and removed in a folder are durable when it resolves. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
