/**
 * What a user asks for when protecting VMs. The same shape as `VpgSettingsApi` with camelCase names, every field present:
 * the REST form converts key by key, both ways. Reference §3.1, §8.5.
 */
export type Priority = 'Low' | 'Medium' | 'High';

export interface BasicSettings {
  readonly name: string | null;
  readonly vpgType: string | null;
  /** Age of the newest recoverable checkpoint above which users are alerted, s. */
  readonly rpoInSeconds: number | null;
  /** 0: no reminder. */
  readonly testIntervalInMinutes: number | null;
  readonly journalHistoryInHours: number | null;
  /** Between automatic checkpoints; null: the site's default. */
  readonly checkpointIntervalInSeconds: number | null;
  /** Every checkpoint stays so long, then one a minute; 0 or null: no thinning. */
  readonly keepAllCheckpointsForHours: number | null;
  /** Then, after so many hours, one an hour. */
  readonly keepMinuteCheckpointsForHours: number | null;
  readonly priority: Priority | null;
  readonly useWanCompression: boolean | null;
  readonly serviceProfileIdentifier: string | null;
  readonly zorgIdentifier: string | null;
  readonly protectedSiteIdentifier: string | null;
  readonly recoverySiteIdentifier: string | null;
}

export interface BootGroup {
  readonly bootGroupIdentifier: string | null;
  readonly name: string | null;
  readonly bootDelayInSeconds: number | null;
}

export interface ScriptSettings {
  readonly command: string | null;
  readonly parameters: string | null;
  readonly timeoutInSeconds: number | null;
}

export interface RecoverySettings {
  readonly defaultHostIdentifier: string | null;
  readonly defaultHostClusterIdentifier: string | null;
  readonly defaultDatastoreIdentifier: string | null;
  readonly defaultDatastoreClusterIdentifier: string | null;
  readonly defaultFolderIdentifier: string | null;
  readonly resourcePoolIdentifier: string | null;
  readonly vcd: null;
  readonly publicCloud: null;
}

/** Of a journal or of scratch; 0 in MB and percent: unlimited. Percent of the VM's volume size. */
export interface Limitation {
  readonly hardLimitInMB: number | null;
  readonly hardLimitInPercent: number | null;
  readonly warningThresholdInMB: number | null;
  readonly warningThresholdInPercent: number | null;
}

export interface JournalSettings {
  readonly limitation: Limitation | null;
  /** null: the recovery datastore of the VM. */
  readonly datastoreIdentifier: string | null;
  readonly datastoreClusterIdentifier: string | null;
}

export interface NetworkSettings {
  readonly hypervisor: { readonly defaultNetworkIdentifier: string | null } | null;
  readonly vcd: null;
  readonly publicCloud: null;
}

export interface NicNetworkSettings {
  readonly hypervisor: {
    readonly networkIdentifier: string | null;
    readonly shouldReplaceMacAddress: boolean | null;
    readonly dnsSuffix: string | null;
    readonly ipConfig: NicIpSettings | null;
    readonly shouldReplaceIpConfiguration: boolean | null;
  } | null;
  readonly vcd: null;
  readonly publicCloud: null;
}

export interface NicIpSettings {
  readonly staticIp: string | null;
  readonly subnetMask: string | null;
  readonly gateway: string | null;
  readonly primaryDns: string | null;
  readonly secondaryDns: string | null;
  readonly isDhcp: boolean | null;
}

export interface NicSettings {
  readonly nicIdentifier: string | null;
  readonly failover: NicNetworkSettings | null;
  readonly failoverTest: NicNetworkSettings | null;
}

/** `InitialSyncOnly`: temp data (swap, page files) is copied once; later writes to it are not replicated. */
export const VOLUME_SYNC = ['Continuous', 'InitialSyncOnly'] as const;

export interface VolumeSettings {
  readonly volumeIdentifier: string | null;
  readonly datastore: {
    readonly datastoreIdentifier: string | null;
    readonly datastoreClusterIdentifier: string | null;
    readonly isThin: boolean | null;
  } | null;
  readonly vcd: null;
  /** An existing disk of the recovery site to begin with. `path` in the datastore, or absolute below it. */
  readonly preseed: { readonly datastoreIdentifier: string | null; readonly path: string | null } | null;
  readonly rdm: null;
  /** One of {@link VOLUME_SYNC}; null: `Continuous`. */
  readonly volumeSyncSettings: string | null;
}

export interface VmRecoverySettings {
  readonly hostIdentifier: string | null;
  readonly hostClusterIdentifier: string | null;
  readonly datastoreIdentifier: string | null;
  readonly datastoreClusterIdentifier: string | null;
  readonly folderIdentifier: string | null;
  readonly resourcePoolIdentifier: string | null;
  readonly vcd: null;
  readonly publicCloud: null;
}

export interface VmSettings {
  readonly vmIdentifier: string | null;
  readonly bootGroupIdentifier: string | null;
  readonly recovery: VmRecoverySettings | null;
  readonly journal: JournalSettings | null;
  readonly scratch: JournalSettings | null;
  readonly volumes: readonly VolumeSettings[] | null;
  readonly nics: readonly NicSettings[] | null;
}

export interface VpgSettings {
  readonly vpgIdentifier: string | null;
  readonly vpgSettingsIdentifier: string | null;
  readonly basic: BasicSettings;
  readonly bootGroups: { readonly bootGroups: readonly BootGroup[] };
  readonly scripting: { readonly preRecovery: ScriptSettings; readonly postRecovery: ScriptSettings; readonly postBackup: ScriptSettings | null };
  readonly recovery: RecoverySettings;
  readonly journal: JournalSettings;
  readonly scratch: JournalSettings;
  readonly longTermRetention: null;
  readonly networks: { readonly failover: NetworkSettings; readonly failoverTest: NetworkSettings };
  readonly vms: readonly VmSettings[];
  readonly protected: { readonly vcd: null };
}
