import { randomUUID } from 'node:crypto';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, syncFolder, writeSynced } from '@tidemark/sys/replace-file';
import { TrustError } from './trust-error.js';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const FILE_BYTES_MAX = 1024 * 1024;
const CURRENT = 'current';

/** By folder, the end of the last write that was asked for in this process: a second one beside it would take its unfinished set for a leftover. */
const lastWrites = new Map<string, Promise<void>>();

/**
 * Files that belong together (a key and its certificate) in a folder of their own, replaced as a whole: the new ones are written to a folder
 * `set-…` beside the old ones, and the link `current` is moved over. A crash leaves either the old set or the new one; what it left
 * behind of the other is removed by the next write. Whoever cannot read this (nats-server) is given paths through `current`.
 */
export class FileSet<Name extends string> {
  constructor(
    readonly folder: string,
    private readonly names: readonly Name[],
  ) {}

  /** Where `name` is found, whatever set is the current one. */
  path(name: Name): string {
    return join(this.folder, CURRENT, name);
  }

  /** Undefined: nothing was ever written. Throws TRUST_FILE for a set that is not whole, or that others can read. */
  async read(): Promise<Record<Name, string> | undefined> {
    const target = await currentOf(this.folder);
    if (target === undefined) return undefined;
    const inner = join(this.folder, target);
    for (const folder of [this.folder, inner]) await assertPrivate(folder, FOLDER_MODE);
    const texts = {} as Record<Name, string>;
    for (const name of this.names) texts[name] = await readPrivate(join(inner, name));
    return texts;
  }

  /** Durable when it resolves. Writes to one folder are done one after the other, whoever in this process asks for them. */
  async write(texts: Readonly<Record<Name, string>>): Promise<void> {
    await inTurn(this.folder, () => this.#write(texts));
  }

  async #write(texts: Readonly<Record<Name, string>>): Promise<void> {
    await makeFolder(this.folder, FOLDER_MODE);
    await assertPrivate(this.folder, FOLDER_MODE);
    const target = `set-${randomUUID()}`;
    const inner = join(this.folder, target);
    await mkdir(inner, { mode: FOLDER_MODE });
    for (const name of this.names) await writeSynced(join(inner, name), texts[name], { mode: FILE_MODE, flags: 'wx' });
    await syncFolder(inner);
    await symlink(target, join(this.folder, `${target}.link`));
    await rename(join(this.folder, `${target}.link`), join(this.folder, CURRENT));
    await syncFolder(this.folder);
    await this.#removeOthers(target);
  }

  /** Nothing is left when it resolves; a crash meanwhile leaves the whole set or none. */
  async remove(): Promise<void> {
    await inTurn(this.folder, async () => {
      await rm(join(this.folder, CURRENT), { force: true });
      await syncFolder(this.folder);
      await this.#removeOthers('');
    });
  }

  /** As {@link remove}, and of the folder nothing is left either. What is removed in any other order could be found as a set that is not whole. */
  async removeFolder(): Promise<void> {
    if (await isThere(this.folder)) await this.remove();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #removeOthers(target: string): Promise<void> {
    const left = (await readdir(this.folder)).filter((name) => name.startsWith('set-') && name !== target);
    for (const name of left) await rm(join(this.folder, name), { recursive: true, force: true });
  }
}

async function inTurn(folder: string, work: () => Promise<void>): Promise<void> {
  const mine = (lastWrites.get(folder) ?? Promise.resolve()).then(work);
  const ended = mine.catch(() => undefined);
  lastWrites.set(folder, ended);
  try {
    await mine;
  } finally {
    if (lastWrites.get(folder) === ended) lastWrites.delete(folder);
  }
}

async function currentOf(folder: string): Promise<string | undefined> {
  try {
    return await readlink(join(folder, CURRENT));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return undefined;
    throw new TrustError('TRUST_FILE', `${join(folder, CURRENT)} cannot be read (${code ?? String(cause)}); it is a link to one of the folders beside it`, { cause });
  }
}

/** Replaces one file that needs no secrecy (a CA certificate for others to read): temporary file, fsync, rename, fsync of the folder. */
export async function writePublic(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.new`;
  await writeSynced(temporary, text, { mode: 0o644, flags: 'wx' });
  await rename(temporary, path);
  await syncFolder(join(path, '..'));
}

/** Throws TRUST_FILE for a file that others can read, that belongs to somebody else, or that cannot be read. */
export async function readPrivate(path: string): Promise<string> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new TrustError('TRUST_FILE', `${path} cannot be read (${code}): bring it back from a backup`, { cause });
  }
  try {
    const { mode, uid, size } = await file.stat();
    assertOwn(path, { mode, uid }, FILE_MODE);
    if (size > FILE_BYTES_MAX) throw new TrustError('TRUST_FILE', `${path} has ${size} bytes: that is no key and no certificate`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

async function assertPrivate(path: string, mode: number): Promise<void> {
  const found = await lstat(path);
  if (!found.isDirectory()) throw new TrustError('TRUST_FILE', `${path} is no folder`);
  assertOwn(path, found, mode);
}

/** A key that another user could read, or a folder in which he could put his own, is none. */
function assertOwn(path: string, { mode, uid }: { readonly mode: number; readonly uid: number }, wanted: number): void {
  const found = mode & 0o777;
  if ((found & 0o077) !== 0) {
    throw new TrustError('TRUST_FILE', `${path} has mode ${found.toString(8)}, so other users can get at the key in it: chmod ${wanted.toString(8)} ${path}; and if others may have read it, have it replaced`);
  }
  const own = process.getuid?.();
  if (own !== undefined && uid !== own) throw new TrustError('TRUST_FILE', `${path} belongs to user ${uid}, this program runs as ${own}: chown ${own} ${path}`);
}

/** Whether `path` is there at all. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
