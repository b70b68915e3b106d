import { accessSync, constants } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { delimiter, join } from 'node:path';

/** Debian package of each tool that a benchmark may ask for. */
const PACKAGES = {
  fio: 'fio', nbdkit: 'nbdkit', 'qemu-nbd': 'qemu-utils', 'qemu-img': 'qemu-utils', 'qemu-storage-daemon': 'qemu-system-common',
  nbdcopy: 'libnbd-bin', taskset: 'util-linux', rsync: 'rsync', restic: 'restic', borg: 'borgbackup',
};

export class MissingToolsError extends Error {}

function isInstalled(tool) {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, tool), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Throws {@link MissingToolsError}, which names what is missing and its package. A benchmark installs nothing. */
export function requireTools(tools) {
  const missing = tools.filter((tool) => !isInstalled(tool));
  if (missing.length === 0) return;
  const named = missing.map((tool) => `${tool} (package ${PACKAGES[tool] ?? 'unknown'})`);
  throw new MissingToolsError(`not installed: ${named.join(', ')}`);
}

/** First line of `tool --version`, or of its first answer at all. */
export function versionOf(tool) {
  const output = execFileSync(tool, ['--version'], { encoding: 'utf8' });
  return output.split('\n')[0].trim();
}
