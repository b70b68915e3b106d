import type { CheckpointPin } from './checkpoint-pins.js';
import type { JournalPhase } from '@tidemark/journal';
import type { SyncKind } from '@tidemark/frame';
import type { SenderState, SyncProgress } from '@tidemark/replication';
import type { ClockDoubtStatus } from './age-clock.js';
import type { UnreachableDisk } from './disk-outages.js';
import { memoryStatus, type EngineMemory, type MemoryStatus } from './engine-memory.js';
import type { OutboundStatus } from './outbound.js';
import type { RecoveringSide } from './recovering-side.js';
import type { RecoveryHost } from './recovery-host.js';
import type { SendingSide } from './sending-side.js';
import type { SendingStream } from './sending-stream.js';
import type { StreamLoss } from './stream-losses.js';
import type { ScrubStatus } from './scrubber.js';
import { UNLIMITED, type RecoveryLimits } from './space-limits.js';
import { protectionKey, type ProtectionSpec, type RecoverySpec, type ViewSpec } from './types.js';
import type { ViewProgress } from './view-host.js';

export interface SyncStatus {
  readonly kind: SyncKind;
  readonly reason: string;
  readonly totalBytes: number;
  readonly remainingBytes: number;
  /** Of those, bytes that are compared before it is known whether they travel. */
  readonly unverifiedBytes: number;
  readonly bytesPerSecond: number;
  readonly estimatedMs: number | null;
}

export interface ProtectionStatus {
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  readonly state: SenderState;
  /** The recovery side is at a newer epoch: another site owns the VM. */
  readonly isFenced: boolean;
  readonly detail: string;
  /** null: none in this process. Any is an alarm. */
  readonly loss: StreamLoss | null;
  readonly sync: SyncStatus | null;
  readonly lagBytes: number;
  readonly writtenBytes: number;
  readonly writeCount: number;
  /** That the syncs since the stream began had to compare or to send. */
  readonly allSyncsBytes: number;
  readonly sentBytes: number;
  readonly bytesPerSecond: number;
  readonly writesPerSecond: number;
}

export interface RecoveryStatus {
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  readonly reservedEpoch: number | null;
  readonly state: 'waiting' | 'initialSync' | 'syncing' | 'receiving' | 'full' | 'broken' | 'ended';
  readonly detail: string;
  readonly durableSeq: number;
  readonly journalBytes: number;
  /** That thinning has given back since the journal was opened. */
  readonly compactedBytes: number;
  readonly limits: RecoveryLimits;
  /** `full` because of the hard limit: everything but the newest checkpoint was given up, and replication pauses rather than lose that too. */
  readonly isAtHardLimit: boolean;
  /** What reading the journal back in the background has shown. */
  readonly scrub: ScrubStatus;
  /** Checkpoints that are kept by name, beyond retention. */
  readonly pins: readonly CheckpointPin[];
  readonly mirrorBytes: number;
  readonly receivedRawBytes: number;
  readonly receivedBytes: number;
  readonly newestCheckpointId: number | null;
  readonly oldestCheckpointId: number | null;
  readonly instance: string;
  readonly lastChange: number;
}

export interface ViewStatus extends ViewProgress {
  readonly viewId: string;
  readonly vpgId: string;
  readonly vmId: string;
  readonly checkpointId: number;
}

export interface BarrierHostStatus {
  readonly vpgId: string;
  readonly version: number;
  readonly leaderVraId: string | null;
  readonly term: number;
  readonly holdMsP50: number;
  readonly holdMsP99: number;
  readonly holdMsMax: number;
  readonly lastVoidReason: string | null;
  /** Own wall clock minus the leader's, ms; 0 on the leader. */
  readonly clockOffsetMs: number;
  readonly voidCount: number;
  readonly sealedCount: number;
}

export interface DatastoreStatus {
  readonly path: string;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  /** Journals and scratch stop when less is free. */
  readonly guardBytes: number;
}

export interface EngineStatus {
  readonly revision: number;
  readonly attachedVmIds: readonly string[];
  readonly unreachableDisks: readonly UnreachableDisk[];
  readonly protections: readonly ProtectionStatus[];
  readonly recoveries: readonly RecoveryStatus[];
  readonly views: readonly ViewStatus[];
  readonly barriers: readonly BarrierHostStatus[];
  readonly outbound: OutboundStatus;
  readonly datastores: readonly DatastoreStatus[];
  readonly memory: MemoryStatus;
  readonly clockDoubt: ClockDoubtStatus | null;
}

/** A picture of both sides, made when asked. */
export function engineStatus(sending: SendingSide, recovering: RecoveringSide, memory: EngineMemory): Omit<EngineStatus, 'clockDoubt'> {
  const nowMs = performance.now();
  const running = new Map(sending.streams.map((stream) => [stream.key, stream]));
  return {
    revision: sending.carriedOutRevision,
    attachedVmIds: sending.attachedVmIds,
    unreachableDisks: sending.unreachableDisks(),
    outbound: sending.outbound.status(nowMs),
    protections: sending.desired.protections.map((spec) => {
      const key = protectionKey(spec);
      const stream = running.get(key);
      if (!stream) return notRunning(spec, sending.faultOf(key) ?? '');
      return protectionStatus(stream, sending.unreachableReason(key), nowMs);
    }),
    recoveries: [
      ...recovering.recoveries.map((recovery) => ({ ...recoveryStatus(recovery), scrub: recovering.scrubOf(recovery.key) })),
      ...recovering.failures.map(({ spec, reason }) => failedRecovery(spec, reason)),
    ],
    views: recovering.viewEntries.map(({ spec, view, fault }) => viewStatus(spec, view?.progress(), fault)),
    barriers: sending.barrierStatuses().map(({ spec, status }) => ({
      vpgId: spec.vpgId,
      version: status.version,
      leaderVraId: status.leaderVraId,
      term: status.term,
      holdMsP50: status.holdMsP50,
      holdMsP99: status.holdMsP99,
      holdMsMax: status.holdMsMax,
      lastVoidReason: status.lastVoidReason,
      clockOffsetMs: status.clockOffsetMs,
      voidCount: status.voidCount,
      sealedCount: status.sealedCount,
    })),
    datastores: recovering.datastores.map(({ path, capacityBytes, freeBytes, guardBytes }) => ({ path, capacityBytes, freeBytes, guardBytes })),
    memory: memoryStatus(memory, {
      protecting: sending.streams.map(({ spec, memory: share }) => ({ vpgId: spec.vpgId, share })),
      recovering: recovering.recoveries.map(({ spec, memory: share }) => ({ vpgId: spec.vpgId, share })),
    }),
  };
}

function protectionStatus(stream: SendingStream, unreachableReason: string, nowMs: number): ProtectionStatus {
  const status = stream.status();
  const rates = stream.rates(nowMs);
  const { vpgId, vmId, epoch } = stream.spec;
  return {
    vpgId,
    vmId,
    epoch,
    state: status.state,
    isFenced: status.isFenced,
    detail: status.state === 'connecting' && unreachableReason !== '' ? unreachableReason : status.detail,
    loss: stream.losses.last,
    sync: status.sync && syncStatus(status.sync, rates.syncBytesPerSecond),
    lagBytes: status.lagBytes,
    writtenBytes: status.writtenBytes,
    writeCount: status.writeCount,
    allSyncsBytes: status.allSyncsBytes,
    sentBytes: rates.sentBytes,
    bytesPerSecond: rates.bytesPerSecond,
    writesPerSecond: rates.writesPerSecond,
  };
}

function syncStatus(sync: SyncProgress, bytesPerSecond: number): SyncStatus {
  const { kind, reason, totalBytes, remainingBytes, unverifiedBytes } = sync;
  const estimatedMs = bytesPerSecond > 0 ? Math.round((remainingBytes / bytesPerSecond) * 1000) : null;
  return { kind, reason, totalBytes, remainingBytes, unverifiedBytes, bytesPerSecond, estimatedMs };
}

function notRunning({ vpgId, vmId, epoch }: ProtectionSpec, detail: string): ProtectionStatus {
  const none = { lagBytes: 0, writtenBytes: 0, writeCount: 0, allSyncsBytes: 0, sentBytes: 0, bytesPerSecond: 0, writesPerSecond: 0 };
  return { vpgId, vmId, epoch, state: 'failed', isFenced: false, detail, loss: null, sync: null, ...none };
}

function recoveryStatus(recovery: RecoveryHost): Omit<RecoveryStatus, 'scrub'> {
  const { spec, stats, receivedBytes } = recovery;
  const { journal } = recovery;
  return {
    vpgId: spec.vpgId,
    vmId: spec.vmId,
    epoch: stats.epoch,
    reservedEpoch: stats.reservedEpoch,
    state: recoveryState(recovery, stats.state.phase),
    detail: detailOf(recovery),
    durableSeq: stats.durableSeq,
    journalBytes: stats.journalBytes,
    compactedBytes: stats.compactedBytes,
    limits: recovery.limits,
    isAtHardLimit: stats.state.phase === 'full' && recovery.isAtHardLimit,
    pins: recovery.pins.list,
    mirrorBytes: spec.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    receivedRawBytes: receivedBytes.raw,
    receivedBytes: receivedBytes.onWire,
    newestCheckpointId: journal.newestCheckpoint?.checkpointId ?? null,
    oldestCheckpointId: journal.oldestCheckpoint?.checkpointId ?? null,
    instance: recovery.listInstance,
    lastChange: journal.lastChange,
  };
}

/** Who looks at a full journal must learn what keeps its history. */
function detailOf({ stats, pins, isAtHardLimit }: RecoveryHost): string {
  const { reason, phase } = stats.state;
  const pin = phase === 'full' && isAtHardLimit ? pins.lowest : undefined;
  return pin ? `${reason}; pin '${pin.name}' keeps the history from checkpoint ${String(pin.checkpointId)} on: drop it or raise the limit` : reason;
}

function recoveryState(recovery: RecoveryHost, phase: JournalPhase): RecoveryStatus['state'] {
  if (phase !== 'open') return phase;
  if (!recovery.isReceiving) return 'waiting';
  if (!recovery.stats.isBaseComplete) return 'initialSync';
  return recovery.stats.isSyncing ? 'syncing' : 'receiving';
}

function failedRecovery({ vpgId, vmId, epoch, limits = UNLIMITED }: RecoverySpec, reason: string): RecoveryStatus {
  const none = { limits, pins: [], isAtHardLimit: false, scrub: { completedAtMs: null, detail: '', affectedIds: [] }, durableSeq: 0, journalBytes: 0, compactedBytes: 0, mirrorBytes: 0, receivedRawBytes: 0, receivedBytes: 0, lastChange: 0 };
  return { vpgId, vmId, epoch, reservedEpoch: null, state: 'broken', detail: reason, newestCheckpointId: null, oldestCheckpointId: null, instance: '', ...none };
}

function viewStatus({ viewId, vpgId, vmId, checkpointId }: ViewSpec, progress: ViewProgress | undefined, fault: string): ViewStatus {
  const closed: ViewProgress = { state: 'failed', detail: fault, isScratchFull: false, scratchBytes: 0, promotedBytes: 0, totalBytes: 0 };
  return { viewId, vpgId, vmId, checkpointId, ...(progress ?? closed) };
}
