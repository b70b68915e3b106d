import type { ProtectionStatusV1, RecoveryStatusV1, SyncProgressV1 } from '../vra/status.js';
import type { PeerNewsV1, TaskNewsV1, VpgNewsV1 } from './messages.js';

type Check = (value: unknown) => boolean;
/** A check for every field, so that a field that is added to a message does not compile until it is looked at. */
type Shape<T> = { readonly [K in keyof Required<T>]: Check };

const VPGS_MAX = 5000;
const VMS_MAX = 5000;
const TASKS_MAX = 1000;
const IDS_MAX = 5000;

/** Not finite numbers travel as null in JSON: what is measured may be unknown for a moment, and arithmetic takes it. */
const number: Check = (value) => value === null || typeof value === 'number';
const whole: Check = (value) => Number.isSafeInteger(value);
const flag: Check = (value) => typeof value === 'boolean';
const text = (lengthMax: number): Check => (value) => typeof value === 'string' && value.length <= lengthMax;
const oneOf = (...names: readonly unknown[]): Check => (value) => names.includes(value);
const orNull = (check: Check): Check => (value) => value === null || check(value);
const list = (check: Check, countMax: number): Check => (value) => Array.isArray(value) && value.length <= countMax && value.every(check);
const shaped = <T>(shape: Shape<T>): Check => (value) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return Object.entries<Check>(shape).every(([name, check]) => check(fields[name]));
};

const id = text(200);
const ids = list(id, IDS_MAX);
const words = text(4000);

const sync = shaped<SyncProgressV1>({
  kind: oneOf('initialSync', 'deltaSync', 'bitmapSync'), reason: words, totalBytes: number, remainingBytes: number, unverifiedBytes: number, bytesPerSecond: number, estimatedMs: number,
});
const protection = shaped<ProtectionStatusV1>({
  vpgId: id, vmId: id, epoch: whole, state: text(50), isFenced: flag, detail: words, sync: orNull(sync), lagBytes: number, writtenBytes: number, writeCount: number, sentBytes: number, bytesPerSecond: number,
  writesPerSecond: number,
});
const recovery = shaped<RecoveryStatusV1>({
  vpgId: id, vmId: id, epoch: whole, reservedEpoch: number, state: text(50), detail: words, durableSeq: number, journalBytes: number, compactedBytes: number,
  limits: (value) => typeof value === 'object' && value !== null && Object.values(value).every((limit) => limit === undefined || number(limit)),
  isAtHardLimit: flag, scrub: shaped<RecoveryStatusV1['scrub']>({ completedAtMs: number, detail: words, affectedIds: list(number, IDS_MAX) }), pins: list(shaped<RecoveryStatusV1['pins'][number]>({ name: id, checkpointId: number, expiresAtMs: number }), IDS_MAX), mirrorBytes: number, receivedRawBytes: number, receivedBytes: number,
  newestCheckpointId: number, oldestCheckpointId: number, instance: text(200), lastChange: number,
});
const vpg = shaped<VpgNewsV1>({
  vpgId: id, generation: whole, catalogueRevision: whole, protections: list(protection, VMS_MAX), recoveries: list(recovery, VMS_MAX), newestCheckpointAgeMs: number, areVrasAlive: flag,
});
const task = shaped<TaskNewsV1>({
  taskId: text(100), type: text(100), state: oneOf('InProgress', 'Failed', 'Completed'), progress: number, initiatedBy: text(1000), reason: words,
  related: shaped<TaskNewsV1['related']>({ vpgIds: ids, siteIds: ids, hostIds: ids }), runnerSiteId: id, startedAtMs: (value) => typeof value === 'number', completedAtMs: number, generation: whole,
});
const news = shaped<PeerNewsV1>({ siteName: text(200), location: text(1000), version: text(50), vpgs: list(vpg, VPGS_MAX), removedVpgIds: ids, tasks: list(task, TASKS_MAX) });

/** Whether what a peer published has the shape that everything here relies on: events carry no answer, so what has not is dropped. */
export const isPeerNews = (value: unknown): value is PeerNewsV1 => news(value);
