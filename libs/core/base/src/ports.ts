/** CRC-32C (Castagnoli, RFC 3720 §12.1) of `bytes`, continuing from `previous` (0 at the start). An unsigned 32-bit value. */
export type Crc32c = (bytes: Uint8Array, previous?: number) => number;

/** Monotonic time in milliseconds: never steps, not comparable between processes. */
export type MonotonicMs = () => number;

/** Wall clock in milliseconds since 1970: may step in both directions; for people, never for order. */
export type WallClockMs = () => number;

/** Done now (`undefined`) or later (a promise). A page-cache write that needs no thread hop returns the former. */
export type Done = void | Promise<void>;

/**
 * Memory that is used again when its last holder has let go. Whoever keeps bytes beyond the call that gave them to him retains them, and
 * releases them once. One who forgets them instead leaves them to the collector: that is always right, and costs only time.
 */
export interface SharedMemory {
  retain(part: Uint8Array): void;
  release(part: Uint8Array): void;
}
