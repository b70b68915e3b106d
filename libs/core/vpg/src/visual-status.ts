import { unreachable } from '@tidemark/base';
import { isHistoryMet, isRpoMet, type SlaFacts } from './sla.js';
import type { VpgState } from './state.js';
import { syncSummary } from './sync-summary.js';

/** Names and numbers of the REST API; see `VPG_STATUS` and `VPG_SUB_STATUS` in contracts. */
export type VpgStatus = 'Initializing' | 'MeetingSLA' | 'NotMeetingSLA' | 'RpoNotMeetingSLA' | 'HistoryNotMeetingSLA' | 'FailingOver' | 'Moving' | 'Deleting';

export type VpgSubStatus =
  | 'None' | 'InitialSync' | 'VolumeInitialSync' | 'Creating' | 'Sync' | 'DeltaSync' | 'NeedsConfiguration' | 'Error' | 'EmptyProtectionGroup'
  | 'DisconnectedFromPeerNoRecoveryPoints' | 'VolumeFullSync' | 'FailingOverCommitting' | 'FailingOverBeforeCommit' | 'FailingOverRollingBack'
  | 'MovingCommitting' | 'MovingBeforeCommit' | 'MovingRollingBack' | 'Promoting' | 'Deleting' | 'BitmapSync' | 'DisconnectedFromPeer' | 'ReplicationPausedSystemInitiated' | 'ReplicationPausedUserInitiated' | 'JournalStorageError';

export type StreamState = 'connecting' | 'initialSync' | 'deltaSync' | 'bitmapSync' | 'replicating' | 'paused' | 'refused' | 'failed';
export type RecoveringState = 'waiting' | 'initialSync' | 'syncing' | 'receiving' | 'full' | 'broken' | 'ended';
export type FailoverPhase = 'starting' | 'beforeCommit' | 'committing' | 'rollingBack' | 'promoting' | 'reversing' | 'handedOver';

/** One VM's replication, as its protecting VRA reports it. */
export interface StreamFacts {
  readonly vmName: string;
  readonly state: StreamState;
  readonly detail: string;
  readonly sync: {
    readonly kind: 'initialSync' | 'deltaSync' | 'bitmapSync';
    readonly reason: string;
    readonly totalBytes: number;
    readonly remainingBytes: number;
    /** Of those, bytes that are compared before it is known whether they travel. */
    readonly unverifiedBytes: number;
    readonly bytesPerSecond: number;
    readonly estimatedMs: number | null;
  } | null;
}

/** The same VM as its recovering VRA reports it. */
export interface RecoveringFacts {
  readonly vmName: string;
  readonly state: RecoveringState;
  readonly detail: string;
  /** `full` at its hard limit with nothing but the newest checkpoint left: a pause, not a storage error. */
  readonly isAtHardLimit?: boolean;
}

export interface VpgStatusFacts extends SlaFacts {
  readonly state: VpgState;
  readonly failoverPhase: FailoverPhase | null;
  /** The failover is a planned move. */
  readonly isMove?: boolean;
  readonly isPausedByUser?: boolean;
  readonly vmCount: number;
  /** At least one checkpoint is listed. */
  readonly hasCheckpoint: boolean;
  /** The other site's ZVM is heard; true when the VPG recovers into its own site. */
  readonly isPeerConnected: boolean;
  /** Names of VRAs of this VPG that have gone silent. */
  readonly silentVras: readonly string[];
  readonly streams: readonly StreamFacts[];
  readonly recoverings: readonly RecoveringFacts[];
  /** Percent of the promotion or the operation under way; null: none. */
  readonly operationPercent: number | null;
  /** Why the newest checkpoint was given up; null: it was sealed, or nothing is known. */
  readonly voidReason: string | null;
}

export interface VisualStatus {
  readonly status: VpgStatus;
  readonly subStatus: VpgSubStatus;
  /** What is the matter, in words; empty when all is well. */
  readonly description: string;
  /** Of the sync or the operation under way; 0 when there is none. */
  readonly progressPercent: number;
}

/** The trigger of a force sync, as the data plane names it. */
const FORCE_SYNC = 'Force Sync';

/** The pair of statuses that users see. Facts that are missing never make it greener. */
export function visualStatus(facts: VpgStatusFacts): VisualStatus {
  const { state } = facts;
  switch (state) {
    case 'creating': return shown(facts, 'Initializing', 'Creating', 'the VPG is being created');
    case 'failingOver': return failingOver(facts);
    case 'promoting': return shown(facts, statusOfFailover(facts), 'Promoting', 'committed; the journal is being promoted into the recovered disks while the VMs run');
    case 'reversing': return reversing(facts);
    case 'needsConfiguration': return shown(facts, 'NotMeetingSLA', 'NeedsConfiguration', 'failed over and committed: its VMs run at the recovery site, unprotected; those at the protected site are fenced');
    case 'deleting': return shown(facts, 'Deleting', 'Deleting', 'the VPG is being deleted');
    case 'removed': return shown(facts, 'Deleting', 'Deleting', 'deleted');
    case 'protecting': return protecting(facts);
    default: return unreachable(state);
  }
}

function shown(facts: VpgStatusFacts, status: VpgStatus, subStatus: VpgSubStatus, description: string): VisualStatus {
  return { status, subStatus, description, progressPercent: facts.operationPercent ?? 0 };
}

const statusOfFailover = ({ isMove }: VpgStatusFacts): 'FailingOver' | 'Moving' => (isMove === true ? 'Moving' : 'FailingOver');

/** Nothing protects the VMs meanwhile: never shown as anything milder. */
function reversing(facts: VpgStatusFacts): VisualStatus {
  if (!facts.isPeerConnected) {
    return shown(facts, 'NotMeetingSLA', 'DisconnectedFromPeerNoRecoveryPoints', 'reverse protection waits for the old protected site, which does not answer; the VMs are not protected');
  }
  return shown(facts, 'Initializing', 'Creating', 'reverse protection is being set up at the old protected site; the VMs are not protected yet');
}

function failingOver(facts: VpgStatusFacts): VisualStatus {
  if (facts.isMove === true) return moving(facts);
  const phase = facts.failoverPhase ?? 'starting';
  switch (phase) {
    case 'starting': return shown(facts, 'FailingOver', 'None', 'the failover is starting its VMs');
    case 'beforeCommit': return shown(facts, 'FailingOver', 'FailingOverBeforeCommit', 'the recovered VMs run: waiting for commit or rollback');
    case 'committing': return shown(facts, 'FailingOver', 'FailingOverCommitting', 'the failover is being committed');
    case 'rollingBack': return shown(facts, 'FailingOver', 'FailingOverRollingBack', 'the failover is being rolled back');
    case 'promoting':
    case 'reversing':
    case 'handedOver': return shown(facts, 'FailingOver', 'Promoting', 'the journal is being promoted into the recovered disks');
    default: return unreachable(phase);
  }
}

function moving(facts: VpgStatusFacts): VisualStatus {
  const phase = facts.failoverPhase ?? 'starting';
  switch (phase) {
    case 'starting': return shown(facts, 'Moving', 'None', 'the move shuts down its VMs, sends what is left, and starts them at the recovery site');
    case 'beforeCommit': return shown(facts, 'Moving', 'MovingBeforeCommit', 'the moved VMs run: waiting for commit or rollback');
    case 'committing': return shown(facts, 'Moving', 'MovingCommitting', 'the move is being committed');
    case 'rollingBack': return shown(facts, 'Moving', 'MovingRollingBack', 'the move is being rolled back');
    case 'promoting':
    case 'reversing':
    case 'handedOver': return shown(facts, 'Moving', 'Promoting', 'the journal is being promoted into the moved disks');
    default: return unreachable(phase);
  }
}

/** From the worst to the best; the first that applies is what users must see. */
function protecting(facts: VpgStatusFacts): VisualStatus {
  return broken(facts) ?? paused(facts) ?? disconnected(facts) ?? syncing(facts) ?? healthy(facts);
}

function broken(facts: VpgStatusFacts): VisualStatus | undefined {
  if (facts.vmCount === 0) return shown(facts, 'NotMeetingSLA', 'EmptyProtectionGroup', 'the VPG has no VMs');
  const limited = facts.recoverings.find(({ state, isAtHardLimit }) => state === 'full' && isAtHardLimit === true);
  if (limited !== undefined) {
    const text = `replication pauses: the journal of ${limited.vmName} is at its hard limit, and its last checkpoint is kept${because(limited.detail)}`;
    return { status: slaStatus(facts), subStatus: 'ReplicationPausedSystemInitiated', description: text, progressPercent: 0 };
  }
  const journal = facts.recoverings.find(({ state }) => state === 'broken' || state === 'full');
  if (journal !== undefined) return shown(facts, 'NotMeetingSLA', 'JournalStorageError', `journal of ${journal.vmName} is ${journal.state}${because(journal.detail)}`);
  const ended = facts.recoverings.find(({ state }) => state === 'ended');
  if (ended !== undefined) return shown(facts, 'NotMeetingSLA', 'Error', `the history of ${ended.vmName} has ended at the recovery site${because(ended.detail)}`);
  const stream = facts.streams.find(({ state }) => state === 'failed' || state === 'refused');
  if (stream !== undefined) return shown(facts, 'NotMeetingSLA', 'Error', `replication of ${stream.vmName} ${stream.state === 'failed' ? 'has failed' : 'is refused'}${because(stream.detail)}`);
  return undefined;
}

function paused(facts: VpgStatusFacts): VisualStatus | undefined {
  if (facts.isPausedByUser !== true) return undefined;
  const text = facts.hasCheckpoint ? 'it can be recovered to its last checkpoint' : 'it has no checkpoint yet';
  return { status: facts.hasCheckpoint ? slaStatus(facts) : 'NotMeetingSLA', subStatus: 'ReplicationPausedUserInitiated', description: `a user has paused replication: ${text}`, progressPercent: 0 };
}

const because = (detail: string): string => (detail === '' ? '' : `: ${detail}`);

function disconnected(facts: VpgStatusFacts): VisualStatus | undefined {
  const sub = facts.hasCheckpoint ? 'DisconnectedFromPeer' : 'DisconnectedFromPeerNoRecoveryPoints';
  if (!facts.isPeerConnected) return shown(facts, 'NotMeetingSLA', sub, 'the other site does not answer');
  if (facts.silentVras.length > 0) return shown(facts, 'NotMeetingSLA', sub, `no answer from ${facts.silentVras.join(', ')}`);
  const lost = facts.streams.find(({ state }) => state === 'connecting');
  if (lost === undefined || !facts.hasCheckpoint) return undefined;
  return shown(facts, 'NotMeetingSLA', sub, `${lost.vmName} has no connection to its recovering VRA${because(lost.detail)}`);
}

function syncing(facts: VpgStatusFacts): VisualStatus | undefined {
  const inState = (state: StreamState): boolean => facts.streams.some((stream) => stream.state === state);
  const percent = syncPercent(facts.streams);
  const told = syncText(facts.streams);
  if (inState('initialSync')) {
    return facts.hasCheckpoint
      ? { status: 'NotMeetingSLA', subStatus: 'VolumeFullSync', description: `full sync${told}; older checkpoints stay usable`, progressPercent: percent }
      : { status: 'Initializing', subStatus: 'InitialSync', description: `initial sync${told}`, progressPercent: percent };
  }
  if (inState('connecting')) return { status: 'Initializing', subStatus: 'InitialSync', description: 'waiting for the connection between the VRAs', progressPercent: percent };
  // Before a pause: one stream that pauses must not hide that another is not to be trusted yet.
  if (inState('deltaSync')) return { status: isForced(facts) ? slaStatus(facts) : 'NotMeetingSLA', subStatus: 'DeltaSync', description: `delta sync${told}`, progressPercent: percent };
  if (inState('paused')) return { status: slaStatus(facts), subStatus: 'ReplicationPausedSystemInitiated', description: `replication pauses${pauseText(facts)}`, progressPercent: 0 };
  if (inState('bitmapSync') && syncSummary(facts.streams, facts)?.kind === 'VolumeInitialSync') {
    return { status: slaStatus(facts), subStatus: 'VolumeInitialSync', description: `first copy of added disks${told}; older checkpoints stay usable`, progressPercent: percent };
  }
  if (inState('bitmapSync')) return { status: slaStatus(facts), subStatus: 'BitmapSync', description: `bitmap sync${told}`, progressPercent: percent };
  return undefined;
}

/** A sync that a user asked for finds a VPG that meets its SLA: what is listed is good. */
const isForced = (facts: VpgStatusFacts): boolean =>
  facts.streams.every(({ state, sync }) => state !== 'deltaSync' || sync?.reason.startsWith(FORCE_SYNC) === true);

const pauseText = (facts: VpgStatusFacts): string => because(facts.streams.find(({ state }) => state === 'paused')?.detail ?? '');

function healthy(facts: VpgStatusFacts): VisualStatus {
  if (!facts.hasCheckpoint) return { status: 'Initializing', subStatus: 'Sync', description: `waiting for the first checkpoint${because(facts.voidReason ?? '')}`, progressPercent: 0 };
  const status = slaStatus(facts);
  return { status, subStatus: 'None', description: slaText(facts, status), progressPercent: 0 };
}

function slaStatus(facts: VpgStatusFacts): VpgStatus {
  if (!facts.hasCheckpoint) return 'NotMeetingSLA';
  const isRpoFine = isRpoMet(facts);
  const isHistoryFine = isHistoryMet(facts);
  if (isRpoFine && isHistoryFine) return 'MeetingSLA';
  if (isRpoFine) return 'HistoryNotMeetingSLA';
  return isHistoryFine ? 'RpoNotMeetingSLA' : 'NotMeetingSLA';
}

function slaText(facts: VpgStatusFacts, status: VpgStatus): string {
  if (status === 'MeetingSLA') return '';
  const rpo = facts.rpoMs === null ? 'RPO is not known' : `RPO ${seconds(facts.rpoMs)} s, target ${seconds(facts.rpoTargetMs)} s`;
  const history = facts.historyMs === null ? 'no history' : `history ${minutes(facts.historyMs)} min, target ${minutes(facts.historyTargetMs)} min`;
  const why = !isRpoMet(facts) && facts.voidReason !== null ? `; the newest checkpoint was given up: ${facts.voidReason}` : '';
  return `${rpo}${why}; ${history}`;
}

const seconds = (ms: number): number => Math.round(ms / 1000);
const minutes = (ms: number): number => Math.floor(ms / 60_000);

/** Bytes of all syncs together; a VM that has not said how much there is counts as not begun. */
function syncPercent(streams: readonly StreamFacts[]): number {
  const syncs = streams.flatMap(({ sync }) => (sync === null ? [] : [sync]));
  const totalBytes = syncs.reduce((sum, sync) => sum + sync.totalBytes, 0);
  if (totalBytes === 0) return 0;
  const remainingBytes = syncs.reduce((sum, sync) => sum + sync.remainingBytes, 0);
  return Math.max(0, Math.min(100, 100 * (1 - remainingBytes / totalBytes)));
}

function syncText(streams: readonly StreamFacts[]): string {
  const syncs = streams.flatMap(({ sync }) => (sync === null ? [] : [sync]));
  if (syncs.length === 0) return '';
  const remainingBytes = syncs.reduce((sum, sync) => sum + sync.remainingBytes, 0);
  const reason = syncs.map((sync) => sync.reason).find((text) => text !== '') ?? '';
  const estimates = syncs.flatMap(({ estimatedMs }) => (estimatedMs === null ? [] : [estimatedMs]));
  const end = estimates.length < syncs.length ? '' : `, about ${seconds(Math.max(...estimates))} s`;
  return ` (${reason === '' ? '' : `${reason}; `}${(remainingBytes / 2 ** 20).toFixed(1)} MiB left${end})`;
}
