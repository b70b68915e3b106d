import { isVolumeRecord, RecordType, type FrameHeader, type StreamRecord } from '@tidemark/frame';
import type { JournalSnapshot, SyncPhase } from './control-bodies.js';

/** One volume of the protection, by its index: an index is never used for another volume. */
export interface JournalVolumeState {
  /** The hypervisor's name for the disk, for people and for who puts a VM together. May be empty. */
  readonly diskId: string;
  /** 0: removed. Never shrinks otherwise. */
  readonly sizeBytes: number;
  /** The mirror holds this volume's records up to here, and they count only there. {@link BEING_COPIED}: no checkpoint contains the volume yet. */
  readonly baseSeq: number;
}

/** `baseSeq` of a volume that was added to a complete base, until a sync has ended. */
export const BEING_COPIED = Number.MAX_SAFE_INTEGER;

export type VolumeWish = Pick<JournalVolumeState, 'diskId' | 'sizeBytes'>;

/** The set after a `volumes` record. */
export function volumesAfter(before: readonly JournalVolumeState[], wishes: readonly VolumeWish[], isBaseComplete: boolean): JournalVolumeState[] {
  return wishes.map(({ diskId, sizeBytes }, index) => ({ diskId, sizeBytes, baseSeq: before[index]?.baseSeq ?? (isBaseComplete ? BEING_COPIED : 0) }));
}

/** Why the set cannot become `wishes`; undefined: it can. */
export function volumesError(before: readonly JournalVolumeState[], wishes: readonly VolumeWish[]): string | undefined {
  if (wishes.length < before.length) return `volume ${wishes.length} is missing: a removed volume keeps its index`;
  for (const [index, volume] of before.entries()) {
    const sizeBytes = wishes[index]?.sizeBytes ?? 0;
    if (sizeBytes > 0 && volume.sizeBytes === 0) return `volume ${index} was removed and cannot come back`;
    if (sizeBytes > 0 && sizeBytes < volume.sizeBytes) return `volume ${index} cannot shrink`;
  }
  return undefined;
}

export const isSameSet = (a: readonly VolumeWish[], b: readonly VolumeWish[]): boolean =>
  a.length === b.length && a.every(({ diskId, sizeBytes }, index) => diskId === b[index]?.diskId && sizeBytes === b[index].sizeBytes);

/** Indexes of volumes whose first copy has not ended. */
export const copyingIn = (volumes: readonly JournalVolumeState[]): number[] => [...volumes.keys()].filter((index) => volumes[index]?.baseSeq === BEING_COPIED);

/** A syncEnd that ends a sync makes every volume whole. */
const copied = (volumes: readonly JournalVolumeState[], seq: number): readonly JournalVolumeState[] =>
  volumes.some(({ baseSeq }) => baseSeq === BEING_COPIED) ? volumes.map((volume) => (volume.baseSeq === BEING_COPIED ? { ...volume, baseSeq: seq } : volume)) : volumes;

/** Sync phase after a record of a frame. A syncEnd counts only for a sync whose start was seen. */
export function syncPhaseAfter(phase: SyncPhase, type: RecordType): SyncPhase {
  if (type === RecordType.syncStart) return 'running';
  return type === RecordType.syncEnd && phase === 'running' ? 'idle' : phase;
}

/**
 * Where a frame goes. `frame`: into the journal. `direct`: all of it straight into the mirrors, the journal only notes the position. `baseFrame`: it
 * completes the base. A frame for both (an added volume is being copied while the others go on) goes into the mirrors as far as `mirrorRecords` says,
 * and then as it is into the journal, where those records do not count.
 */
export interface FrameRoute {
  readonly form: 'frame' | 'direct' | 'baseFrame';
  readonly mirrorRecords: readonly StreamRecord[] | undefined;
  readonly syncAfter: SyncPhase;
  readonly isBaseComplete: boolean;
  readonly volumes: readonly JournalVolumeState[];
}

type RouteState = Pick<JournalSnapshot, 'lastSeq' | 'sync' | 'isBaseComplete' | 'volumes'>;

/** The same for frames that arrive and for frames that a scan finds: both must agree on what the mirrors hold. */
export function routeOf(header: Pick<FrameHeader, 'firstSeq'>, records: readonly StreamRecord[], state: RouteState): FrameRoute {
  let sync = header.firstSeq === state.lastSeq + 1 ? state.sync : 'needed';
  let { isBaseComplete, volumes } = state;
  let isJournalNeeded = false;
  const mirrorRecords: StreamRecord[] = [];
  for (let i = 0; i < records.length; i += 1) {
    const record = records[i];
    if (record === undefined) continue;
    if (isVolumeRecord(record.type)) {
      if (!isBaseComplete || volumes[record.volume]?.baseSeq === BEING_COPIED) mirrorRecords.push(record);
      else isJournalNeeded = true;
      continue;
    }
    const next = syncPhaseAfter(sync, record.type);
    if (next === 'idle' && sync !== 'idle') {
      isJournalNeeded = true; // the scan must meet this syncEnd
      isBaseComplete = true;
      volumes = copied(volumes, header.firstSeq + i);
    } else if (next === 'idle') {
      isJournalNeeded = true; // a marker or seal that may count
    }
    sync = next;
  }
  const isBaseEnd = isBaseComplete && !state.isBaseComplete;
  const isDirect = !isBaseComplete || (mirrorRecords.length > 0 && !isJournalNeeded);
  return {
    form: isBaseEnd ? 'baseFrame' : isDirect ? 'direct' : 'frame',
    mirrorRecords: mirrorRecords.length > 0 || isDirect || isBaseEnd ? mirrorRecords : undefined,
    syncAfter: sync,
    isBaseComplete,
    volumes,
  };
}
