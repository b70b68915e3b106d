import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LabError } from '../lab-error.js';

/** Debian keeps these out of an ordinary user's PATH. */
const EXTRA_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
const DEBIAN_POSTGRES = '/usr/lib/postgresql';

/** Full path of `name`. Throws LAB_PROGRAM_MISSING naming the Debian package to install. */
export function findProgram(name: string, debianPackage: string): string {
  const folders = [...(process.env['PATH'] ?? '').split(':'), ...EXTRA_FOLDERS];
  const path = folders.filter((folder) => folder !== '').map((folder) => join(folder, name)).find(isExecutable);
  if (path === undefined) throw new LabError('LAB_PROGRAM_MISSING', `${name} is not installed: apt-get install ${debianPackage}`);
  return path;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The newest server's folder below /usr/lib/postgresql, or wherever PATH has `initdb`. */
export function findPostgresBin(): string {
  if (existsSync(DEBIAN_POSTGRES)) {
    const versions = readdirSync(DEBIAN_POSTGRES).sort((left, right) => Number(right) - Number(left));
    const newest = versions.map((version) => join(DEBIAN_POSTGRES, version, 'bin')).find((folder) => isExecutable(join(folder, 'postgres')));
    if (newest !== undefined) return newest;
  }
  return dirname(findProgram('initdb', 'postgresql'));
}

export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root: then it runs as user `postgres`. Undefined: as who we are. */
export function postgresUser(): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync('/etc/passwd', 'utf8').split('\n').find((entry) => entry.startsWith('postgres:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) {
    throw new LabError('LAB_PROGRAM_MISSING', 'there is no system user postgres, and PostgreSQL does not run as root: apt-get install postgresql');
  }
  return { uid: Number(uid), gid: Number(gid) };
}
