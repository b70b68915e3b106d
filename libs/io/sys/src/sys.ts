/**
 * System calls that Node does not have. Every call is synchronous and short, except where the name says otherwise;
 * errors are {@link SysError}s. Where {@link Sys.isAvailable} is false every call fails with `SYS_UNSUPPORTED`.
 */
export interface Sys {
  readonly isAvailable: boolean;
  /** One line for the log at start: how the calls are made, or why they are not and what that costs. */
  readonly description: string;
  /** Frees `[offset, offset + length)`, which then reads as zeroes; the file's size stays. Whole blocks are freed, edges zeroed. */
  punchHole(fd: number, range: FileRange): void;
  /** The same in a thread, for ranges whose freeing takes long. */
  punchHoleAsync(fd: number, range: FileRange): Promise<void>;
  /** Makes a range read as zeroes and keeps space reserved for it; the file's size stays. In a thread. */
  zeroRangeAsync(fd: number, range: FileRange): Promise<void>;
  /** Reserves space for a range and keeps what it holds; the file's size stays. In a thread. */
  allocateAsync(fd: number, range: FileRange): Promise<void>;
  /** Offset of the first data at or after `offset`; `undefined` when there is none. */
  seekData(fd: number, offset: number): number | undefined;
  /** Offset of the first hole at or after `offset`, which must lie in the file; the end of the file counts as one. */
  seekHole(fd: number, offset: number): number;
  /** Takes the advisory lock of the file's open description, without waiting; it goes with the last close or the process. False: another has it. */
  tryLock(fd: number, mode: 'shared' | 'exclusive'): boolean;
  /**
   * Reads what the page cache holds and never waits for the disk. The bytes read: fewer than asked, down to 0, where
   * the rest would have to come from the disk (or lies beyond the end).
   */
  readCached(fd: number, target: Uint8Array, offset: number): number;
  /** A second descriptor of the file behind `fd`, for {@link readDirect}; the caller closes it. Throws where the file system has no direct reads. */
  openDirect(fd: number): number;
  /**
   * Reads from the disk past the page cache, in a thread: no copy by a CPU. The bytes read; 0 where it would have to wait for anything but the disk (a page of
   * the range is not written back, the file is being written) or cannot be done: not whole pages of `PAGE_BYTES` of file and memory, no support, an error of
   * the disk. Then `target` holds anything, and an ordinary read gets the bytes, or the error. Sees every write that was done before it began.
   */
  readDirect(fd: number, target: Uint8Array, offset: number): Promise<number>;
  /** Where `memory` lies. */
  addressOf(memory: Uint8Array): bigint;
  /** Forgets what the page cache holds of the file, or of whole pages of a part of it, and need not be written: a later read comes from the disk. */
  dropCache(fd: number, range?: FileRange): void;
  /** A second descriptor of the same open file or socket; the caller closes it. */
  dup(fd: number): number;
  /** Everything written so far, and the size, is durable. In a thread; never unavailable. Rejects with Node's error, never to be retried. */
  fdatasync(fd: number): Promise<void>;
}

export interface FileRange {
  readonly offset: number;
  readonly length: number;
}
