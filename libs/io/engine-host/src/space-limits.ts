import { GiB, MiB } from '@tidemark/base';
import { historyBytesToFree, type JournalFill } from '@tidemark/checkpoint';
import { CREDIT_BYTES_MAX } from '@tidemark/replication';

/** What a VM's journal and scratch may take on their datastore, bytes; null: unlimited. The datastore's guard holds either way. */
export interface RecoveryLimits {
  readonly journalHardBytes: number | null;
  readonly journalWarningBytes: number | null;
  /** Apart from the journal's: a test may fill its scratch and takes nothing from history. */
  readonly scratchHardBytes: number | null;
  readonly scratchWarningBytes: number | null;
}

export const UNLIMITED: RecoveryLimits = { journalHardBytes: null, journalWarningBytes: null, scratchHardBytes: null, scratchWarningBytes: null };

const GUARD_BYTES_MAX = 30 * GiB;
const GUARD_SHARE = 0.15;

/** Bytes of a datastore that journals and scratch leave free: 30 GiB or 15 % of it, whichever is smaller. */
export const guardBytesOf = (capacityBytes: number): number => Math.min(GUARD_BYTES_MAX, Math.floor(capacityBytes * GUARD_SHARE));

const SEGMENT_BYTES_MAX = 64 * MiB;
const SEGMENT_BYTES_MIN = 1 * MiB;

/** A journal gives space back in whole segments: a small limit needs small ones, or history would go in large steps. */
export function segmentBytesFor(hardBytes: number | null): number {
  if (hardBytes === null) return SEGMENT_BYTES_MAX;
  return Math.max(SEGMENT_BYTES_MIN, Math.min(SEGMENT_BYTES_MAX, Math.floor(hardBytes / 32)));
}

/** What a sender may have under way to a journal with this limit, bytes: it is dropped when the limit is met, so it must be small against it. */
export function creditBytesFor(hardBytes: number | null): number {
  if (hardBytes === null) return CREDIT_BYTES_MAX;
  return Math.max(SEGMENT_BYTES_MIN, Math.min(CREDIT_BYTES_MAX, Math.floor(hardBytes / 8)));
}

/** How many bytes of its oldest history a journal should give up now; 0: none. */
export function bytesToFree({ hardBytes, ...fill }: Omit<JournalFill, 'segmentBytes' | 'creditBytes' | 'hardBytes'> & { readonly hardBytes: number | null }): number {
  if (hardBytes === null) return 0;
  return historyBytesToFree({ ...fill, hardBytes, segmentBytes: segmentBytesFor(hardBytes), creditBytes: creditBytesFor(hardBytes) });
}
