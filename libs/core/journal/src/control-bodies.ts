import { ProtocolError } from '@tidemark/base';
import { decodeJson, encodeJson, GENERATION_SESSION, type JsonFields } from '@tidemark/frame';
import type { JournalVolumeState, VolumeWish } from './volume-set.js';

/** Of one VM, removed ones included: a stream record has no more indexes. */
export const VOLUMES_MAX = 64;
const U32_MAX = 2 ** 32 - 1;

/** `needed`: the base or what is missing was not asked for yet. `running`: a sync started. `idle`: mirror + journal are a whole image. */
export type SyncPhase = 'needed' | 'running' | 'idle';
const SYNC_PHASES = ['needed', 'running', 'idle'] as const;

export const SESSION_CHARACTERS_MAX = 200;

/**
 * Stands before the session's name from the record of a new generation until a syncStart: whoever opens the stream meanwhile finds another session than
 * its own, and so sends everything. What the broken generation lost is known to nobody, so the sessions' own bookkeeping must not be believed.
 */
const GENERATION_MARK = GENERATION_SESSION;
export const isMarked = (sessionId: string | null): boolean => sessionId?.startsWith(GENERATION_MARK) === true;
export const unmarked = (sessionId: string | null): string | null => (isMarked(sessionId) ? (sessionId ?? '').slice(GENERATION_MARK.length) : sessionId);
/** A journal that never had a session needs no mark: its first sync is everything anyway. */
export const marked = (sessionId: string | null): string | null => (sessionId === null ? null : GENERATION_MARK + (unmarked(sessionId) ?? ''));

/** Everything that later records rely on and that earlier, freed segments said. */
export interface JournalSnapshot {
  readonly epoch: number;
  readonly reservedEpoch: number | null;
  readonly highestEpoch: number;
  readonly isEnded: boolean;
  readonly incarnation: number;
  readonly sessionId: string | null;
  readonly isBaseComplete: boolean;
  readonly sync: SyncPhase;
  readonly lastSeq: number;
  readonly appliedSeq: number;
  readonly retiredSeq: number;
  readonly promotion: { readonly checkpointId: number; readonly isDone: boolean } | null;
  /** Why the generation before takes no more; null in the first one, and when the sync behind a later one's beginning has ended. */
  readonly brokenReason: string | null;
  /** By volume index. */
  readonly volumes: readonly JournalVolumeState[];
}

export const encodeSnapshot = (snapshot: JournalSnapshot): Uint8Array => encodeJson({
  ...snapshot,
  promotion: undefined,
  volumes: undefined,
  ...volumeFields(snapshot.volumes),
  volumeBaseSeqs: snapshot.volumes.map(({ baseSeq }) => baseSeq),
  reservedEpoch: snapshot.reservedEpoch ?? 0,
  promotionCheckpointId: snapshot.promotion?.checkpointId ?? 0,
  isPromotionDone: snapshot.promotion?.isDone ?? false,
});

export function decodeSnapshot(body: Uint8Array): JournalSnapshot {
  return read(body, 'journal state', (fields) => {
    const reservedEpoch = fields.integer('reservedEpoch', 0, U32_MAX);
    const checkpointId = fields.integer('promotionCheckpointId', 0);
    const isDone = fields.flag('isPromotionDone');
    return {
      epoch: fields.integer('epoch', 1, U32_MAX),
      reservedEpoch: reservedEpoch === 0 ? null : reservedEpoch,
      highestEpoch: fields.integer('highestEpoch', 1, U32_MAX),
      isEnded: fields.flag('isEnded'),
      incarnation: fields.integer('incarnation', 0, U32_MAX),
      sessionId: fields.nullableText('sessionId', SESSION_CHARACTERS_MAX + GENERATION_MARK.length),
      isBaseComplete: fields.flag('isBaseComplete'),
      sync: fields.oneOf('sync', SYNC_PHASES),
      lastSeq: fields.integer('lastSeq', 0),
      appliedSeq: fields.integer('appliedSeq', 0),
      retiredSeq: fields.integer('retiredSeq', 0),
      promotion: checkpointId === 0 ? null : { checkpointId, isDone },
      brokenReason: fields.nullableText('brokenReason', 1000),
      volumes: readVolumes(fields, fields.integers('volumeBaseSeqs', { countMax: VOLUMES_MAX, min: 0 })),
    };
  });
}

const volumeFields = (volumes: readonly VolumeWish[]): object => ({
  volumeDisks: volumes.map(({ diskId }) => diskId),
  volumeBytes: volumes.map(({ sizeBytes }) => sizeBytes),
});

function readWishes(fields: JsonFields): VolumeWish[] {
  const disks = fields.freeTexts('volumeDisks', { countMax: VOLUMES_MAX, charactersMax: 64 });
  const sizes = fields.integers('volumeBytes', { countMax: VOLUMES_MAX, min: 0 });
  if (disks.length !== sizes.length) throw new ProtocolError('PROTOCOL_LAYOUT', `${fields.what}: ${disks.length} disks, ${sizes.length} sizes`);
  return disks.map((diskId, index) => ({ diskId, sizeBytes: sizes[index] ?? 0 }));
}

function readVolumes(fields: JsonFields, baseSeqs: readonly number[]): JournalVolumeState[] {
  const wishes = readWishes(fields);
  if (wishes.length !== baseSeqs.length) throw new ProtocolError('PROTOCOL_LAYOUT', `${fields.what}: ${wishes.length} volumes, ${baseSeqs.length} base positions`);
  return wishes.map((wish, index) => ({ ...wish, baseSeq: baseSeqs[index] ?? 0 }));
}

export const encodeVolumes = (volumes: readonly VolumeWish[]): Uint8Array => encodeJson(volumeFields(volumes));
export const decodeVolumes = (body: Uint8Array): VolumeWish[] => read(body, 'volumes', readWishes);

export const encodeSession = (sessionId: string): Uint8Array => encodeJson({ sessionId });
export const decodeSession = (body: Uint8Array): string => read(body, 'incarnation', (fields) => fields.text('sessionId', SESSION_CHARACTERS_MAX));

export const encodeEpoch = (epoch: number): Uint8Array => encodeJson({ epoch });
export const decodeEpoch = (body: Uint8Array): number => read(body, 'epoch', (fields) => fields.integer('epoch', 1, U32_MAX));

export interface Retirement {
  readonly checkpointId: number;
  readonly markerSeq: number;
}
export const encodeRetirement = ({ checkpointId, markerSeq }: Retirement): Uint8Array => encodeJson({ checkpointId, markerSeq });
export const decodeRetirement = (body: Uint8Array): Retirement => read(body, 'retirement', (fields) => ({
  checkpointId: fields.integer('checkpointId', 1),
  markerSeq: fields.integer('markerSeq', 1),
}));

/** So many fit into a control body, and into a report of a peer. */
export const THIN_MAX = 2000;
export const encodeThin = (checkpointIds: readonly number[]): Uint8Array => encodeJson({ checkpointIds });
export const decodeThin = (body: Uint8Array): number[] => read(body, 'thinning', (fields) => fields.integers('checkpointIds', { countMax: THIN_MAX, min: 1 }));

export const encodeApplied = (appliedSeq: number): Uint8Array => encodeJson({ appliedSeq });
export const decodeApplied = (body: Uint8Array): number => read(body, 'applied', (fields) => fields.integer('appliedSeq', 0));

export const encodeDirect = (sync: SyncPhase): Uint8Array => encodeJson({ sync });
export const decodeDirect = (body: Uint8Array): SyncPhase => read(body, 'direct', (fields) => fields.oneOf('sync', SYNC_PHASES));

export const encodeReason = (reason: string): Uint8Array => encodeJson({ reason: reason.slice(0, 1000) });
export const decodeReason = (body: Uint8Array): string => read(body, 'generation', (fields) => fields.freeText('reason', 1000));

export const encodePromotion = (checkpointId: number): Uint8Array => encodeJson({ checkpointId });
export const decodePromotion = (body: Uint8Array): number => read(body, 'promotion', (fields) => fields.integer('checkpointId', 1));

function read<T>(body: Uint8Array, what: string, fieldsOf: (fields: JsonFields) => T): T {
  const fields = decodeJson(body, what);
  const value = fieldsOf(fields);
  fields.end();
  return value;
}

/** Runs a decoder of our own bytes whose checksum holds; `undefined` when they still make no sense. */
export function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}
