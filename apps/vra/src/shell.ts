import 'reflect-metadata';
import { type Appliance, redeemTokenFile, startShell } from '@tidemark/nest';
import type { VraEngine } from '@tidemark/engine-host';
import type { ComponentIdentity } from '@tidemark/trust';
import type { VraConfig } from './config/config.js';
import { VraModule } from './vra.module.js';

const applianceOf = ({ siteId, vraId, hostId, address, healthPort, enrolmentTokenFile }: VraConfig): Appliance =>
  ({ siteId, role: 'vra', instanceId: vraId, hostId, address, healthPort, enrolmentTokenFile });

/** See {@link redeemTokenFile}. */
export const redeem = async (config: VraConfig, folder: string): Promise<ComponentIdentity | undefined> => await redeemTokenFile(applianceOf(config), folder);

/** Control over NATS, health and metrics, around an engine that runs. Resolves when 4006 answers. */
export async function startVraShell(config: VraConfig, engine: VraEngine, identity: ComponentIdentity): Promise<void> {
  const appliance = applianceOf(config);
  await startShell(VraModule.of({ config, appliance, engine, identity }), appliance, identity);
}
