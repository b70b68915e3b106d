import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { VbaApi, VbaTokenApi } from '@tidemark/contracts';
import { PORTS, type SiteLayout } from '../layout.js';
import type { ProcessSpec } from '../process/process-registry.js';
import type { SiteApi } from '../rest/site-api.js';
import { appEntry } from './node-programs.js';

export const VBA_NAME = 'vba';

/** As an administrator adds a backup appliance: makes it known, and carries its token to its machine. @returns how it is started */
export async function addVba(site: SiteLayout, api: SiteApi, { siteId, natsUrl }: { readonly siteId: string; readonly natsUrl: string }): Promise<ProcessSpec> {
  const hostId = `backup-${site.name}`;
  const added = await api.call<VbaTokenApi>('POST', '/vbas', { VbaName: `vba-${site.name}`, HostIdentifier: hostId, IpAddress: site.vbaAddress });
  await mkdir(site.vbaFolder, { recursive: true, mode: 0o700 });
  await writeFile(join(site.vbaFolder, 'enrolment-token'), added.Token, { mode: 0o600 });
  return {
    name: VBA_NAME,
    command: process.execPath,
    args: [appEntry('vba/dist/main.js')],
    env: {
      TIDEMARK_SITE_ID: siteId,
      TIDEMARK_VBA_ID: added.VbaIdentifier,
      TIDEMARK_HOST_ID: hostId,
      TIDEMARK_ADDRESS: site.vbaAddress,
      TIDEMARK_NATS_URL: natsUrl,
      TIDEMARK_STATE_DIR: site.vbaFolder,
      TIDEMARK_HEALTH_PORT: String(PORTS.vraHealth),
    },
    cwd: site.folder,
    logPath: join(site.logFolder, 'vba.log'),
    listens: [`${site.vbaAddress}:${PORTS.vraHealth}`],
    endSignal: 'SIGTERM',
  };
}

/** Its ZVM hears it. */
export async function isVbaConnected(api: SiteApi): Promise<boolean> {
  return (await api.get<VbaApi[]>('/vbas')).some(({ IsConnected }) => IsConnected);
}
