import { isPlainText, shownText } from '@tidemark/base';
import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ScriptError } from './script-error.js';
import type { ScriptFile } from './script-runner.js';

const COMMAND_LENGTH_MAX = 1024;
const FILE_BYTES_MAX = 64 * 1024 * 1024;
const STICKY = 0o1000;

export interface UserIds {
  readonly uid: number;
  readonly gid: number;
}

export interface ScriptPlace {
  /** Absolute. */
  readonly folder: string;
  /** Besides root the only owner that is believed. */
  readonly ownUid: number;
  readonly runsAs: UserIds;
}

/**
 * Nobody but root and the ZVM's own user can have put it there or can change it: that holds for the file, each folder below the scripts folder,
 * that folder and all above it. @throws ScriptError
 */
export async function lookAtScript(command: string, place: ScriptPlace): Promise<ScriptFile> {
  const parts = partsOf(command, place.folder);
  let path = await realFolder(place);
  for (const part of parts.slice(0, -1)) {
    path = join(path, part);
    await assertFolder(path, place);
  }
  path = join(path, parts.at(-1) ?? '');
  await statOf(path, place);
  return { command, path, sha256: await digestOf(path, place) };
}

function partsOf(command: string, folder: string): string[] {
  const isText = command.length <= COMMAND_LENGTH_MAX && isPlainText(command);
  const name = isText && command.startsWith(`${folder}/`) ? command.slice(folder.length + 1) : command;
  const parts = isText ? name.split('/') : [];
  if (parts.length > 0 && parts.every((part) => part !== '' && part !== '.' && part !== '..')) return parts;
  const shown = shownText(command.slice(0, 200));
  throw new ScriptError('SCRIPT_NAME', `'${shown}' is no script: expected the path of a file in the scripts folder ${folder}, such as 'dns/update.sh'; programs of elsewhere are called from a script`);
}

/** The folder as the kernel sees it, and all above it. */
async function realFolder(place: ScriptPlace): Promise<string> {
  const { folder } = place;
  const path = await realpath(folder).catch((cause: unknown) => {
    throw new ScriptError('SCRIPT_FOLDER', `the scripts folder ${folder} cannot be used (${codeOf(cause)}): make it, owned by root, mode 755`, { cause });
  });
  await assertFolder(path, place);
  for (let above = dirname(path); ; above = dirname(above)) {
    const stats = await statOf(above, place);
    // Who may write into a sticky folder may not move what others have there.
    assertOwned(above, stats, place, { isSharedAllowed: (stats.mode & STICKY) !== 0 });
    assertAccess(above, stats, place, { bits: 0o1, what: 'search' });
    if (above === dirname(above)) return path;
  }
}

async function assertFolder(path: string, place: ScriptPlace): Promise<void> {
  const stats = await statOf(path, place);
  if (!stats.isDirectory()) throw new ScriptError('SCRIPT_UNSAFE', `${path} is no folder`);
  assertOwned(path, stats, place, { isSharedAllowed: false });
  assertAccess(path, stats, place, { bits: 0o1, what: 'search' });
}

async function statOf(path: string, { folder }: ScriptPlace): Promise<Stats> {
  const stats = await lstat(path).catch((cause: unknown) => {
    const code = codeOf(cause);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw new ScriptError('SCRIPT_ACCESS', `${path} cannot be looked at: ${code}`, { cause });
    throw new ScriptError('SCRIPT_MISSING', `there is no file ${path} on this site's ZVM: scripts run at the recovery site, from its scripts folder ${folder}; put it there`, { cause });
  });
  if (stats.isSymbolicLink()) throw new ScriptError('SCRIPT_UNSAFE', `${path} is a symbolic link, and links are not followed: put the file itself there`);
  return stats;
}

function assertOwned(path: string, stats: Stats, { ownUid }: ScriptPlace, { isSharedAllowed }: { readonly isSharedAllowed: boolean }): void {
  if (stats.uid !== 0 && stats.uid !== ownUid) {
    throw new ScriptError('SCRIPT_UNSAFE', `${path} belongs to user ${stats.uid}, who could change what is run: give it to root (chown root ${path})`);
  }
  if (!isSharedAllowed && (stats.mode & 0o022) !== 0) {
    throw new ScriptError('SCRIPT_UNSAFE', `others than its owner can write ${path}, and so change what is run: chmod go-w ${path}`);
  }
}

function assertAccess(path: string, { uid, gid, mode }: Stats, { runsAs }: ScriptPlace, { bits, what }: { readonly bits: number; readonly what: string }): void {
  if (runsAs.uid === 0) return;
  const shift = runsAs.uid === uid ? 6 : runsAs.gid === gid ? 3 : 0;
  if (((mode >> shift) & bits) === bits) return;
  throw new ScriptError('SCRIPT_ACCESS', `the user that runs scripts (${runsAs.uid}:${runsAs.gid}) may not ${what} ${path}: chmod ${what === 'search' ? '755' : 'a+rx'} ${path}`);
}

async function digestOf(path: string, place: ScriptPlace): Promise<string> {
  // Not blocking: a pipe in the place of the file would hold the call for ever.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw new ScriptError('SCRIPT_ACCESS', `${path} cannot be read: ${codeOf(cause)}`, { cause });
  });
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new ScriptError('SCRIPT_UNSAFE', `${path} is no regular file`);
    assertOwned(path, stats, place, { isSharedAllowed: false });
    assertAccess(path, stats, place, { bits: 0o5, what: 'read and execute' });
    if ((stats.mode & 0o111) === 0) throw new ScriptError('SCRIPT_ACCESS', `${path} is not executable: chmod a+rx ${path}`);
    if (stats.size > FILE_BYTES_MAX) throw new ScriptError('SCRIPT_UNSAFE', `${path} has ${stats.size} bytes, ${FILE_BYTES_MAX} are allowed`);
    return await hashOf(file, path);
  } finally {
    await file.close();
  }
}

async function hashOf(file: FileHandle, path: string): Promise<string> {
  const hash = createHash('sha256');
  let isFirst = true;
  for await (const chunk of file.createReadStream({ autoClose: false, start: 0 }) as AsyncIterable<Buffer>) {
    if (isFirst) assertProgram(chunk, path);
    isFirst = false;
    hash.update(chunk);
  }
  if (isFirst) assertProgram(Buffer.alloc(0), path);
  return hash.digest('hex');
}

/** What the kernel does not know is handed to a shell by the C library, which is not what was named. */
function assertProgram(start: Buffer, path: string): void {
  const isKnown = start.subarray(0, 3).toString('latin1') === '#!/' || start.subarray(0, 4).toString('latin1') === '\x7fELF';
  if (!isKnown) throw new ScriptError('SCRIPT_UNSAFE', `${path} does not say what runs it: its first line must name its interpreter, such as #!/bin/sh`);
}

function codeOf(error: unknown): string {
  const code: unknown = typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : String(error);
}
