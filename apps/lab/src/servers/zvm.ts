import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LabError } from '../lab-error.js';
import { PORTS, type SiteLayout } from '../layout.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { appEntry } from './node-programs.js';

const run = promisify(execFile);

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
      TIDEMARK_NATS_PID_FILE: join(site.runFolder, 'nats.pid'),
      TIDEMARK_INTERNAL_PORT: String(PORTS.internal),
      TIDEMARK_DATABASE_URL: identity.databaseUrl,
      TIDEMARK_HYPERVISOR: `simulated:${site.hypervisorUrl}`,
      TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: join(site.hypervisorFolder, 'credential'),
      TIDEMARK_STATE_DIR: site.zvmFolder,
    },
    cwd: site.folder,
    logPath: join(site.logFolder, 'zvm.log'),
    listens: [PORTS.rest, PORTS.internal].map((port) => `${site.managerAddress}:${port}`),
    endSignal: 'SIGTERM',
  };
}

/** `zvm init`: what is there already stays. */
export async function initTrust(site: SiteLayout, { command, args, env, cwd }: ProcessSpec): Promise<void> {
  try {
    await run(command, [...args, 'init', '--certificate', `hypervisor=${site.hypervisorAddress}`], { cwd, env });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr ?? String(cause);
    throw new LabError('LAB_REFUSED', `zvm init failed: ${said.trimEnd()}`, { cause });
  }
}

/** The site's CA certificates, which sign what its ports show. */
export const caPath = (site: SiteLayout): string => join(site.zvmFolder, 'trust', 'ca.pem');

/** The administrator's password, or null before the ZVM's first start. */
export async function readPassword(site: SiteLayout): Promise<string | null> {
  try {
    return (await readFile(join(site.zvmFolder, 'admin-password'), 'utf8')).trim();
  } catch {
    return null;
  }
}
