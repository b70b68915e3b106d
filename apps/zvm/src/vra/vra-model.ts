export type VraState = 'Installing' | 'Installed' | 'Removing' | 'InstallationError';

/** How the VRA was asked for; kept for showing. */
export interface VraSettings {
  readonly hostName: string;
  readonly datastoreId: string;
  readonly networkId: string;
  readonly groupName: string;
  readonly memoryGb: number;
  readonly cpuCount: number;
  readonly network: { readonly type: 'Dhcp' | 'Static'; readonly address: string | null; readonly subnetMask: string | null; readonly gateway: string | null };
}

export interface VraRecord {
  /** Decimal digits, below 2^53: a signed 64-bit integer of the REST API that JavaScript clients read exactly. */
  readonly vraId: string;
  readonly hostId: string;
  readonly name: string;
  readonly state: VraState;
  readonly settings: VraSettings;
  readonly address: string;
  /** Of the newest DesiredStateV1 made for it, and the digest of its content. */
  readonly revision: number;
  readonly stateDigest: string;
  readonly createdAtMs: number;
}
