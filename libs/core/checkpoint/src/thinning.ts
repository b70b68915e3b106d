/** Which checkpoints of a long history stay: every one for a time, then the first of each minute, then the first of each hour. */
export interface ThinningPolicy {
  /** Younger ones all stay, ms. */
  readonly keepAllMs: number;
  /** Older ones stay one an hour, ms; not below `keepAllMs`. */
  readonly hourlyAfterMs: number;
}

export interface ThinningCandidate {
  readonly checkpointId: number;
  /** Wall clock of its marker: the same in every journal. */
  readonly atMs: number;
  readonly ageMs: number;
  /** Tagged, application-consistent or pinned: never thinned. */
  readonly isKept: boolean;
}

export interface ThinningLevel {
  readonly afterMs: number;
  readonly bucketMs: number;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export const thinningLevels = ({ keepAllMs, hourlyAfterMs }: ThinningPolicy): readonly ThinningLevel[] => [
  { afterMs: keepAllMs, bucketMs: MINUTE_MS },
  { afterMs: Math.max(keepAllMs, hourlyAfterMs), bucketMs: HOUR_MS },
];

/**
 * Of checkpoints in stream order, all from one on that stays: those to drop at this level, and the last one that stays, from which the next look goes on.
 * The first of a minute is also the first of its hour or dropped with it, so the levels agree. After a step of the wall clock more may stay, never less.
 */
export function thin(checkpoints: readonly ThinningCandidate[], { afterMs, bucketMs }: ThinningLevel): { readonly dropIds: readonly number[]; readonly nextId: number } {
  const dropIds: number[] = [];
  let bucket: number | undefined;
  let nextId = 0;
  for (const { checkpointId, atMs, ageMs, isKept } of checkpoints) {
    if (ageMs < afterMs) break;
    const own = Math.floor(atMs / bucketMs);
    if (own === bucket) {
      if (!isKept) dropIds.push(checkpointId);
      continue;
    }
    bucket = own;
    nextId = checkpointId;
  }
  return { dropIds, nextId };
}
