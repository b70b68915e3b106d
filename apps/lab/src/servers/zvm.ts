import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PORTS, type SiteLayout } from '../layout.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { appEntry } from './node-programs.js';

/** The name of a ZVM's first administrator; its password is made by the ZVM. */
export const ADMINISTRATOR = 'admin';

export interface ZvmIdentity {
  readonly siteId: string;
  readonly siteName: string;
  readonly natsUrl: string;
  readonly databaseUrl: string;
}

export function zvmSpec(site: SiteLayout, identity: ZvmIdentity): ProcessSpec {
  return {
    name: 'zvm',
    command: process.execPath,
    args: [appEntry('zvm/dist/main.js')],
    env: {
      TIDEMARK_SITE_ID: identity.siteId,
      TIDEMARK_SITE_NAME: identity.siteName,
      TIDEMARK_ADDRESS: site.managerAddress,
      TIDEMARK_REST_PORT: String(PORTS.rest),
      TIDEMARK_NATS_URL: identity.natsUrl,
      TIDEMARK_NATS_PEER_PORT: String(PORTS.natsPeer),
      TIDEMARK_DATABASE_URL: identity.databaseUrl,
      TIDEMARK_HYPERVISOR: `simulated:${site.hypervisorUrl}`,
      TIDEMARK_STATE_DIR: site.zvmFolder,
    },
    cwd: site.folder,
    logPath: join(site.logFolder, 'zvm.log'),
    listens: [`${site.managerAddress}:${PORTS.rest}`],
    endSignal: 'SIGTERM',
  };
}

export const certificatePath = (site: SiteLayout): string => join(site.zvmFolder, 'rest-cert.pem');

/** The administrator's password, or null before the ZVM's first start. */
export async function readPassword(site: SiteLayout): Promise<string | null> {
  try {
    return (await readFile(join(site.zvmFolder, 'admin-password'), 'utf8')).trim();
  } catch {
    return null;
  }
}
