/** What the pickers of a VPG need from a site's hypervisor manager: `/virtualizationsites/{site}/…`. */
import { Flag, Int, List, Section, Text, Texts } from './fields.js';

export class NicNativeApi {
  @Text({ isRequired: true }) NicIdentifier!: string;
}

export class VmVolumeApi {
  /** `scsi:0:0` */
  @Text({ isRequired: true }) VmVolumeIdentifier!: string;
  @Text() PublicCloudVolumeIdentifier?: string | null;
  /** Of a protected VM: `InitialSyncOnly` for temp data, else `Continuous`. */
  @Text() VolumeSyncSettings?: string | null;
}

export class VmNetworkAdapter {
  @Text() DisplayName?: string | null;
  @Text() NetworkIdentifier?: string | null;
  @Texts() IpAddresses?: string[] | null;
}

export class VmNetworkInformation {
  @List(() => VmNetworkAdapter) NetworkAdapters?: VmNetworkAdapter[] | null;
}

export class VmPerfMetricInfo {
  @Int() ProvisionedStorageInMB?: number | null;
  @Int() UsedStorageInMB?: number | null;
  @Int() CpuCoresNum?: number | null;
  @Int() MemorySizeInMB?: number | null;
}

/** A VM that is not protected yet. */
export class VmNativeApi {
  @Text({ isRequired: true }) VmName!: string;
  @Text({ isRequired: true }) VmIdentifier!: string;
  @Text() VmInstanceIdentifier?: string | null;
  @Text() OwningHostIdentifier?: string | null;
  @Text() OwningHostName?: string | null;
  @Text() OwningDatastoreIdentifier?: string | null;
  @Text() OwningDatastoreName?: string | null;
  @Text() GuestOs?: string | null;
  @Section(() => VmNetworkInformation) VmNetworkInformation?: VmNetworkInformation | null;
  @Section(() => VmPerfMetricInfo) VmPerfMetricInfo?: VmPerfMetricInfo | null;
  @List(() => NicNativeApi) Nics?: NicNativeApi[] | null;
  @List(() => VmVolumeApi) Volumes?: VmVolumeApi[] | null;
  @Flag() IsAgentInstalled?: boolean | null;
}

export class DatastoreClusterNativeApi {
  @Text({ isRequired: true }) DatastoreClusterName!: string;
  @Text({ isRequired: true }) DatastoreClusterIdentifier!: string;
}

export class DatastoreNativeApi {
  @Text({ isRequired: true }) DatastoreName!: string;
  @Text({ isRequired: true }) DatastoreIdentifier!: string;
  @Section(() => DatastoreClusterNativeApi) OwningDatastoreCluster?: DatastoreClusterNativeApi | null;
}

export class NetworkNativeApi {
  @Text({ isRequired: true }) VirtualizationNetworkName!: string;
  @Text({ isRequired: true }) NetworkIdentifier!: string;
}

export class FolderNativeApi {
  @Text({ isRequired: true }) FolderName!: string;
  @Text({ isRequired: true }) FolderIdentifier!: string;
}

export class HostNativeApi {
  @Text({ isRequired: true }) HostIdentifier!: string;
  @Text({ isRequired: true }) VirtualizationHostName!: string;
  @Text() HostVersion?: string | null;
  @Text() ConnectionStatus?: string | null;
  @List(() => DatastoreNativeApi) AssociatedDatastores?: DatastoreNativeApi[] | null;
  @List(() => NetworkNativeApi) AssociatedNetworks?: NetworkNativeApi[] | null;
}

/** Kinds of inventory that the hypervisors of this version do not have: their lists are always empty. */
export const EMPTY_INVENTORY_KINDS = ['vcdvapps', 'datastoreclusters', 'resourcepools', 'orgvdcs', 'hostclusters', 'repositories', 'devices'] as const;
