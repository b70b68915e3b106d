import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createHypervisorManager, type HypervisorManager, type HypervisorSeed } from '@tidemark/hypervisor';
import { newSecret } from '@tidemark/trust';
import { hypervisorConfigSchema, type HypervisorProcessConfig } from '../hypervisor/config.js';
import { PORTS, type SiteLayout } from '../layout.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { appEntry } from './node-programs.js';
import { sampleSeed } from './sample-seed.js';
import { caPath } from './zvm.js';

export interface HypervisorIdentity {
  readonly serverGuid: string;
  readonly seed?: HypervisorSeed;
}

/** The site's simulated manager, which gets what it is to run from one file. */
export async function hypervisorSpec(site: SiteLayout, { serverGuid }: HypervisorIdentity): Promise<ProcessSpec> {
  const path = join(site.hypervisorFolder, 'config.json');
  if (!existsSync(credentialPath(site))) await writeFile(credentialPath(site), newSecret(), { mode: 0o600 });
  await writeFile(path, JSON.stringify(hypervisorConfigSchema.parse(configuration(site, serverGuid)), null, 1), { mode: 0o600 });
  return {
    name: 'hypervisor',
    command: process.execPath,
    args: [appEntry('lab/dist/hypervisor/main.js'), path],
    env: {},
    cwd: site.folder,
    logPath: join(site.logFolder, 'hypervisor.log'),
    listens: [`${site.hypervisorAddress}:${PORTS.hypervisor}`],
    endSignal: 'SIGTERM',
  };
}

function configuration(site: SiteLayout, serverGuid: string): HypervisorProcessConfig {
  return {
    host: site.hypervisorAddress,
    port: PORTS.hypervisor,
    statePath: statePath(site),
    serverGuid,
    identityFolder: join(site.zvmFolder, 'trust', 'hypervisor'),
    credentialPath: credentialPath(site),
    seed: sampleSeed(site),
    runFolder: site.runFolder,
    logFolder: site.logFolder,
    hosts: site.hosts.map(({ name, address, folder, nbdSocketPath, vraName }) => ({ name, address, folder, nbdSocketPath, vraName })),
  };
}

export const statePath = (site: SiteLayout): string => join(site.hypervisorFolder, 'inventory.json');

/** The one thing that the manager asks for; made with the lab. */
export const credentialPath = (site: SiteLayout): string => join(site.hypervisorFolder, 'credential');

/** The site's manager, as its administrator reaches it. */
export function managerOf(site: SiteLayout): HypervisorManager {
  return createHypervisorManager(`simulated:${site.hypervisorUrl}`, { caPem: () => [readFileSync(caPath(site), 'utf8')], credential: readFileSync(credentialPath(site), 'utf8') });
}

export async function probeHypervisor(site: SiteLayout): Promise<void> {
  await managerOf(site).inventory();
}
