import { redeemTokenFile, startShell } from '@tidemark/nest';
import { openApplianceIdentity } from '@tidemark/trust';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { VbaConfig } from './config.js';
import { VbaModule } from './vba.module.js';

/** Waits for an identity, then runs. Resolves when 4006 answers. */
export async function startVba(config: VbaConfig, log: Pick<Logger, 'info' | 'warn' | 'error'>): Promise<{ close(): Promise<void> }> {
  const { appliance, stateFolder } = config;
  await mkdir(stateFolder, { recursive: true, mode: 0o700 });
  const folder = join(stateFolder, 'trust');
  const { siteId, role, instanceId, enrolmentTokenFile } = appliance;
  const identity = await openApplianceIdentity({ name: { siteId, role, instanceId }, folder, tokenFile: enrolmentTokenFile, log, redeem: async () => await redeemTokenFile(appliance, folder) });
  return await startShell(VbaModule.of(config, identity), appliance, identity);
}
