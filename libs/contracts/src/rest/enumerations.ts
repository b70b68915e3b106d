/**
 * The closed value sets of the REST API. On the wire most answers carry the number, requests may carry either; a
 * number is the name's place in the list (reference §3.4, §8.3). Order and names never change once released.
 */
export interface Enumeration<Name extends string = string> {
  readonly title: string;
  /** By number: `names[2]` is the name of 2. */
  readonly names: readonly Name[];
  readonly numbers: Readonly<Record<Name, number>>;
}

export type NameOf<E> = E extends Enumeration<infer Name> ? Name : never;

function enumeration<const Name extends string>(title: string, names: readonly Name[]): Enumeration<Name> {
  const numbers = Object.fromEntries(names.map((name, index) => [name, index])) as Record<Name, number>;
  return { title, names, numbers };
}

/** What `GET /vpgs/statuses` and its like answer. */
export const names = (of: Enumeration): string[] => [...of.names];

/** The name for a number, a numeral or a name in any letter case; undefined when it is none of them. */
export function parseEnumeration<Name extends string>(of: Enumeration<Name>, value: unknown): Name | undefined {
  if (typeof value === 'number') return of.names[value];
  if (typeof value !== 'string') return undefined;
  if (/^\d{1,4}$/.test(value)) return of.names[Number(value)];
  return of.names.find((name) => name.toLowerCase() === value.toLowerCase());
}

/** The newer vendor order: 3 is RpoNotMeetingSLA. */
export const VPG_STATUS = enumeration('VpgVisualStatusApi', [
  'Initializing', 'MeetingSLA', 'NotMeetingSLA', 'RpoNotMeetingSLA', 'HistoryNotMeetingSLA', 'FailingOver', 'Moving', 'Deleting', 'Recovered',
]);

export const VPG_SUB_STATUS = enumeration('VpgVisualSubStatusApi', [
  'None', 'InitialSync', 'Creating', 'VolumeInitialSync', 'Sync', 'RecoveryPossible', 'DeltaSync', 'NeedsConfiguration', 'Error',
  'EmptyProtectionGroup', 'DisconnectedFromPeerNoRecoveryPoints', 'FullSync', 'VolumeDeltaSync', 'VolumeFullSync', 'FailingOverCommitting',
  'FailingOverBeforeCommit', 'FailingOverRollingBack', 'Promoting', 'MovingCommitting', 'MovingBeforeCommit', 'MovingRollingBack',
  'Deleting', 'PendingRemove', 'BitmapSync', 'DisconnectedFromPeer', 'ReplicationPausedUserInitiated', 'ReplicationPausedSystemInitiated',
  'RecoveryStorageProfileError', 'Backup', 'RollingBack', 'RecoveryStorageError', 'JournalStorageError', 'VmNotProtectedError',
  'JournalOrRecoveryMissingError', 'AddedVmsInInitialSync', 'ReplicationPausedForMissingVolume',
]);

export const VPG_ALERT_STATUS = enumeration('VpgAlertStatusApi', ['Healthy', 'Warning', 'Error']);
export const PRIORITY = enumeration('VpgPriorityApi', ['Low', 'Medium', 'High']);
/** Tidemark reports its own hypervisors as the first kind, which every client knows. */
export const ENTITY_TYPE = enumeration('VpgEntityTypeApi', ['VCVpg', 'VCvApp', 'VCDvApp', 'PublicCloud', 'HyperV', 'Azure']);
export const CHECKPOINT_TYPE = enumeration('CheckpointTypeApi', ['Auto', 'User', 'Vss']);
export const PAIRING_STATUS = enumeration('PairingVisualStatusApi', ['Paired', 'Pairing', 'Unpaired']);
export const COMMIT_POLICY = enumeration('CommitPolicyApi', ['Rollback', 'Commit', 'None']);
export const SHUTDOWN_POLICY = enumeration('FailoverShutdownPolicyApi', ['None', 'Shutdown', 'ForceShutdown']);
export const RETENTION_POLICY = enumeration('RetentionPolicyApi', ['None', 'Daily', 'Weekly', 'Monthly', 'Yearly']);
export const JOURNAL_LIMIT_TYPE = enumeration('VmJournalLimitTypeApi', ['Unlimited', 'Megabytes', 'Percentage']);

export const VRA_STATUS = enumeration('VraStatusApi', [
  'Installed', 'UnsupportedEsxVersion', 'NotInstalled', 'Installing', 'Removing', 'InstallationError', 'HostPasswordChanged',
  'UpdatingIpSettings', 'DuringChangeHost',
]);
/** Reference §2.9: 0, 1, 2. */
export const VRA_CHANGE_RECOVERY_HOST_VM_STATUS = enumeration('VraChangeRecoveryHostVmStatusApi', ['Ok', 'Warning', 'Error']);
export const VRA_IP_CONFIGURATION_TYPE = enumeration('VraIPConfigurationTypeApi', ['Dhcp', 'Static']);

export const TASK_STATE = enumeration('TaskStatusEnumApi', [
  'FirstUnusedValue', 'InProgress', 'WaitingForUserInput', 'Paused', 'Failed', 'Stopped', 'Completed', 'Cancelling',
]);

export const TASK_TYPE = enumeration('TaskTypeApi', [
  'CreateProtectionGroup', 'RemoveProtectionGroup', 'FailOver', 'FailOverTest', 'StopFailOverTest', 'Move', 'GetCheckpointList', 'ProtectVM',
  'UnprotectVM', 'AddVMToProtectionGroup', 'RemoveVMFromProtectionGroup', 'InstallVra', 'UninstallVra', 'GetVMSettings',
  'UpdateProtectionGroup', 'InsertTaggedCP', 'WaitForCP', 'HandleMirrorPromotion', 'ActivateAllMirrors', 'LogCollection', 'ClearCheckpoints',
  'ForceReconfigurationOfNewVM', 'ClearSite', 'ForceRemoveProtectionGroup', 'ForceUpdateProtectionGroup', 'ForceKillProtectionGroup',
  'PrePostScript', 'InitFullSync', 'Pair', 'Unpair', 'AddPeerVraInfo', 'RemovePeerVraInfo', 'InstallCloudConnector', 'UninstallCloudConnector',
  'HandleFirstSyncDone', 'Clone', 'MoveBeforeCommit', 'MoveRollback', 'MoveCommit', 'UpgradeVRA', 'MaintainHost', 'NotSupportedInThisVersion',
  'MoveProtectionGroupToManualOperationNeeded', 'FailoverBeforeCommit', 'FailoverCommit', 'FailoverRollback',
  // Tidemark's own.
  'UninstallVba', 'VerifyCheckpoint',
]);

export const ALERT_LEVEL = enumeration('AlertLevelApi', ['Warning', 'Error']);
export const ALERT_ENTITY = enumeration('AlertEntityApi', [
  'Zvm', 'Vra', 'Vpg', 'CloudConnector', 'Storage', 'License', 'Zcm', 'FileRecoveryComponent',
]);
export const EVENT_ENTITY = enumeration('EventEntityTypeApi', ['VPG', 'VRA', 'Unknown', 'Site']);
export const EVENT_CATEGORY = enumeration('EventCategoryApi', ['All', 'Events', 'Alerts']);

/** Reference §11.4, the numbers of the 4.5–6.x API. */
export const EVENT_TYPE = enumeration('EventTypeApi', [
  'Unknown', 'CreateProtectionGroup', 'RemoveProtectionGroup', 'FailOver', 'FailOverTest', 'StopFailOverTest', 'Move', 'ProtectVM', 'UnprotectVM',
  'InstallVra', 'UninstallVra', 'UpdateProtectionGroup', 'InsertTaggedCP', 'HandleMirrorPromotion', 'ActivateAllMirrors', 'LogCollection',
  'ForceReconfigurationOfNewVM', 'ClearSite', 'ForceRemoveProtectionGroup', 'ForceUpdateProtectionGroup', 'ForceKillProtectionGroup',
  'PrePostScript', 'InitFullSync', 'Pair', 'Unpair', 'InstallCloudConnector', 'UninstallCloudConnector', 'RedeployCloudConnector',
  'ScriptExecutionFailure', 'SetAdvancedSiteSettings', 'Clone', 'KeepDisk', 'FailoverBeforeCommit', 'FailoverCommit', 'FailoverRollback',
  'MoveBeforeCommit', 'MoveRollback', 'MoveCommit', 'MaintainHost', 'UpgradeVra', 'MoveProtectionGroupToManualOperationNeeded',
  'ChangeVraIpSettings', 'PauseProtectionGroup', 'ResumeProtectionGroup', 'UpgradeZVM', 'BulkUpgradeVras', 'BulkUninstallVras',
  'AlertTurnedOn', 'AlertTurnedOff', 'ChangeVraPassword', 'ChangeRecoveryHost', 'BackupProtectionGroup', 'CleanupProtectionGroupVipDiskbox',
  'RestoreProtectionGroup', 'PreScript', 'PostScript', 'RemoveVmFromVc', 'ChangeVraPasswordIpSettings', 'FlrJournalMount', 'FlrJournalUnmount',
  'Login', 'HostEnteringMaintenanceMode', 'HostExitingMaintenanceMode', 'VmRestoredToSnapshot', 'ProtectedVmRemovedFromHypervisor',
  'ProtectedVmAddedToHypervisor', 'PauseProtectionGroupForMissingVm', 'ResumeProtectionGroupAfterUserRemovedMissingVm',
  'ResumeProtectionGroupAfterVmReadded',
  // Tidemark's own.
  'VmsFenced', 'OwnershipClaimed', 'UninstallVba', 'VerifyCheckpoint',
]);

/** A Tidemark addition: the reference leaves roles to the hypervisor manager. What each may do: apps/zvm `access/permissions.ts`. */
export const ROLE = enumeration('RoleApi', ['Administrator', 'Operator', 'Tester', 'Viewer', 'FileRestoreOperator']);
/** How an audited act ended; `Unknown`: the ZVM was stopped meanwhile. */
export const AUDIT_RESULT = enumeration('AuditResultApi', ['Done', 'Refused', 'Failed', 'Unknown']);

export const SYSLOG_PROTOCOL = enumeration('SyslogProtocolApi', ['Udp', 'Tcp', 'Tls']);

export const AUTHENTICATION_METHOD = enumeration('AuthenticationMethodApi', ['Windows', 'VirtualizationManager']);

export type VpgStatusName = NameOf<typeof VPG_STATUS>;
export type VpgSubStatusName = NameOf<typeof VPG_SUB_STATUS>;
export type PriorityName = NameOf<typeof PRIORITY>;
export type CommitPolicyName = NameOf<typeof COMMIT_POLICY>;
export type ShutdownPolicyName = NameOf<typeof SHUTDOWN_POLICY>;
export type TaskStateName = NameOf<typeof TASK_STATE>;
export type TaskTypeName = NameOf<typeof TASK_TYPE>;
export type VraStatusName = NameOf<typeof VRA_STATUS>;
export type AlertLevelName = NameOf<typeof ALERT_LEVEL>;
export type AlertEntityName = NameOf<typeof ALERT_ENTITY>;
export type EventTypeName = NameOf<typeof EVENT_TYPE>;
export type PairingStatusName = NameOf<typeof PAIRING_STATUS>;
export type CheckpointTypeName = NameOf<typeof CHECKPOINT_TYPE>;
