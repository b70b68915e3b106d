import type { PeerVraV1 } from './messages.js';

/** The inventory of a site as a paired one sees it: what hypervisor managers tell, as the words of that message. */
export interface HostNewsV1 {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly isConnected: boolean;
  readonly datastoreIds: readonly string[];
  readonly networkIds: readonly string[];
  readonly nbdSocketPath: string;
}

export interface DatastoreNewsV1 {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly capacityBytes: number;
  readonly freeBytes: number;
}

export interface DiskNewsV1 {
  readonly id: string;
  readonly sizeBytes: number;
  readonly datastoreId: string;
  readonly location: string;
  readonly exportName: string;
  readonly isFile: boolean;
}

export interface NicNewsV1 {
  readonly id: string;
  readonly networkId: string;
  readonly mac: string;
}

export interface VmNewsV1 {
  readonly id: string;
  readonly name: string;
  readonly hostId: string;
  readonly folderId: string;
  readonly powerState: 'poweredOn' | 'poweredOff';
  readonly cpuCount: number;
  readonly memoryMiB: number;
  readonly guestOs: string;
  readonly disks: readonly DiskNewsV1[];
  readonly nics: readonly NicNewsV1[];
}

export interface InventoryNewsV1 {
  readonly revision: number;
  readonly hosts: readonly HostNewsV1[];
  readonly datastores: readonly DatastoreNewsV1[];
  readonly networks: readonly { readonly id: string; readonly name: string }[];
  readonly folders: readonly { readonly id: string; readonly name: string }[];
  readonly vms: readonly VmNewsV1[];
}

/** Answer to `control inventory.get`: what a VPG needs to know of a site. */
export interface SiteInventoryV1 {
  readonly inventory: InventoryNewsV1;
  readonly vras: readonly PeerVraV1[];
}
