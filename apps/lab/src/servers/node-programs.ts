import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LabError } from '../lab-error.js';

/** The workspace's root, from the sources as from the built files. */
export function workspaceRoot(from = import.meta.dirname): string {
  for (let folder = from; folder !== dirname(folder); folder = dirname(folder)) {
    if (existsSync(join(folder, 'nx.json'))) return folder;
  }
  throw new LabError('LAB_FOLDER', `no workspace above ${from}`);
}

/** The built entry of an app, e.g. `vra/dist/main.js`. */
export function appEntry(path: string): string {
  const entry = join(workspaceRoot(), 'apps', path);
  if (!existsSync(entry)) throw new LabError('LAB_PROGRAM_MISSING', `${entry} is not built: npm run build`);
  return entry;
}
