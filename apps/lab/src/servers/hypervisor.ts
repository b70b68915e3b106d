import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createHypervisorManager, type HypervisorSeed } from '@tidemark/hypervisor';
import { hypervisorConfigSchema, type HypervisorProcessConfig } from '../hypervisor/config.js';
import { PORTS, type SiteLayout } from '../layout.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { appEntry } from './node-programs.js';
import { sampleSeed } from './sample-seed.js';

export interface HypervisorIdentity {
  readonly serverGuid: string;
  readonly seed?: HypervisorSeed;
}

/** The site's simulated manager, which gets what it is to run from one file. */
export async function hypervisorSpec(site: SiteLayout, { serverGuid }: HypervisorIdentity): Promise<ProcessSpec> {
  const path = join(site.hypervisorFolder, 'config.json');
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
    seed: sampleSeed(site),
    runFolder: site.runFolder,
    logFolder: site.logFolder,
    hosts: site.hosts.map(({ name, address, folder, nbdSocketPath, vraName }) => ({ name, address, folder, nbdSocketPath, vraName })),
  };
}

export const statePath = (site: SiteLayout): string => join(site.hypervisorFolder, 'inventory.json');

export async function probeHypervisor(site: SiteLayout): Promise<void> {
  await createHypervisorManager(`simulated:${site.hypervisorUrl}`).inventory();
}
