import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { allowed, type Attempt, type Outcome, refused } from './attempt.js';
import type { Port } from './ports.js';

const run = promisify(execFile);

/** `nobody` of every Linux: no file and no process of a lab is his. */
const NOBODY = 65_534;

export const canBeSomebodyElse = (): boolean => process.getuid?.() === 0;

/** Runs as another user; `lines` on its standard input, its output comes back. */
async function asNobody(program: string, argument: string): Promise<string> {
  const { stdout } = await run(process.execPath, ['-e', program, argument], { uid: NOBODY, gid: NOBODY, cwd: '/', env: {}, maxBuffer: 64 * 1024 * 1024 });
  return stdout.trim();
}

const CONNECT = `require('net').connect(process.argv[1]).on('connect', () => { console.log('connected'); process.exit(); }).on('error', (error) => console.log(error.code));`;
const READ = `const fs = require('fs'); for (const path of JSON.parse(process.argv[1])) { try { fs.closeSync(fs.openSync(path, 'r')); console.log(path); } catch {} }`;

/** A user of a hypervisor host who is not root. */
export function socketAttempt(port: Port): Attempt {
  return {
    who: 'another user of the machine', port: port.name, tried: 'connect to the socket', isExpectedAllowed: false,
    run: async () => {
      const said = await asNobody(CONNECT, port.place);
      return said === 'connected' ? allowed(said) : refused(said);
    },
  };
}

/** He knows every path: that folders cannot be listed protects no file. */
export function filesAttempt(labFolder: string): Attempt {
  return { who: 'another user of the machine', port: '(files)', tried: 'read any file of the lab', isExpectedAllowed: false, run: () => readFiles(labFolder) };
}

const PATHS_AT_ONCE = 200;

async function readFiles(folder: string): Promise<Outcome> {
  const paths = await filesBelow(folder);
  const readable: string[] = [];
  for (let at = 0; at < paths.length; at += PATHS_AT_ONCE) readable.push(...(await asNobody(READ, JSON.stringify(paths.slice(at, at + PATHS_AT_ONCE)))).split('\n').filter((line) => line !== ''));
  return readable.length > 0 ? allowed(`${readable.length} of ${paths.length}: ${readable.slice(0, 3).map((path) => path.slice(folder.length)).join(', ')}`) : refused(`none of ${paths.length} files`);
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}
