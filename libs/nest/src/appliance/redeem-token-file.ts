import type { ComponentIdentity } from '@tidemark/trust';
import { readFile, rm } from 'node:fs/promises';
import { enrol } from '../trust/enrol.js';
import type { Appliance } from './appliance.js';

/** Redeems the token that whoever installed this appliance put beside it; the file goes when it was redeemed. @returns undefined when there is none */
export async function redeemTokenFile({ siteId, role, instanceId, hostId, enrolmentTokenFile: path }: Appliance, folder: string, identity?: ComponentIdentity): Promise<ComponentIdentity | undefined> {
  const token = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
  if (token.trim() === '') return undefined;
  const made = await enrol({ token, role, siteId, instanceId, hostId, folder, identity });
  await rm(path, { force: true });
  return made;
}
