import { ComponentIdentity } from '@tidemark/trust';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { VraConfig } from '../config/config.js';

const RETRY_MS = 3000;

export const identityFolder = ({ stateFolder }: Pick<VraConfig, 'stateFolder'>): string => join(stateFolder, 'trust');

/**
 * Who this VRA is. One that was enrolled once knows it from its own disk and waits for nobody, even when its certificate has expired: its guests want their disks.
 * A new one has nothing to serve yet; it waits until its token is redeemed.
 */
export async function openIdentity(config: VraConfig, log: Logger): Promise<ComponentIdentity> {
  const folder = identityFolder(config);
  const kept = await ComponentIdentity.open(folder);
  if (kept) return assertOwn(kept, config);
  // Loaded once in the life of a VRA.
  const { redeemTokenFile } = await import('./redeem-token-file.js');
  let last = '';
  for (;;) {
    try {
      const identity = await redeemTokenFile(config, folder);
      if (identity) {
        log.info({ folder }, 'this VRA is enrolled');
        return identity;
      }
      if (last === '') log.warn(`this VRA has no identity yet: it waits for an enrolment token in ${config.enrolmentTokenFile}`);
      last = 'waiting';
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (text !== last) log.error(`this VRA is not enrolled: ${text}`);
      last = text;
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function assertOwn(identity: ComponentIdentity, { siteId, vraId }: VraConfig): ComponentIdentity {
  const { name } = identity;
  if (name.siteId === siteId && name.role === 'vra' && name.instanceId === vraId) return identity;
  throw new Error(`${identity.folder} holds the identity of ${name.role} ${name.instanceId} of site ${name.siteId}; this is VRA ${vraId} of site ${siteId}: another VRA's state folder?`);
}
