import { join } from 'node:path';
import { GiB, MiB } from '@tidemark/base';
import type { HypervisorSeed, SeedVm } from '@tidemark/hypervisor';
import type { SiteLayout } from '../layout.js';

const DATASTORE_CAPACITY_BYTES = 20 * GiB;

/** What every lab site has; the three sample VMs run at site a only. */
export function sampleSeed(site: SiteLayout): HypervisorSeed {
  const datastoreName = `datastore-${site.name}1`;
  return {
    hosts: site.hosts.map(({ name, address, nbdSocketPath }) => ({ name, address, nbdSocketPath })),
    datastores: [1, 2].map((number) => ({
      name: `datastore-${site.name}${number}`,
      path: join(site.datastoreFolder, `ds${number}`),
      capacityBytes: DATASTORE_CAPACITY_BYTES,
    })),
    networks: [{ name: 'production' }, { name: 'failover test' }],
    folders: [{ name: 'Production' }, { name: 'Recovered' }],
    vms: site.name === 'a' ? sampleVms(site, datastoreName) : [],
  };
}

/** web01 and app01 on the first host, db01 on the second: one VPG of all three needs the barrier over two hosts. */
function sampleVms(site: SiteLayout, datastoreName: string): SeedVm[] {
  const [first, second] = site.hosts.map((host) => host.name);
  const vm = (name: string, hostName: string | undefined, diskMiB: readonly number[]): SeedVm => ({
    name,
    hostName: hostName ?? '',
    folderName: 'Production',
    datastoreName,
    networkNames: ['production'],
    cpuCount: 2,
    memoryMiB: 1024,
    guestOs: 'Debian 12',
    diskBytes: diskMiB.map((size) => size * MiB),
    isPoweredOn: true,
  });
  return [vm('web01', first, [64]), vm('db01', second, [128, 64]), vm('app01', first, [256])];
}
