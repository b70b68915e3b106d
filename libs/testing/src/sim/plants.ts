import { RecordType } from '@tidemark/frame';
import { SendQueue } from '@tidemark/replication';
import { SyncWalk } from '@tidemark/sync';

/**
 * A bug planted on purpose: each breaks one sentence of the design that names a danger, and the checkers must notice. A flag changes
 * how a simulated host carries out effects; a patch changes a method of a real engine while the run lasts.
 */
export interface Plant {
  readonly name: string;
  readonly breaks: string;
  /** Within so many seeds, from 1 on, it must be caught. */
  readonly seedBudget: number;
  /** One that catches it, for the test of every day. */
  readonly caughtBySeed: number;
  readonly isSyncForgotten?: boolean;
  readonly isMirrorSyncForgotten?: boolean;
  readonly isAckedOnArrival?: boolean;
  readonly isReleaseHasty?: boolean;
  readonly isSealedLate?: boolean;
  readonly isHoldUnbounded?: boolean;
  readonly isVoteHasty?: boolean;
  readonly isCapturedEarly?: boolean;
  readonly areReadsUnheld?: boolean;
  readonly isFenceMissing?: boolean;
  readonly isApplyHasty?: boolean;
  /** Returns what undoes it. */
  patch?(): () => void;
}

/** Replaces a method for a while. */
function replaced<T extends object, K extends keyof T>(prototype: T, name: K, method: (original: T[K]) => T[K]): () => void {
  const original = prototype[name];
  prototype[name] = method(original);
  return () => (prototype[name] = original);
}

function replacedGetter<T extends object>(prototype: T, name: keyof T & string, get: (this: T) => unknown): () => void {
  const original = Object.getOwnPropertyDescriptor(prototype, name);
  if (original === undefined) throw new Error(`no getter ${name}`);
  Object.defineProperty(prototype, name, { ...original, get });
  return () => Object.defineProperty(prototype, name, original);
}

const nothing = (): void => undefined;

export const PLANTS: readonly Plant[] = [
  { name: 'ack-before-fsync', breaks: 'ack only after fdatasync', seedBudget: 60, caughtBySeed: 11, isSyncForgotten: true },
  { name: 'ack-on-arrival', breaks: 'acks are durable up to seq', seedBudget: 60, caughtBySeed: 6, isAckedOnArrival: true },
  { name: 'apply-before-mirror-sync', breaks: 'mirror, fdatasync, advance appliedSeq', seedBudget: 200, caughtBySeed: 11, isMirrorSyncForgotten: true },
  { name: 'release-before-all-marked', breaks: 'all answered, then release', seedBudget: 100, caughtBySeed: 7, isReleaseHasty: true },
  { name: 'seal-after-bound', breaks: 'a VRA that released by itself never seals', seedBudget: 200, caughtBySeed: 24, isSealedLate: true },
  { name: 'hold-without-bound', breaks: 'bound of 50 ms', seedBudget: 100, caughtBySeed: 7, isHoldUnbounded: true },
  { name: 'vote-not-durable', breaks: 'no two checkpoints carry one number', seedBudget: 200, caughtBySeed: 21, isVoteHasty: true },
  { name: 'capture-before-local-write', breaks: 'the protected volume first; a failed write is not shipped', seedBudget: 60, caughtBySeed: 1, isCapturedEarly: true },
  { name: 'read-passes-held-write', breaks: 'reads that overlap a held write are held', seedBudget: 300, caughtBySeed: 45, areReadsUnheld: true },
  { name: 'sync-ends-before-capture', breaks: 'only markers after the sync count, and it ends behind every write it contains', seedBudget: 400, caughtBySeed: 119, isFenceMissing: true },
  { name: 'apply-before-all-retired', breaks: 'retire durable for the whole VPG before any VM applies', seedBudget: 100, caughtBySeed: 15, isApplyHasty: true },
  {
    name: 'sync-read-not-voided', breaks: 'a captured write that overlaps a sync read voids that part', seedBudget: 100, caughtBySeed: 2,
    patch: () => replaced(SyncWalk.prototype, 'overtake', () => nothing),
  },
  {
    name: 'sync-blocks-forgotten', breaks: 'blocks in flight count as dirty until acked', seedBudget: 200, caughtBySeed: 6,
    patch: () => replaced(SendQueue.prototype, 'all', (original) => function* (this: SendQueue) {
      for (const record of original.call(this)) if (record.type !== RecordType.syncWrite && record.type !== RecordType.syncZeroes) yield record;
    }),
  },
  {
    name: 'sync-ends-with-reads-in-flight', breaks: 'no checkpoint is listed until the sync has ended', seedBudget: 100, caughtBySeed: 8,
    patch: () => replacedGetter(SyncWalk.prototype, 'isDone', function (this: SyncWalk) {
      return this.dirtyBytes === 0;
    }),
  },
  {
    name: 'overflow-forgets-write', breaks: 'a captured write is in the queue or the bitmap', seedBudget: 100, caughtBySeed: 5,
    patch: () => replaced(SyncWalk.prototype, 'mark', (original) => function (this: SyncWalk, volume: number, start: number, end: number) {
      if (end - start > 512) original.call(this, volume, start, end);
    }),
  },
];
