import type { RecoveryLimitsV1 } from './desired-state.js';

/** State of a protection's stream, seen from the protecting VRA. */
export type ReplicationState =
  | 'connecting' // no link to the recovering VRA: queue, then bitmap
  | 'initialSync'
  | 'deltaSync'
  | 'bitmapSync'
  | 'replicating'
  | 'paused' // the recovering side cannot take more (journal full, or fail-safe history)
  | 'refused' // fenced: the recovery side is at a newer epoch, or does not know this protection
  | 'failed';

export interface SyncProgressV1 {
  readonly kind: 'initialSync' | 'deltaSync' | 'bitmapSync';
  /** A trigger, as people know it; a detail may follow behind a colon. */
  readonly reason: string;
  readonly totalBytes: number;
  readonly remainingBytes: number;
  /** Of those, bytes that are compared before it is known whether they travel. */
  readonly unverifiedBytes: number;
  readonly bytesPerSecond: number;
  /** null: not known yet. */
  readonly estimatedMs: number | null;
}

/** Writes that the recovery side had acknowledged as durable and did not have when the stream was opened again. */
export interface LossStatusV1 {
  /** Since the stream began in this process of the protecting VRA. */
  readonly count: number;
  /** Of the newest, by the protecting VRA's wall clock. */
  readonly atMs: number;
  readonly detail: string;
}

export interface ProtectionStatusV1 {
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  readonly state: ReplicationState;
  /** The recovery side is at a newer epoch: a failover has been committed there. */
  readonly isFenced: boolean;
  readonly detail: string;
  /** null: none in this process. Any is an alarm. */
  readonly loss: LossStatusV1 | null;
  readonly sync: SyncProgressV1 | null;
  /** Bytes captured and not yet durable at the recovery site (queue and bitmap). */
  readonly lagBytes: number;
  readonly writtenBytes: number;
  readonly writeCount: number;
  /** On the wire, after compression. */
  readonly sentBytes: number;
  readonly bytesPerSecond: number;
  readonly writesPerSecond: number;
}

export interface RecoveryStatusV1 {
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  /** Reserved for a live failover that is not committed; null when none. */
  readonly reservedEpoch: number | null;
  readonly state: 'waiting' | 'initialSync' | 'syncing' | 'receiving' | 'full' | 'broken' | 'ended';
  readonly detail: string;
  readonly durableSeq: number;
  readonly journalBytes: number;
  /** That thinning has given back since the journal was opened. */
  readonly compactedBytes: number;
  readonly limits: Readonly<RecoveryLimitsV1>;
  /** `full` because of the hard limit: everything but the newest checkpoint was given up, and replication pauses rather than lose that too. */
  readonly isAtHardLimit: boolean;
  /** What reading the journal back in the background has shown. `affectedIds`: checkpoints given up because of `detail`. */
  readonly scrub: { readonly completedAtMs: number | null; readonly detail: string; readonly affectedIds: readonly number[] };
  /** Checkpoints that are kept by name, beyond retention; `keepForMs`: what is left of its time, null: until the pin is dropped. */
  readonly pins: readonly { readonly name: string; readonly checkpointId: number; readonly keepForMs: number | null }[];
  readonly mirrorBytes: number;
  /** Before and after compression, since the VRA started. */
  readonly receivedRawBytes: number;
  readonly receivedBytes: number;
  readonly newestCheckpointId: number | null;
  readonly oldestCheckpointId: number | null;
  /** Numbered as in CheckpointListingV1. */
  readonly instance: string;
  readonly lastChange: number;
}

export interface ViewStatusV1 {
  readonly viewId: string;
  readonly vpgId: string;
  readonly vmId: string;
  readonly checkpointId: number;
  readonly state: 'open' | 'promoting' | 'promoted' | 'failed';
  readonly detail: string;
  /** The guest's newest write was answered with ENOSPC. */
  readonly isScratchFull: boolean;
  readonly scratchBytes: number;
  readonly promotedBytes: number;
  readonly totalBytes: number;
}

export interface BarrierStatusV1 {
  readonly vpgId: string;
  readonly version: number;
  readonly leaderVraId: string | null;
  readonly term: number;
  /** Time that guest completions were held, ms, over the last 1024 checkpoints; max: since the start. */
  readonly holdMsP50: number;
  readonly holdMsP99: number;
  readonly holdMsMax: number;
  /** Why the newest checkpoint was given up; null: it was sealed, or there was none. */
  readonly lastVoidReason: string | null;
  /** Own wall clock minus the leader's, ms; 0 on the leader. Above 1000 in size it alerts. */
  readonly clockOffsetMs: number;
  readonly voidCount: number;
  readonly sealedCount: number;
}

/** What the VRA sends on 4008, to all peers together. */
export interface OutboundStatusV1 {
  /** null: no limit. */
  readonly bytesPerSecondMax: number | null;
  /** The limit held something back in the last second. */
  readonly isThrottled: boolean;
  readonly bytesPerSecond: number;
}

/** A datastore of journals or scratch, as its VRA measures it. */
export interface DatastoreStatusV1 {
  readonly path: string;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  /** Journals and scratch stop when less is free. */
  readonly guardBytes: number;
}

/**
 * Wall clock and monotonic clock of the VRA's host have contradicted each other: until they have agreed for an hour, nothing that it recovers is retired or
 * thinned by age.
 */
export interface ClockDoubtV1 {
  /** How far the wall clock went beyond what the monotonic one counted; below 0: back. */
  readonly byMs: number;
  /** By the wall clock behind it. */
  readonly atMs: number;
  readonly endsInMs: number;
}

/** Its certificate, by which a rotation of the CA sees who has followed. Fingerprints are SHA-256, as OpenSSL prints them. */
export interface IdentityStatusV1 {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The CA that has signed it. */
  readonly signedBy: string;
  /** CA certificates, of its own site and of paired ones, that it believes wherever it meets them: at the broker and on the data plane. */
  readonly trusts: readonly string[];
}

/** A disk of a VM on the VRA's host that it has not reached for some seconds: the NBD server is away, or the file cannot be opened. */
export interface UnreachableDiskV1 {
  readonly vmId: string;
  readonly diskId: string;
  /** URI of its NBD server, or path of its file. */
  readonly path: string;
  /** Wall clock of the VRA; the same for as long as it lasts. */
  readonly sinceMs: number;
  readonly reason: string;
}

/** `event status.published`, every second, and the answer to `control status.get`. */
export interface VraStatusV1 {
  readonly vraId: string;
  readonly hostId: string;
  readonly version: string;
  readonly address: string;
  readonly startedAtMs: number;
  readonly identity: IdentityStatusV1;
  /** Of the newest DesiredStateV1 that it has carried out: VMs that it does not name are let go. -1: of none yet. */
  readonly revision: number;
  readonly attachedVmIds: readonly string[];
  readonly unreachableDisks: readonly UnreachableDiskV1[];
  readonly protections: readonly ProtectionStatusV1[];
  readonly recoveries: readonly RecoveryStatusV1[];
  readonly views: readonly ViewStatusV1[];
  readonly barriers: readonly BarrierStatusV1[];
  readonly datastores: readonly DatastoreStatusV1[];
  readonly outbound: OutboundStatusV1;
  /** null: ages are trusted. */
  readonly clockDoubt: ClockDoubtV1 | null;
}
