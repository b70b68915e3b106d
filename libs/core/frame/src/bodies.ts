import { getU64, isSafeU64, ProtocolError, setU64, viewOf } from '@tidemark/base';
import { decodeJson, encodeJson, type JsonFields } from './json-fields.js';
import { ACK_BODY_BYTES } from './limits.js';
import type { CheckpointMarker, CheckpointSeal, SyncStart } from './types.js';

const U32_MAX = 2 ** 32 - 1;
const ID_CHARACTERS_MAX = 200;
const TEXT_CHARACTERS_MAX = 1000;
/** A site manages up to 5000 VMs. */
const VMS_MAX = 5000;
/** Disks of one VM. */
export const STREAM_VOLUMES_MAX = 64;
/** Wall clock, ms since 1970: up to the year 287396, the largest that a Date can be made of. */
const WALL_MS_MAX = 8.64e15;

/** Body of `open`: a protecting VRA asks to send a protection's stream. */
export interface OpenRequest {
  readonly vpgId: string;
  readonly vmId: string;
  readonly epoch: number;
  /** Names the capture session: random, made when the capture of this protection began in this process. */
  readonly sessionId: string;
  /** Size of each volume in bytes; the position is the volume index of records. */
  readonly volumes: readonly number[];
  /** `firstQueuedSeq..lastSeq` is what the queue still holds (empty: first > last). */
  readonly firstQueuedSeq: number;
  readonly lastSeq: number;
  readonly ackedSeq: number;
}

/** `lastSessionId` of a journal that began a new generation, until a sync has started there: no session can be this one, so everything is sent. */
export const GENERATION_SESSION = 'generation:';

/** Body of `opened`. */
export interface OpenedReply {
  readonly incarnation: number;
  readonly durableSeq: number;
  /** The session before this open; null: none. */
  readonly lastSessionId: string | null;
  /** A sync once ended: mirror + journal are a whole image. */
  readonly isBaseComplete: boolean;
  /** The mirrors began as disks that the user had put there: worth comparing before anything is sent. */
  readonly isPreseeded: boolean;
  /** Volumes that were added to a complete base, and whose first copy has not ended. Absent: none. */
  readonly copyingVolumes?: readonly number[];
  readonly creditBytes: number;
  /** Of the newest one that the journal holds: numbers only grow. Absent, 0: it holds none. */
  readonly newestCheckpointId?: number;
  /** The mirrors are this image and have not been written since; absent, null: nothing is known. */
  readonly basisId?: string | null;
}

/** Body of `refused`. `fenced` is for good; the others may change: the sender tries again. */
export interface RefusedReply {
  readonly code: RefusedCode;
  readonly message: string;
}
export const REFUSED_CODES = ['unknown', 'fenced', 'notReady'] as const;
export type RefusedCode = (typeof REFUSED_CODES)[number];

const CHECKPOINT_KINDS = ['automatic', 'tagged', 'applicationConsistent'] as const;
const SYNC_KINDS = ['initialSync', 'deltaSync', 'bitmapSync'] as const;

export const encodeOpen = (request: OpenRequest): Uint8Array => encodeJson(request);
export const encodeOpened = (reply: OpenedReply): Uint8Array =>
  encodeJson({ ...reply, copyingVolumes: reply.copyingVolumes ?? [], newestCheckpointId: reply.newestCheckpointId ?? 0, basisId: reply.basisId ?? null });
export const encodeRefused = (reply: RefusedReply): Uint8Array => encodeJson(reply);
export const encodeMarker = (marker: CheckpointMarker): Uint8Array => encodeJson(marker);
/** Blanks behind a marker that will be aged: its length must not change, or credit and frame length would not fit any more. */
const MARKER_ROOM_BYTES = 24;

/** A marker for a queue: {@link agedMarker} adds the time that it spends there when it is sent. */
export function encodeMarkerWithRoom(marker: CheckpointMarker): Uint8Array {
  const json = encodeMarker(marker);
  const payload = new Uint8Array(json.byteLength + MARKER_ROOM_BYTES).fill(0x20);
  payload.set(json);
  return payload;
}

/** A copy of the marker, as long, that is older by `elapsedMs`; without room for that, the marker as it is. */
export function agedMarker(payload: Uint8Array, elapsedMs: number): Uint8Array {
  const marker = decodeMarker(payload);
  const json = encodeMarker({ ...marker, ageMs: Math.round(marker.ageMs + elapsedMs) });
  if (json.byteLength > payload.byteLength) return payload;
  const aged = new Uint8Array(payload.byteLength).fill(0x20);
  aged.set(json);
  return aged;
}

export const encodeSeal = (seal: CheckpointSeal): Uint8Array => encodeJson(seal);
export const encodeSyncStart = (start: SyncStart): Uint8Array => encodeJson(start);

/** All decoders throw ProtocolError for a field that is missing, of a wrong type, out of bounds or unknown. */
export function decodeOpen(body: Uint8Array): OpenRequest {
  return decodeAll(body, 'open', (fields) => ({
    vpgId: fields.text('vpgId', ID_CHARACTERS_MAX),
    vmId: fields.text('vmId', ID_CHARACTERS_MAX),
    epoch: fields.integer('epoch', 1, U32_MAX),
    sessionId: fields.text('sessionId', ID_CHARACTERS_MAX),
    volumes: fields.integers('volumes', { countMax: STREAM_VOLUMES_MAX, min: 0 }),
    firstQueuedSeq: fields.integer('firstQueuedSeq', 1),
    lastSeq: fields.integer('lastSeq', 0),
    ackedSeq: fields.integer('ackedSeq', 0),
  }));
}

export function decodeOpened(body: Uint8Array): OpenedReply {
  return decodeAll(body, 'opened', (fields) => ({
    incarnation: fields.integer('incarnation', 1, U32_MAX),
    durableSeq: fields.integer('durableSeq', 0),
    lastSessionId: fields.nullableText('lastSessionId', ID_CHARACTERS_MAX),
    isBaseComplete: fields.flag('isBaseComplete'),
    isPreseeded: fields.flag('isPreseeded'),
    copyingVolumes: fields.integers('copyingVolumes', { countMax: STREAM_VOLUMES_MAX, min: 0 }),
    creditBytes: fields.integer('creditBytes', 0),
    newestCheckpointId: fields.integer('newestCheckpointId', 0),
    basisId: fields.nullableText('basisId', ID_CHARACTERS_MAX),
  }));
}

export function decodeRefused(body: Uint8Array): RefusedReply {
  return decodeAll(body, 'refused', (fields) => ({
    code: fields.oneOf('code', REFUSED_CODES),
    message: fields.freeText('message', TEXT_CHARACTERS_MAX),
  }));
}

export function decodeMarker(payload: Uint8Array): CheckpointMarker {
  return decodeAll(payload, 'marker', (fields) => ({
    vpgId: fields.text('vpgId', ID_CHARACTERS_MAX),
    checkpointId: fields.integer('checkpointId', 1),
    epoch: fields.integer('epoch', 1, U32_MAX),
    term: fields.integer('term', 0),
    vmIds: fields.texts('vmIds', { countMax: VMS_MAX, charactersMax: ID_CHARACTERS_MAX }),
    atMs: fields.number('atMs', 0, WALL_MS_MAX),
    ageMs: fields.number('ageMs', 0, WALL_MS_MAX),
    tag: fields.nullableText('tag', ID_CHARACTERS_MAX),
    kind: fields.oneOf('kind', CHECKPOINT_KINDS),
  }));
}

export function decodeSeal(payload: Uint8Array): CheckpointSeal {
  return decodeAll(payload, 'seal', (fields) => ({
    vpgId: fields.text('vpgId', ID_CHARACTERS_MAX),
    checkpointId: fields.integer('checkpointId', 1),
    term: fields.integer('term', 0),
  }));
}

export function decodeSyncStart(payload: Uint8Array): SyncStart {
  return decodeAll(payload, 'syncStart', (fields) => ({
    kind: fields.oneOf('kind', SYNC_KINDS),
    reason: fields.freeText('reason', TEXT_CHARACTERS_MAX),
  }));
}

/** Body of a 4007 `control` frame: its type, and the fields that the decoder of that type reads and then closes with `end()`. */
export function decodeControl(body: Uint8Array): { readonly type: string; readonly fields: JsonFields } {
  const fields = decodeJson(body, 'control');
  return { type: fields.text('type', 64), fields };
}

/** Body of `ack`: how many raw bytes beyond the header's lastSeq the receiver takes. */
export function encodeAck(creditBytes: number): Uint8Array {
  const body = new Uint8Array(ACK_BODY_BYTES);
  setU64(viewOf(body), 0, creditBytes);
  return body;
}

export function decodeAck(body: Uint8Array): number {
  if (body.byteLength !== ACK_BODY_BYTES) throw new ProtocolError('PROTOCOL_LAYOUT', `ack of ${body.byteLength} bytes`);
  const view = viewOf(body);
  if (!isSafeU64(view, 0)) throw new ProtocolError('PROTOCOL_LIMIT', 'credit above 2^53');
  return getU64(view, 0);
}

function decodeAll<T>(body: Uint8Array, what: string, read: (fields: JsonFields) => T): T {
  const fields = decodeJson(body, what);
  const value = read(fields);
  fields.end();
  return value;
}
