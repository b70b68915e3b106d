import type { LinkTransport } from '@tidemark/link';
import type { TrustedSite } from '@tidemark/trust';
import type { AgeClockOptions } from './age-clock.js';
import type { GuestAgents } from './guest-agent.js';
import type { Throttle } from '@tidemark/base';
import type { ThinningPolicy } from '@tidemark/checkpoint';
import type { RecoveryLimits } from './space-limits.js';

/**
 * What a VRA is told and what it tells. Same shapes as the control messages (V1 types of @tidemark/contracts, validated by
 * the app before they come here); declared here because io knows no control plane.
 */
export interface VraAddress {
  readonly vraId: string;
  readonly address: string;
  readonly controlPort: number;
  readonly dataPort: number;
}

export interface AttachedDisk {
  readonly diskId: string;
  readonly exportName: string;
  /** Absolute path of a raw file, or the URI of an NBD export: `nbd://host:port/name`, `nbd+unix:///name?socket=/path`. */
  readonly path: string;
  readonly sizeBytes: number;
}

export interface AttachedVmSpec {
  readonly vmId: string;
  /** Another site owns this VM since a failover: it reads its disks here, and writes nothing to them. */
  readonly isFenced?: boolean;
  readonly disks: readonly AttachedDisk[];
}

export interface ProtectionSpec {
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  /** By volume index; empty where the VM has no disk for the volume (any more): its writes are not expected. */
  readonly diskIds: readonly string[];
  /** By volume index, as the recovery side has them; 0: removed for good. Absent: as the disks are. */
  readonly volumeBytes?: readonly number[];
  /** Indexes of volumes with temp data: copied once, then passed over. */
  readonly tempVolumes?: readonly number[];
  readonly recoveringVra: VraAddress;
  /** Whose VRA that is: no other one gets a byte. */
  readonly recoverySiteId: string;
  readonly isCompressed: boolean;
  readonly priority: 'low' | 'medium' | 'high';
  /** What the recovery volumes were before the VM changed them here; see {@link RecoverySpec.basis}. */
  readonly basisId?: string;
  /** Captured, queued and then tracked, but not sent. */
  readonly isPaused?: boolean;
}

export interface BarrierMemberSpec {
  readonly vra: VraAddress;
  readonly vmIds: readonly string[];
}

export interface BarrierSpec {
  readonly vpgId: string;
  readonly version: number;
  readonly epoch: number;
  readonly intervalMs: number;
  readonly members: readonly BarrierMemberSpec[];
}

/** The site's limit, and this VRA's share of it. */
export interface ThrottleSpec extends Throttle {
  readonly share: number;
}

/** The CA certificates of the own site and of every paired one. */
export interface TrustSpec {
  readonly sites: readonly TrustedSite[];
}

export interface DesiredState {
  readonly revision: number;
  /** Absent: only the own site is believed, by what this VRA's certificate came with. */
  readonly trust?: TrustSpec;
  readonly attachedVms: readonly AttachedVmSpec[];
  readonly protections: readonly ProtectionSpec[];
  readonly barriers: readonly BarrierSpec[];
  /** Absent: no limit. */
  readonly throttle?: ThrottleSpec;
}

export interface RecoveryVolumeSpec {
  /** The VM has it no more: its mirror stays for as long as a checkpoint has it, and its place in the list for ever. */
  readonly isRemoved?: boolean;
  readonly diskId: string;
  readonly sizeBytes: number;
  readonly mirrorPath: string;
  /** The file is there already, with bytes that are probably the protected volume's: they are compared, and only differences travel. */
  readonly isPreseeded?: boolean;
}

export interface RecoverySpec {
  readonly vpgId: string;
  readonly vmId: string;
  /** Only VRAs of this site may send its stream. Never changes. */
  readonly protectedSiteId: string;
  readonly epoch: number;
  readonly recoverers: readonly BarrierMemberSpec[];
  readonly volumes: readonly RecoveryVolumeSpec[];
  readonly journalFolder: string;
  /** The mirrors are the image that `basisId` names, as long as each file (by volume index) still has its fingerprint. */
  readonly basis?: { readonly basisId: string; readonly fingerprints: readonly string[] } | undefined;
  /**
   * Grows with every move of this recovery to another VRA; absent: 0. Above 0 journal and mirrors are there already: the VRA takes them over from the one that
   * has released them, and never makes them.
   */
  readonly moveNumber?: number | undefined;
  /** The operator's word that the host of the VRA which has not let go is powered off, or cut off from the datastore; part of a `put`, not of what is kept. */
  readonly isOldHostDown?: boolean | undefined;
  readonly datastore: { readonly path: string; readonly capacityBytes: number };
  readonly historyMs: number;
  /** Absent: unlimited. */
  readonly limits?: RecoveryLimits | undefined;
  /** Absent: every checkpoint stays until it is retired. */
  readonly thinning?: ThinningPolicy | undefined;
}

export interface ViewSpec {
  readonly viewId: string;
  readonly vpgId: string;
  readonly vmId: string;
  readonly checkpointId: number;
  /** `read`: for a backup or a file restore; nothing writes to it, and it is served over TLS on the backup port too. */
  readonly purpose: 'test' | 'live' | 'read';
  readonly volumes: readonly { readonly diskId: string; readonly exportName: string }[];
}

export interface ProtectionRef {
  readonly vpgId: string;
  readonly vmId: string;
}

/** `vpgId/vmId`: the key of a stream, a journal, a hold. */
export const protectionKey = ({ vpgId, vmId }: ProtectionRef): string => `${vpgId}/${vmId}`;

export interface Logger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface VraOptions {
  readonly vraId: string;
  /** How VRAs reach each other; an app has only TLS. Its own name has to be this VRA's. */
  readonly transport: LinkTransport;
  readonly address: string;
  readonly controlPort: number;
  readonly dataPort: number;
  /** NBD over TLS for backups and file restores of this site: views that are open to be read, and nothing else. Absent: no such listener. */
  readonly backupPort?: number;
  readonly nbdSocketPath: string;
  readonly stateFolder: string;
  /** Datastores of the host: files that messages name lie below them, or are refused. Absent: anywhere; for tests. */
  readonly datastoreFolders?: readonly string[];
  /** Budget for captured writes that are not yet durable at the other site. */
  readonly captureBytesMax: number;
  /** How long a mark of the activity log outlives the last write to its extent; for tests. */
  readonly activityPeriodMs?: number;
  /** How long the files of a VRA that is said to be down must stay as they are before they are opened; for tests. Absent: 5 s. */
  readonly quietMs?: number;
  /** For tests. */
  readonly ageClock?: Omit<AgeClockOptions, 'log'> | undefined;
  /** Absent: no guest of this host can be frozen. */
  readonly guestAgents?: GuestAgents;
  readonly log: Logger;
}
