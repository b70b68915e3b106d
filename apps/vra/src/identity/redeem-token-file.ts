import { enrol } from '@tidemark/nest';
import type { ComponentIdentity } from '@tidemark/trust';
import { readFile, rm } from 'node:fs/promises';
import type { VraConfig } from '../config/config.js';

/** Redeems the token that whoever installed this VRA put beside it; the file goes when it was redeemed. @returns undefined when there is none */
export async function redeemTokenFile(config: VraConfig, folder: string, identity?: ComponentIdentity): Promise<ComponentIdentity | undefined> {
  const path = config.enrolmentTokenFile;
  const token = await readFile(path, 'utf8').catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  });
  if (token.trim() === '') return undefined;
  const { siteId, vraId: instanceId, hostId } = config;
  const made = await enrol({ token, role: 'vra', siteId, instanceId, hostId, folder, identity });
  await rm(path, { force: true });
  return made;
}
