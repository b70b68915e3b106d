/** A piece of a protected volume that a sync needs. `readId` is never used again. */
export interface SyncRead {
  readonly readId: number;
  /** Volume index in the protection. */
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

/** A piece of a protected volume whose blocks are to be compared with the recovery site's. `compareId` is never used again. */
export interface SyncCompare {
  readonly compareId: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

/** Bytes `[start, end)` of one volume of the protection. */
export interface VolumeExtent {
  readonly volume: number;
  readonly start: number;
  readonly end: number;
}
