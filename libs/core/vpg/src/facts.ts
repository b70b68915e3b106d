/** What is known about the world when settings are checked; ids as the REST API shows them. */
export interface KnownSite {
  readonly siteId: string;
  readonly name: string;
}

export interface KnownVpg {
  readonly vpgId: string;
  readonly name: string;
  readonly recoverySiteId: string;
  readonly vmIds: readonly string[];
}

export interface ProtectableVm {
  readonly vmId: string;
  readonly name: string;
  readonly disks: readonly { readonly diskId: string; readonly sizeBytes: number }[];
  readonly nicIds: readonly string[];
}

export interface KnownHost {
  readonly hostId: string;
  readonly name: string;
  readonly datastoreIds: readonly string[];
  readonly networkIds: readonly string[];
  readonly hasVra: boolean;
}

export interface KnownDatastore {
  readonly datastoreId: string;
  readonly name: string;
  readonly capacityBytes: number;
  readonly freeBytes: number;
}

export interface Named {
  readonly id: string;
  readonly name: string;
}

export interface SettingsFacts {
  /** The VPG that is edited, null for a new one: it does not stand in its own way. */
  readonly vpgId: string | null;
  /** This site and those paired with it. */
  readonly sites: readonly KnownSite[];
  readonly isReplicationToSelfEnabled: boolean;
  readonly vpgs: readonly KnownVpg[];
  /** VMs of the protected site. */
  readonly vms: readonly ProtectableVm[];
  readonly recovery: {
    readonly hosts: readonly KnownHost[];
    readonly datastores: readonly KnownDatastore[];
    readonly networks: readonly Named[];
    readonly folders: readonly Named[];
  };
}

export interface Fault {
  /** `Basic.Name`, `Vms[0].Recovery.HostIdentifier`: as the REST API spells it. */
  readonly path: string;
  readonly message: string;
}
