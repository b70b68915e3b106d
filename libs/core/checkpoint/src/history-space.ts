/** One journal and its hard limit, bytes. */
export interface JournalFill {
  readonly journalBytes: number;
  readonly hardBytes: number;
  /** A journal gives space back in whole segments. */
  readonly segmentBytes: number;
  /** What a sender may have under way to it. */
  readonly creditBytes: number;
  /** No frame is taken because of the limit. */
  readonly isFull: boolean;
  /** Of the frame that did not fit; 0: none. */
  readonly neededBytes: number;
}

/**
 * How many bytes of its oldest history a journal should give up now; 0: none. It begins a twentieth (and at least three segments and twice the credit)
 * below the hard limit, so that the agreement over the VPG and the apply end before new frames find it full; it aims twice as far below, so that it
 * is not asked for with every frame.
 */
export function historyBytesToFree({ journalBytes, hardBytes, segmentBytes, creditBytes, isFull, neededBytes }: JournalFill): number {
  const reserveBytes = Math.max(Math.floor(hardBytes / 20), 3 * segmentBytes, resumeBytesOf({ creditBytes, neededBytes }));
  return !isFull && journalBytes <= hardBytes - reserveBytes ? 0 : Math.max(0, journalBytes - (hardBytes - 2 * reserveBytes));
}

/** What a journal may still take; `pendingBytes` were received before and are not in it yet. */
export const roomAtLimit = ({ hardBytes, journalBytes, pendingBytes }: { readonly hardBytes: number; readonly journalBytes: number; readonly pendingBytes: number }): number =>
  Math.max(0, hardBytes - journalBytes - pendingBytes);

/**
 * A full journal takes frames again when so much may be written: less would end with the next few frames, which are then lost for the sender to send once more.
 * One record may be longer than the credit: it comes alone, and until there is room for it the journal would only open to be full again.
 */
export const resumeBytesOf = ({ creditBytes, neededBytes }: Pick<JournalFill, 'creditBytes' | 'neededBytes'>): number => Math.max(2 * creditBytes, neededBytes);

/** Of one recovering VRA's report about a VPG. */
export interface SpaceReport {
  /** The newest ones that its journals hold, oldest first. */
  readonly newestIds: readonly number[];
  /** A journal here nears its hard limit: this one should become the oldest. 0: no need. */
  readonly wantedId: number;
  /** The oldest one that a view, a backup or a file restore needs here; 0: none. */
  readonly pinnedId: number;
}

/** Infinity: nobody needs one. */
export const lowestPinned = (reports: readonly Pick<SpaceReport, 'pinnedId'>[]): number => Math.min(Infinity, ...reports.map(({ pinnedId }) => pinnedId).filter((id) => id > 0));

/**
 * For a journal that nears its limit: the oldest one that all hold, from the one that it wants on, is to become the oldest, never behind what
 * somebody needs or behind the newest that all hold, which always stays. undefined: nobody wants space.
 */
export function spaceBounds(reports: readonly SpaceReport[]): { readonly fromId: number; readonly throughId: number } | undefined {
  const wantedId = Math.max(0, ...reports.map((report) => report.wantedId));
  const [first, ...others] = reports;
  if (wantedId === 0 || !first) return undefined;
  const newestId = Math.max(0, ...first.newestIds.filter((id) => others.every(({ newestIds }) => newestIds.includes(id))));
  const throughId = Math.min(newestId, lowestPinned(reports));
  return throughId === 0 ? undefined : { fromId: Math.min(wantedId, throughId), throughId };
}

/** Of what all hold, in any order: the one that is to become the oldest; 0: none. */
export function oldestWithin(checkpointIds: readonly number[], { fromId, throughId }: { readonly fromId: number; readonly throughId: number }): number {
  const fitting = checkpointIds.filter((id) => fromId <= id && id <= throughId);
  return fitting.length === 0 ? 0 : Math.min(...fitting);
}
