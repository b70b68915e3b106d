import type { StreamFacts } from './visual-status.js';

export type VpgSyncKind = 'InitialSync' | 'VolumeInitialSync' | 'DeltaSync' | 'BitmapSync';

/** All syncs of a VPG's VMs as one. */
export interface SyncSummary {
  /** The one that says most of what cannot be relied on yet. */
  readonly kind: VpgSyncKind;
  /** Why, each reason once. */
  readonly reason: string;
  readonly totalBytes: number;
  readonly bytesLeft: number;
  /** Of those, bytes that are compared first; only differences travel. */
  readonly bytesToCompare: number;
  readonly bytesPerSecond: number;
  /** Until the last one ends; null: not known yet. */
  readonly estimatedMs: number | null;
}

/** The trigger of a sync of disks that were added to a VM or grew, as the data plane names it. */
export const VPG_CHANGED = 'VPG Configuration Changed';
const WORST_FIRST: readonly VpgSyncKind[] = ['InitialSync', 'VolumeInitialSync', 'DeltaSync', 'BitmapSync'];
const KINDS = { initialSync: 'InitialSync', deltaSync: 'DeltaSync', bitmapSync: 'BitmapSync' } as const;

type Sync = NonNullable<StreamFacts['sync']>;

/** With a base, what a change of the VPG makes travel is the first copy of new disks: the others need nothing. */
const kindOf = ({ kind, reason }: Sync, hasCheckpoint: boolean): VpgSyncKind =>
  kind === 'bitmapSync' && hasCheckpoint && reason.startsWith(VPG_CHANGED) ? 'VolumeInitialSync' : KINDS[kind];

/** undefined: nothing is being synced. */
export function syncSummary(streams: readonly StreamFacts[], { hasCheckpoint }: { readonly hasCheckpoint: boolean }): SyncSummary | undefined {
  const syncs = streams.flatMap(({ sync }) => (sync === null ? [] : [sync]));
  const kinds = syncs.map((sync) => kindOf(sync, hasCheckpoint));
  const kind = WORST_FIRST.find((each) => kinds.includes(each));
  if (kind === undefined) return undefined;
  const sum = (valueOf: (sync: Sync) => number): number => syncs.reduce((total, sync) => total + valueOf(sync), 0);
  const estimates = syncs.flatMap(({ estimatedMs }) => (estimatedMs === null ? [] : [estimatedMs]));
  return {
    kind,
    reason: [...new Set(syncs.map(({ reason }) => reason).filter((reason) => reason !== ''))].join('; '),
    totalBytes: sum(({ totalBytes }) => totalBytes),
    bytesLeft: sum(({ remainingBytes }) => remainingBytes),
    bytesToCompare: sum(({ unverifiedBytes }) => unverifiedBytes),
    bytesPerSecond: sum(({ bytesPerSecond }) => bytesPerSecond),
    estimatedMs: estimates.length < syncs.length ? null : Math.max(...estimates),
  };
}
