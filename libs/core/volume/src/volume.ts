import type { Done } from '@tidemark/base';

/** One run of a volume with one allocation state, as NBD's `base:allocation` reports it. Runs cover the request without gaps. */
export interface AllocationRun {
  readonly length: number;
  /** No space is allocated for it. */
  readonly isHole: boolean;
  /** Reads as zeroes. */
  readonly isZero: boolean;
}

export interface ReadOptions {
  /** Every byte of a large part is read this one time, for a copy or a digest: a cache need not keep, nor pass on, what only it asked for. */
  readonly isOnce?: boolean;
}

export interface WriteOptions {
  /** Force unit access: durable before it is done. */
  readonly isFua?: boolean;
}

export interface WriteZeroesOptions extends WriteOptions {
  /** Space may be freed. The range reads as zeroes either way. */
  readonly mayUnmap?: boolean;
}

/**
 * A block device. Layers are volumes over volumes. Offsets and lengths are bytes, inside the volume (a caller's bug
 * otherwise: assert), any alignment. Operations may be in flight together; the order of overlapping ones is the caller's
 * business. Errors are {@link VolumeError}s, and a failed write leaves the range with old, new or mixed bytes.
 */
export interface Volume {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  /**
   * A promise of this volume: once its write is done or failed it keeps no `source`, or has retained it in the memory that it came from
   * (`SharedMemory`), so a caller may let go. Layers that pass sources on say nothing, and then they may be kept.
   */
  readonly isSourceFreeWhenDone?: boolean;
  /** Fills `target` from `offset` on. */
  read(offset: number, target: Uint8Array, options?: ReadOptions): Done;
  /** `source` is handed over: the volume may keep it, so the caller must not change it afterwards (but see {@link isSourceFreeWhenDone}). */
  write(offset: number, source: Uint8Array, options?: WriteOptions): Done;
  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Done;
  /** Durable: every write that was done before flush was called. */
  flush(): Done;
  allocation(offset: number, length: number): AllocationRun[] | Promise<AllocationRun[]>;
  close(): Promise<void>;
}
