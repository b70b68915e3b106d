import type { Command } from 'commander';
import type { VmApi, VmNativeApi, VraApi } from '@tidemark/contracts';
import { VPG_STATUS, VRA_STATUS } from '@tidemark/contracts/enumerations';
import { nameOf } from '../names.js';
import { findSite, knownSites } from '../lookup.js';
import { megabytesText, orDash } from '../output.js';
import type { InSession } from '../program.js';

interface VmRow {
  readonly name: string;
  readonly identifier: string;
  readonly host: string;
  readonly disks: number;
  readonly sizeMB: number | null;
  readonly vpg: string;
  readonly status: string;
}

export function addInventoryCommands(program: Command, session: InSession): void {
  program.command('vms').description('VMs of a site, protected and not').option('--of-site <site>', 'name or identifier (this site)')
    .action((options: { ofSite?: string }, command: Command) => session(command, async ({ client, output }) => {
      const sites = await knownSites(client);
      const siteId = options.ofSite === undefined ? sites.local.SiteIdentifier : findSite(options.ofSite, sites).SiteIdentifier;
      const unprotected = await client.get<VmNativeApi[]>(`/virtualizationsites/${siteId}/vms`);
      const protectedVms = await client.get<VmApi[]>('/vms', { protectedSiteIdentifier: siteId });
      output.list([...protectedVms.map(protectedRow), ...unprotected.map(unprotectedRow)], {
        NAME: (vm) => vm.name, HOST: (vm) => vm.host, DISKS: (vm) => String(vm.disks), SIZE: (vm) => megabytesText(vm.sizeMB), VPG: (vm) => vm.vpg,
        STATUS: (vm) => vm.status, IDENTIFIER: (vm) => vm.identifier,
      }, 'the site has no VMs');
    }));

  program.command('vras').description('replication appliances of this site')
    .action((_options, command: Command) => session(command, async ({ client, output }) => {
      output.list(await client.get<VraApi[]>('/vras'), {
        NAME: (vra) => vra.VraName, HOST: (vra) => orDash(vra.HostDisplayName), STATUS: (vra) => vraStatus(vra), ADDRESS: (vra) => orDash(vra.IpAddress),
        PROTECTS: (vra) => counters(vra.ProtectedCounters), RECOVERS: (vra) => counters(vra.RecoveryCounters), VERSION: (vra) => orDash(vra.VraVersion),
        IDENTIFIER: (vra) => vra.VraIdentifierStr,
      }, 'no VRA is installed');
    }));
}

const protectedRow = (vm: VmApi): VmRow => ({
  name: vm.VmName, identifier: vm.VmIdentifier, host: orDash(vm.OwningHostName), disks: (vm.Volumes ?? []).length, sizeMB: vm.ProvisionedStorageInMB ?? null,
  vpg: vm.VpgName, status: nameOf(VPG_STATUS, vm.Status),
});

const unprotectedRow = (vm: VmNativeApi): VmRow => ({
  name: vm.VmName, identifier: vm.VmIdentifier, host: orDash(vm.OwningHostName), disks: (vm.Volumes ?? []).length,
  sizeMB: vm.VmPerfMetricInfo?.ProvisionedStorageInMB ?? null, vpg: '–', status: 'not protected',
});

function vraStatus(vra: VraApi): string {
  const status = nameOf(VRA_STATUS, vra.Status);
  return vra.IsConnected === false && status === 'Installed' ? 'Installed, silent' : status;
}

const counters = (count: VraApi['ProtectedCounters']): string => (count ? `${count.Vms} VMs, ${count.Volumes} volumes` : '–');
