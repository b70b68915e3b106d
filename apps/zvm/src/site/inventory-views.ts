import type { DatastoreNativeApi, FolderNativeApi, HostNativeApi, NetworkNativeApi, VmNativeApi } from '@tidemark/contracts';
import { MiB } from '@tidemark/base';
import type { Datastore, HypervisorHost, Inventory, Network, Vm, VmFolder } from '@tidemark/hypervisor';

/** Inventory as the pickers of the REST API show it. */

export const datastoreView = (datastore: Datastore): DatastoreNativeApi => ({
  DatastoreName: datastore.name, DatastoreIdentifier: datastore.id, OwningDatastoreCluster: null,
});

export const networkView = (network: Network): NetworkNativeApi => ({ VirtualizationNetworkName: network.name, NetworkIdentifier: network.id });

export const folderView = (folder: VmFolder): FolderNativeApi => ({ FolderName: folder.name, FolderIdentifier: folder.id });

export function hostView(host: HypervisorHost, inventory: Inventory): HostNativeApi {
  return {
    HostIdentifier: host.id,
    VirtualizationHostName: host.name,
    HostVersion: null,
    ConnectionStatus: host.isConnected ? 'Connected' : 'Disconnected',
    AssociatedDatastores: inventory.datastores.filter(({ id }) => host.datastoreIds.includes(id)).map(datastoreView),
    AssociatedNetworks: inventory.networks.filter(({ id }) => host.networkIds.includes(id)).map(networkView),
  };
}

export function vmView(vm: Vm, inventory: Inventory): VmNativeApi {
  const host = inventory.hosts.find(({ id }) => id === vm.hostId);
  const datastore = inventory.datastores.find(({ id }) => id === vm.disks[0]?.datastoreId);
  const nameOfNetwork = (networkId: string): string => inventory.networks.find(({ id }) => id === networkId)?.name ?? networkId;
  return {
    VmName: vm.name,
    VmIdentifier: vm.id,
    VmInstanceIdentifier: vm.id,
    OwningHostIdentifier: vm.hostId,
    OwningHostName: host?.name ?? null,
    OwningDatastoreIdentifier: datastore?.id ?? null,
    OwningDatastoreName: datastore?.name ?? null,
    GuestOs: vm.guestOs,
    VmNetworkInformation: {
      NetworkAdapters: vm.nics.map((nic) => ({ DisplayName: nameOfNetwork(nic.networkId), NetworkIdentifier: nic.networkId, IpAddresses: [] })),
    },
    VmPerfMetricInfo: {
      ProvisionedStorageInMB: provisionedMb(vm.disks), UsedStorageInMB: null, CpuCoresNum: vm.cpuCount, MemorySizeInMB: vm.memoryMiB,
    },
    Nics: vm.nics.map((nic) => ({ NicIdentifier: nic.id })),
    Volumes: vm.disks.map((disk) => ({ VmVolumeIdentifier: disk.id, PublicCloudVolumeIdentifier: null })),
    IsAgentInstalled: false,
  };
}

export const provisionedMb = (disks: readonly { readonly sizeBytes: number }[]): number =>
  Math.ceil(disks.reduce((sum, disk) => sum + disk.sizeBytes, 0) / MiB);
