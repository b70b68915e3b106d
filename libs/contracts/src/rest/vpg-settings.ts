/**
 * `/vpgSettings/{sid}` and its sections. Every field may be absent or null on the way in; `GET` shows all of them. What
 * this version does not have (vCD, public cloud, long-term retention) is shown as null and accepted as null.
 */
import { PRIORITY, type PriorityName } from './enumerations.js';
import { Choice, Int, Flag, List, Section, Text, Unsupported } from './fields.js';

export class VpgSettingsBasicApi {
  @Text({ lengthMax: 1000 }) Name?: string | null;
  @Text() VpgType?: string | null;
  @Int() RpoInSeconds?: number | null;
  /** 0: no reminder. */
  @Int() TestIntervalInMinutes?: number | null;
  @Int() JournalHistoryInHours?: number | null;
  /** Ours: seconds between automatic checkpoints, 1 to 3600; null: the site's default. */
  @Int() CheckpointIntervalInSeconds?: number | null;
  /** Ours: hours in which every checkpoint stays; afterwards one a minute. 0 or null: all stay as long as the history. */
  @Int() KeepAllCheckpointsForHours?: number | null;
  /** Ours: hours after which one an hour stays; null: 24 more than {@link KeepAllCheckpointsForHours}, without which it is refused. */
  @Int() KeepMinuteCheckpointsForHours?: number | null;
  @Choice(PRIORITY) Priority?: PriorityName | null;
  @Flag() UseWanCompression?: boolean | null;
  @Text() ServiceProfileIdentifier?: string | null;
  @Text() ZorgIdentifier?: string | null;
  @Text() ProtectedSiteIdentifier?: string | null;
  @Text() RecoverySiteIdentifier?: string | null;
}

export class VpgSettingsBootGroupApi {
  @Text() BootGroupIdentifier?: string | null;
  @Text({ lengthMax: 200 }) Name?: string | null;
  @Int({ max: 86_400 }) BootDelayInSeconds?: number | null;
}

export class VpgSettingsBootGroupsApi {
  @List(() => VpgSettingsBootGroupApi) BootGroups?: VpgSettingsBootGroupApi[] | null;
}

export class VpgSettingsScriptApi {
  /** Path of a file in the recovery site's scripts folder; null or empty: none. */
  @Text({ lengthMax: 1024 }) Command?: string | null;
  /** Parted by blanks, which quotes keep; no shell looks at them. */
  @Text() Parameters?: string | null;
  /** 1 to 3600; null: 300. */
  @Int({ max: 86_400 }) TimeoutInSeconds?: number | null;
}

export class VpgSettingsPostBackupScriptApi {
  /** Taken and not run, a script would be missed at the worst moment. */
  @Unsupported() Command?: string | false | null;
  @Unsupported() Parameters?: string | false | null;
  @Int({ max: 86_400 }) TimeoutInSeconds?: number | null;
}

export class VpgSettingsScriptsApi {
  @Section(() => VpgSettingsScriptApi) PreRecovery?: VpgSettingsScriptApi | null;
  @Section(() => VpgSettingsScriptApi) PostRecovery?: VpgSettingsScriptApi | null;
  @Section(() => VpgSettingsPostBackupScriptApi) PostBackup?: VpgSettingsPostBackupScriptApi | null;
}

export class VpgSettingsRecoveryApi {
  @Text() DefaultHostIdentifier?: string | null;
  @Text() DefaultHostClusterIdentifier?: string | null;
  @Text() DefaultDatastoreIdentifier?: string | null;
  @Text() DefaultDatastoreClusterIdentifier?: string | null;
  @Text() DefaultFolderIdentifier?: string | null;
  @Text() ResourcePoolIdentifier?: string | null;
  @Unsupported() Vcd?: null;
  @Unsupported() PublicCloud?: null;
}

/** Of a journal or of scratch. Percent of the VM's volumes, goes before MB; 0 in both: unlimited. */
export class VpgSettingsLimitationApi {
  @Int() HardLimitInMB?: number | null;
  @Int() HardLimitInPercent?: number | null;
  @Int() WarningThresholdInMB?: number | null;
  @Int() WarningThresholdInPercent?: number | null;
}

export class VpgSettingsJournalApi {
  @Section(() => VpgSettingsLimitationApi) Limitation?: VpgSettingsLimitationApi | null;
  /** null: the recovery datastore of the VM. */
  @Text() DatastoreIdentifier?: string | null;
  @Text() DatastoreClusterIdentifier?: string | null;
}

export class VpgSettingsScratchApi {
  @Section(() => VpgSettingsLimitationApi) Limitation?: VpgSettingsLimitationApi | null;
  /** Scratch lies beside the journal: null, or the journal's datastore. */
  @Text() DatastoreIdentifier?: string | null;
  @Text() DatastoreClusterIdentifier?: string | null;
}

export class VpgSettingsLtrApi {
  @Unsupported() Enabled?: false | null;
  @Unsupported() RepositoryIdentifier?: null;
}

export class VpgSettingsHypervisorNetworkApi {
  @Text() DefaultNetworkIdentifier?: string | null;
}

export class VpgSettingsNetworkApi {
  @Section(() => VpgSettingsHypervisorNetworkApi) Hypervisor?: VpgSettingsHypervisorNetworkApi | null;
  @Unsupported() Vcd?: null;
  @Unsupported() PublicCloud?: null;
}

export class VpgSettingsNetworksApi {
  @Section(() => VpgSettingsNetworkApi) Failover?: VpgSettingsNetworkApi | null;
  @Section(() => VpgSettingsNetworkApi) FailoverTest?: VpgSettingsNetworkApi | null;
}

/** Of the guest's own system, which this version does not touch: refused at commit unless empty. */
export class VpgSettingsVmNicHypervisorIpConfig {
  @Text() StaticIp?: string | null;
  @Text() SubnetMask?: string | null;
  @Text() Gateway?: string | null;
  @Text() PrimaryDns?: string | null;
  @Text() SecondaryDns?: string | null;
  @Flag() IsDhcp?: boolean | null;
}

export class VpgSettingsVmNicHypervisorNetworkApi {
  @Text() NetworkIdentifier?: string | null;
  @Flag() ShouldReplaceMacAddress?: boolean | null;
  @Text() DnsSuffix?: string | null;
  @Section(() => VpgSettingsVmNicHypervisorIpConfig) IpConfig?: VpgSettingsVmNicHypervisorIpConfig | null;
  @Flag() ShouldReplaceIpConfiguration?: boolean | null;
}

export class VpgSettingsVmNicNetworkApi {
  @Section(() => VpgSettingsVmNicHypervisorNetworkApi) Hypervisor?: VpgSettingsVmNicHypervisorNetworkApi | null;
  @Unsupported() Vcd?: null;
  @Unsupported() PublicCloud?: null;
}

export class VpgSettingsVmNicApi {
  @Text() NicIdentifier?: string | null;
  @Section(() => VpgSettingsVmNicNetworkApi) Failover?: VpgSettingsVmNicNetworkApi | null;
  @Section(() => VpgSettingsVmNicNetworkApi) FailoverTest?: VpgSettingsVmNicNetworkApi | null;
}

export class VpgSettingsVmVolumeDatastoreApi {
  @Text() DatastoreIdentifier?: string | null;
  @Text() DatastoreClusterIdentifier?: string | null;
  /** true or null: always thin. */
  @Flag() IsThin?: boolean | null;
}

/** An existing disk of the recovery site, as large as the protected one and not attached: only differences are copied. */
export class VpgSettingsVmVolumePreseedApi {
  @Text() DatastoreIdentifier?: string | null;
  /** In the datastore, or absolute below it. */
  @Text({ lengthMax: 2000 }) Path?: string | null;
}

export class VpgSettingsVmVolumeApi {
  /** `scsi:0:0` */
  @Text() VolumeIdentifier?: string | null;
  @Section(() => VpgSettingsVmVolumeDatastoreApi) Datastore?: VpgSettingsVmVolumeDatastoreApi | null;
  @Unsupported() Vcd?: null;
  @Section(() => VpgSettingsVmVolumePreseedApi) Preseed?: VpgSettingsVmVolumePreseedApi | null;
  @Unsupported() Rdm?: null;
  /** `InitialSyncOnly`: temp data; the disk is copied once, what is written to it later is not replicated. `Continuous`, or null: as any disk. */
  @Text() VolumeSyncSettings?: string | null;
}

export class VpgSettingsVmRecoveryApi {
  @Text() HostIdentifier?: string | null;
  @Text() HostClusterIdentifier?: string | null;
  @Text() DatastoreIdentifier?: string | null;
  @Text() DatastoreClusterIdentifier?: string | null;
  @Text() FolderIdentifier?: string | null;
  @Text() ResourcePoolIdentifier?: string | null;
  @Unsupported() Vcd?: null;
  @Unsupported() PublicCloud?: null;
}

export class VpgSettingsVmApi {
  @Text() VmIdentifier?: string | null;
  @Text() BootGroupIdentifier?: string | null;
  @Section(() => VpgSettingsVmRecoveryApi) Recovery?: VpgSettingsVmRecoveryApi | null;
  @Section(() => VpgSettingsJournalApi) Journal?: VpgSettingsJournalApi | null;
  @Section(() => VpgSettingsScratchApi) Scratch?: VpgSettingsScratchApi | null;
  @List(() => VpgSettingsVmVolumeApi) Volumes?: VpgSettingsVmVolumeApi[] | null;
  @List(() => VpgSettingsVmNicApi) Nics?: VpgSettingsVmNicApi[] | null;
}

export class VpgSettingsProtectedApi {
  @Unsupported() Vcd?: null;
}

export class VpgSettingsApi {
  @Text() VpgIdentifier?: string | null;
  @Text() VpgSettingsIdentifier?: string | null;
  @Section(() => VpgSettingsBasicApi) Basic?: VpgSettingsBasicApi | null;
  @Section(() => VpgSettingsBootGroupsApi) BootGroups?: VpgSettingsBootGroupsApi | null;
  @Section(() => VpgSettingsScriptsApi) Scripting?: VpgSettingsScriptsApi | null;
  @Section(() => VpgSettingsRecoveryApi) Recovery?: VpgSettingsRecoveryApi | null;
  @Section(() => VpgSettingsJournalApi) Journal?: VpgSettingsJournalApi | null;
  @Section(() => VpgSettingsScratchApi) Scratch?: VpgSettingsScratchApi | null;
  @Section(() => VpgSettingsLtrApi) LongTermRetention?: VpgSettingsLtrApi | null;
  @Section(() => VpgSettingsNetworksApi) Networks?: VpgSettingsNetworksApi | null;
  @List(() => VpgSettingsVmApi) Vms?: VpgSettingsVmApi[] | null;
  @Section(() => VpgSettingsProtectedApi) Protected?: VpgSettingsProtectedApi | null;
}
