import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lab } from './identity.js';
import type { LabStatus } from './status.js';

/** The status as `up` left it, for scripts; owner only, since it holds passwords. */
export async function writeStatusFile(lab: Lab, status: LabStatus): Promise<string> {
  const path = join(lab.layout.folder, 'status.json');
  await writeFile(`${path}.new`, JSON.stringify(status, null, 2), { mode: 0o600 });
  await rename(`${path}.new`, path);
  return path;
}
