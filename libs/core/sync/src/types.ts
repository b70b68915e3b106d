/** A piece of a protected volume that a sync needs. `readId` is never used again. */
export interface SyncRead {
  readonly readId: number;
  /** Volume index in the protection. */
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}
