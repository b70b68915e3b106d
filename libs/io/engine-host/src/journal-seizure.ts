import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError } from './engine-error.js';
import { JournalOwner } from './journal-owner.js';
import { MirrorSet } from './mirror-set.js';
import type { RecoverySpec } from './types.js';

/** Five looks of the {@link OwnerWatch} of a VRA that runs after all: it has found that the files are another one's, and closed them. */
export const QUIET_MS = 5000;

/**
 * Takes journal and mirrors from a VRA that has not let go, by the operator's word that its host is down: its lock on the mirrors must be gone, and the files
 * name this VRA from then on. They are closed again: {@link assertQuiet} comes before the journal is opened. False: they were released; there is nobody to wait for.
 */
export async function seizeJournal(spec: RecoverySpec, vraId: string): Promise<boolean> {
  const owner = await JournalOwner.look(spec, vraId);
  if (owner.isReleased) return false;
  const mirrors = new MirrorSet();
  try {
    await mirrors.open(spec.volumes, { knownCount: spec.volumes.length, isNew: false });
    await owner.claim();
  } finally {
    await mirrors.close();
  }
  return true;
}

/** Throws VRA_STILL_WRITTEN when journal or mirrors change within `quietMs`: their old VRA runs, or writes of it still arrive. */
export async function assertQuiet(spec: RecoverySpec, quietMs = QUIET_MS): Promise<void> {
  const before = await fingerprints(spec);
  await new Promise((resolve) => setTimeout(resolve, quietMs));
  const after = await fingerprints(spec);
  const changed = [...after].find(([path, text]) => before.get(path) !== text)?.[0] ?? [...before.keys()].find((path) => !after.has(path));
  if (changed !== undefined) {
    throw new EngineError('VRA_STILL_WRITTEN', `${changed} has changed although the host of its VRA is said to be down: make sure that it is off, and try again`);
  }
}

/** Size and time of the last change of each file that the owner of a recovery writes. */
async function fingerprints({ journalFolder, volumes }: RecoverySpec): Promise<Map<string, string>> {
  const names = await readdir(journalFolder);
  const paths = [...names.map((name) => join(journalFolder, name)), ...volumes.map(({ mirrorPath }) => mirrorPath)];
  const found = new Map<string, string>();
  for (const path of paths) {
    const file = await stat(path, { bigint: true }).catch(() => undefined); // gone meanwhile, or a removed volume
    if (file?.isFile() === true) found.set(path, `${String(file.size)} ${String(file.mtimeNs)}`);
  }
  return found;
}
