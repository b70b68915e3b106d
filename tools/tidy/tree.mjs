import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const IGNORED = new Set(['node_modules', 'dist', '.git', '.nx', 'tmp', 'coverage']);

function walk(folder, prefix = '') {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (IGNORED.has(entry.name)) return [];
    const path = prefix + entry.name;
    if (entry.isDirectory()) return walk(join(folder, entry.name), `${path}/`);
    return entry.isFile() ? [path] : [];
  });
}

/** Files that git would carry; without git (a source archive), the files that are there. */
function listFiles(root) {
  if (!existsSync(join(root, '.git'))) return walk(root);
  const text = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root, encoding: 'utf8' });
  return text.split('\0').filter((path) => path && existsSync(join(root, path)) && statSync(join(root, path)).isFile());
}

/** The tree as checks see it: paths relative to the root, and their text on demand. */
export function readTree(root) {
  const texts = new Map();
  const read = (path) => {
    if (!texts.has(path)) texts.set(path, readFileSync(join(root, path), 'utf8'));
    return texts.get(path);
  };
  return { files: listFiles(root).sort(), read, readJson: (path) => JSON.parse(read(path)) };
}
