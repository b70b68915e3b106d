import { type ResourceLink, VRA_STATUS, type VraApi, type VraProtectionCountersApi, type VraStatusV1 } from '@tidemark/contracts';
import type { Inventory } from '@tidemark/hypervisor';
import type { VpgRecord } from '../vpg/vpg-model.js';
import type { VraRecord } from './vra-model.js';
import { liveDisks } from '../vpg/followed-disks.js';

export interface VraFacts {
  readonly status: VraStatusV1 | undefined;
  readonly isConnected: boolean;
  readonly inventory: Inventory | undefined;
  readonly vpgs: readonly VpgRecord[];
  readonly link: ResourceLink;
  readonly siteId: string;
}

export function vraView(vra: VraRecord, { status, isConnected, inventory, vpgs, link, siteId }: VraFacts): VraApi {
  const { settings } = vra;
  const hostOf = new Map(inventory?.vms.map((vm) => [vm.id, vm.hostId]));
  return {
    Link: link,
    VraIdentifier: Number(vra.vraId),
    VraIdentifierStr: vra.vraId,
    VraName: vra.name,
    Status: VRA_STATUS.numbers[vra.state],
    Progress: vra.state === 'Installing' ? 50 : 0,
    VraVersion: status?.version ?? null,
    VraDisplayVersion: status?.version ?? null,
    HostVersion: null,
    IpAddress: vra.address,
    VraNetworkDataApi: {
      VraIPConfigurationTypeApi: settings.network.type, VraIPAddress: settings.network.address ?? vra.address, VraIPAddressRangeEnd: null,
      SubnetMask: settings.network.subnetMask, DefaultGateway: settings.network.gateway,
    },
    VraGroup: settings.groupName,
    MemoryInGB: settings.memoryGb,
    NumOfCpus: settings.cpuCount,
    DatastoreName: inventory?.datastores.find(({ id }) => id === settings.datastoreId)?.name ?? null,
    DatastoreIdentifier: settings.datastoreId,
    DatastoreClusterName: null,
    DatastoreClusterIdentifier: null,
    NetworkName: inventory?.networks.find(({ id }) => id === settings.networkId)?.name ?? null,
    NetworkIdentifier: settings.networkId,
    HostIdentifier: vra.hostId,
    HostDisplayName: settings.hostName,
    ProtectedCounters: count(vpgs.filter((vpg) => vpg.definition.protectedSiteId === siteId), (vm) => hostOf.get(vm.vmId) === vra.hostId),
    RecoveryCounters: count(vpgs.filter((vpg) => vpg.definition.recoverySiteId === siteId), (vm) => vm.recoveringVra.vraId === vra.vraId),
    SelfProtectedVpgs: 0,
    IsGhost: false,
    IsConnected: isConnected,
  };
}

function count(vpgs: readonly VpgRecord[], isHere: (vm: VpgRecord['definition']['vms'][number]) => boolean): VraProtectionCountersApi {
  const counters = { Vpgs: 0, Vms: 0, Volumes: 0 };
  for (const { definition } of vpgs) {
    const vms = definition.vms.filter(isHere);
    if (vms.length > 0) counters.Vpgs += 1;
    counters.Vms += vms.length;
    counters.Volumes += vms.reduce((sum, vm) => sum + liveDisks(vm).length, 0);
  }
  return counters;
}
