import {
  CHECKPOINT_TYPE, COMMIT_POLICY, ENTITY_TYPE, PRIORITY, SHUTDOWN_POLICY, VPG_ALERT_STATUS, VPG_STATUS, VPG_SUB_STATUS,
  type CommitPolicyName, type ShutdownPolicyName,
} from './enumerations.js';
import { Choice, Decimal, EnumNumber, Flag, Instant, Int, Section, Text, Texts } from './fields.js';
import { ResourceLink } from './links.js';

export class CheckpointApi {
  /** An ever-growing number, as text. */
  @Text({ isRequired: true }) CheckpointIdentifier!: string;
  @Instant({ isRequired: true }) TimeStamp!: string;
  @Text() Tag?: string | null;
  @EnumNumber(CHECKPOINT_TYPE, { isRequired: true }) Type!: number;
  /** The older name of application-consistent. */
  @Flag() Vss?: boolean | null;
}

export class VpgCheckpointsStatsApi {
  @Section(() => CheckpointApi) Earliest?: CheckpointApi | null;
  @Section(() => CheckpointApi) Latest?: CheckpointApi | null;
}

/** `POST /vpgs/{vpg}/checkpoints` */
export class VpgInsertTagCheckpointDataApi {
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 200 }) CheckpointName!: string;
  /** Extension: every VM's applications are frozen by its guest agent meanwhile; the task fails, without a checkpoint, if one cannot. */
  @Flag() Vss?: boolean | null;
}

/** `POST /vpgs/{vpg}/FailoverTest` */
export class FailOverTestStartDataApi {
  /** The newest listed one when absent. */
  @Text({ lengthMax: 20 }) CheckpointIdentifier?: string | null;
  /** All VMs of the VPG when absent. */
  @Texts() VmIdentifiers?: string[] | null;
}

/** `POST /vpgs/{vpg}/FailoverTestStop` */
export class StopFailoverTestDataApi {
  @Flag() FailoverTestSuccess?: boolean | null;
  @Text({ hasLines: true }) FailoverTestSummary?: string | null;
}

/** `POST /vpgs/{vpg}/Failover` */
export class FailoverDataApi {
  /** The newest listed one when absent. */
  @Text({ lengthMax: 20 }) CheckpointIdentifier?: string | null;
  /** What happens by itself when the time is up; None waits for a person. */
  @Choice(COMMIT_POLICY) CommitPolicy?: CommitPolicyName | null;
  /** Time until CommitPolicy acts; 0 acts at once. The vendor's odd name. */
  @Int({ max: 86_400 }) TimeToWaitBeforeShutdownInSec?: number | null;
  @Choice(SHUTDOWN_POLICY) ShutdownPolicy?: ShutdownPolicyName | null;
  @Flag() IsReverseProtection?: boolean | null;
  @Texts() VmIdentifiers?: string[] | null;
  /** Ours, as of a move: a pre-recovery script that fails is reported and does not stop the failover. */
  @Flag() ContinueOnPreScriptFailure?: boolean | null;
}

/** `POST /vpgs/{vpg}/FailoverCommit` */
export class FailoverCommitDataApi {
  @Flag() IsReverseProtection?: boolean | null;
}

/** `POST /vpgs/{vpg}/Move` */
export class MoveVpgDataApi {
  /** What happens by itself when the time is up; None waits for a person. */
  @Choice(COMMIT_POLICY) CommitPolicy?: CommitPolicyName | null;
  /** Seconds until CommitPolicy acts; 0 acts at once. */
  @Int({ max: 86_400 }) CommitPolicyTimeout?: number | null;
  /** VMs that do not shut down by themselves are powered off; otherwise they stop the move. */
  @Flag() ForceShutdown?: boolean | null;
  @Flag() ReverseProtection?: boolean | null;
  /** Not with ReverseProtection, which needs their disks. The VMs stay, powered off. */
  @Flag() KeepSourceVms?: boolean | null;
  /** A pre-recovery script that fails is reported and does not stop the move. */
  @Flag() ContinueOnPreScriptFailure?: boolean | null;
}

/** `POST /vpgs/{vpg}/MoveCommit` */
export class MoveCommitVpgDataApi {
  @Flag() ReverseProtection?: boolean | null;
  @Flag() KeepSourceVms?: boolean | null;
}

/** `DELETE /vpgs/{vpg}` */
export class VpgDeleteDataApi {
  @Flag() KeepRecoveryVolumes?: boolean | null;
  /** Delete although the other site does not answer. */
  @Flag() Force?: boolean | null;
}

/** `POST /vpgs/{vpg}/ClaimOwnership`, at the site whose VMs another one has failed over */
export class VpgClaimOwnershipDataApi {
  /** Without it the answer is the risk, and nothing changes. */
  @Flag() Force?: boolean | null;
}

export class VpgEntitiesApi {
  @EnumNumber(ENTITY_TYPE, { isRequired: true }) Protected!: number;
  @EnumNumber(ENTITY_TYPE, { isRequired: true }) Recovery!: number;
  @EnumNumber(ENTITY_TYPE) Source?: number | null;
  @EnumNumber(ENTITY_TYPE) Target?: number | null;
}

export class FailOverTestApi {
  @Text() Stage?: string | null;
}

export class VpgActiveProcessesApi {
  /** null: no failover test. */
  @Section(() => FailOverTestApi) RunningFailOverTestApi?: FailOverTestApi | null;
}

/** The part of the history that a sync should leave. */
export class JournalHealthStatusApi {
  /** Minutes; of the configured ones, those that are there. */
  @Int({ isRequired: true }) ActualFailSafeHistory!: number;
  /** Minutes: the configured history, 240 at most. */
  @Int({ isRequired: true }) ConfiguredFailSafeHistory!: number;
  /** Why replication pauses to keep the last checkpoint; empty: it does not. */
  @Text() FailSafeDescription?: string | null;
}

export class HistoryStatusApi {
  @Int({ isRequired: true }) ActualHistoryInMinutes!: number;
  @Int({ isRequired: true }) ConfiguredHistoryInMinutes!: number;
  @Section(() => CheckpointApi) EarliestCheckpoint?: CheckpointApi | null;
}

/** Extension: the syncs of all VMs as one. */
export class VpgSyncApi {
  /** InitialSync, VolumeInitialSync, DeltaSync or BitmapSync. */
  @Text({ isRequired: true }) Kind!: string;
  /** What set it off. */
  @Text({ isRequired: true }) Reason!: string;
  @Int({ isRequired: true }) TotalBytes!: number;
  @Int({ isRequired: true }) BytesLeft!: number;
  /** Of BytesLeft, those that are compared first; only differences travel. */
  @Int({ isRequired: true }) BytesToCompare!: number;
  @Int({ isRequired: true }) BytesPerSecond!: number;
  /** null: not known yet. */
  @Int() SecondsLeft?: number | null;
  @Instant() EstimatedEnd?: string | null;
}

export class VpgApi {
  @Text({ isRequired: true }) VpgIdentifier!: string;
  @Text({ isRequired: true }) VpgName!: string;
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @EnumNumber(VPG_STATUS, { isRequired: true }) Status!: number;
  @Text() StatusDescription?: string | null;
  @EnumNumber(VPG_SUB_STATUS, { isRequired: true }) SubStatus!: number;
  @Text() SubStatusDescription?: string | null;
  @EnumNumber(VPG_ALERT_STATUS) AlertStatus?: number | null;
  /** Of what SubStatus names: a sync, a promotion. */
  @Decimal({ isRequired: true }) ProgressPercentage!: number;
  /** null: nothing is being synced. */
  @Section(() => VpgSyncApi) Sync?: VpgSyncApi | null;
  @EnumNumber(PRIORITY, { isRequired: true }) Priority!: number;
  @Int({ isRequired: true }) VmsCount!: number;
  @Int() ProvisionedStorageInMB?: number | null;
  @Int() UsedStorageInMB?: number | null;
  @Int() IOPs?: number | null;
  @Int() IoPs?: number | null;
  @Decimal() ThroughputInMB?: number | null;
  /** Seconds since the newest recoverable checkpoint; null when there is none or it is not known. Never 0 for lack of knowledge. */
  @Int() ActualRPO?: number | null;
  @Int({ isRequired: true }) ConfiguredRpoSeconds!: number;
  @Instant() LastTest?: string | null;
  @Text() VpgDescription?: string | null;
  @Text() VpgType?: string | null;
  @Text() SourceSite?: string | null;
  @Text() TargetSite?: string | null;
  @Text() ProtectedSiteName?: string | null;
  @Section(() => ResourceLink) ProtectedSite?: ResourceLink | null;
  @Text() RecoverySiteName?: string | null;
  @Section(() => ResourceLink) RecoverySite?: ResourceLink | null;
  @Text() OrganizationName?: string | null;
  @Section(() => ResourceLink) Zorg?: ResourceLink | null;
  @Text() ServiceProfileIdentifier?: string | null;
  @Text() ServiceProfileName?: string | null;
  @Section(() => ResourceLink) ServiceProfile?: ResourceLink | null;
  @Section(() => VpgEntitiesApi) Entities?: VpgEntitiesApi | null;
  @Section(() => VpgActiveProcessesApi) ActiveProcessesApi?: VpgActiveProcessesApi | null;
  @Flag() BackupEnabled?: boolean | null;
  @Section(() => JournalHealthStatusApi) FailSafeHistory?: JournalHealthStatusApi | null;
  @Section(() => HistoryStatusApi) HistoryStatusApi?: HistoryStatusApi | null;
}
