import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SetupError, say } from './say.mjs';

const INSTALLER = join(import.meta.dirname, 'install-debian-packages.sh');
const POSTGRES_HOME = '/usr/lib/postgresql';
const POSTGRES_MAJOR_MIN = 15;

/** Debian package → the commands we use from it, and how people elsewhere call it. */
const TOOLS = {
  'nats-server': { commands: ['nats-server'], title: 'nats-server (2.9 or newer)' },
  postgresql: { isThere: hasPostgres, title: `PostgreSQL server (${POSTGRES_MAJOR_MIN} or newer: initdb, postgres)` },
  e2fsprogs: { commands: ['mke2fs', 'e2fsck', 'debugfs'], title: 'e2fsprogs (mke2fs, e2fsck, debugfs)' },
  'qemu-utils': { commands: ['qemu-img', 'qemu-io', 'qemu-nbd'], title: 'QEMU tools (qemu-img, qemu-io, qemu-nbd)' },
  'libnbd-bin': { commands: ['nbdinfo', 'nbdcopy', 'nbdfuse'], title: 'libnbd tools (nbdinfo, nbdcopy, nbdfuse)' },
  faketime: { commands: ['faketime'], title: 'faketime (libfaketime)' },
  iptables: { commands: ['iptables'], title: 'iptables' },
  nbdkit: { commands: ['nbdkit'], title: 'nbdkit' },
  curl: { commands: ['curl'], title: 'curl' },
  python3: { commands: ['python3'], title: 'Python 3' },
  zstd: { commands: ['zstd'], title: 'zstd' },
  jq: { commands: ['jq'], title: 'jq' },
  fio: { commands: ['fio'], title: 'fio (built with its nbd engine)' },
};

// Debian keeps system administration out of a user's PATH, but mke2fs works for everyone.
const searchPath = () => [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'].filter(Boolean);

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const isOnPath = (command) => searchPath().some((folder) => isExecutable(join(folder, command)));

/** Debian puts the server's binaries below a folder per version; elsewhere initdb is simply on PATH. */
function hasPostgres() {
  const majors = existsSync(POSTGRES_HOME) ? readdirSync(POSTGRES_HOME) : [];
  const isThere = (major) => Number(major) >= POSTGRES_MAJOR_MIN && isExecutable(join(POSTGRES_HOME, major, 'bin', 'initdb'));
  return majors.some(isThere) || (isOnPath('initdb') && isOnPath('postgres'));
}

const isPresent = ({ commands, isThere }) => (isThere ? isThere() : commands.every(isOnPath));

function osRelease() {
  if (!existsSync('/etc/os-release')) return { ID: process.platform };
  const lines = readFileSync('/etc/os-release', 'utf8').split('\n').filter((line) => line.includes('='));
  return Object.fromEntries(lines.map((line) => line.replace(/"/g, '').split(/=(.*)/s).slice(0, 2)));
}

function isDebian({ ID, ID_LIKE = '' }) {
  return (ID === 'debian' || ID_LIKE.split(' ').includes('debian')) && isOnPath('apt-get');
}

/** How to become root: not at all, by sudo (asking only where somebody can answer), or `null`: we cannot. */
function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  if (!isOnPath('sudo')) return null;
  if (spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0) return ['sudo', '-n'];
  return process.stdin.isTTY ? ['sudo'] : null;
}

function manualHint(missing, os) {
  const titles = missing.map((name) => `  - ${TOOLS[name].title}`).join('\n');
  const command = isDebian(os) ? `\nAs root: apt-get install ${missing.join(' ')}` : '';
  return `missing on this machine (${os.PRETTY_NAME ?? os.ID}); install these and run again:\n${titles}${command}`;
}

/**
 * Sees to it that the Debian packages named in `tools` are there. Installs them on Debian as root or through sudo when
 * `mayInstall`; otherwise throws a SetupError that names every one.
 */
export function ensureTools(tools, { mayInstall }) {
  const missing = tools.filter((name) => !isPresent(TOOLS[name]));
  if (missing.length === 0) return;
  const os = osRelease();
  const prefix = mayInstall && isDebian(os) ? rootPrefix() : null;
  if (!prefix) throw new SetupError(manualHint(missing, os));
  say(`installing Debian packages: ${missing.join(' ')} …`);
  const [command, ...args] = [...prefix, 'sh', INSTALLER, ...missing];
  const { status } = spawnSync(command, args, { stdio: ['inherit', 2, 2] });
  const still = missing.filter((name) => !isPresent(TOOLS[name]));
  if (status !== 0 || still.length > 0) throw new SetupError(`apt-get did not bring them all. ${manualHint(still.length > 0 ? still : missing, os)}`);
}
