import { assert, BLOCK_BYTES } from '@tidemark/base';
import { assertInVolume, checkOpen, checkWritable } from './volume-check.js';
import type { AllocationRun, Volume, WriteZeroesOptions } from './volume.js';

export interface MemoryVolumeOptions {
  readonly sizeBytes: number;
  readonly isReadOnly?: boolean;
  /** Contents to begin with (taken over, not copied); its length must be `sizeBytes`. All zero and unallocated otherwise. */
  readonly bytes?: Uint8Array;
}

/** A volume in memory: for tests and the simulation. Everything is done at once, nothing is durable. */
export class MemoryVolume implements Volume {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  /** The contents themselves, for checkers: reading is free, writing is the checker's own risk. */
  readonly bytes: Uint8Array;
  readonly #isBlockAllocated: Uint8Array;
  #isClosed = false;

  constructor(options: MemoryVolumeOptions) {
    this.sizeBytes = options.sizeBytes;
    this.isReadOnly = options.isReadOnly ?? false;
    this.bytes = options.bytes ?? new Uint8Array(options.sizeBytes);
    assert(this.bytes.length === this.sizeBytes, 'contents of another size');
    this.#isBlockAllocated = new Uint8Array(Math.ceil(this.sizeBytes / BLOCK_BYTES));
    if (options.bytes !== undefined) this.#isBlockAllocated.fill(1);
  }

  read(offset: number, target: Uint8Array): void {
    checkOpen(this.#isClosed);
    assertInVolume(this, offset, target.length);
    target.set(this.bytes.subarray(offset, offset + target.length));
  }

  write(offset: number, source: Uint8Array): void {
    checkWritable(this, this.#isClosed);
    assertInVolume(this, offset, source.length);
    this.bytes.set(source, offset);
    this.#isBlockAllocated.fill(1, Math.floor(offset / BLOCK_BYTES), Math.ceil((offset + source.length) / BLOCK_BYTES));
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): void {
    checkWritable(this, this.#isClosed);
    assertInVolume(this, offset, length);
    this.bytes.fill(0, offset, offset + length);
    if (options?.mayUnmap !== true) {
      this.#isBlockAllocated.fill(1, Math.floor(offset / BLOCK_BYTES), Math.ceil((offset + length) / BLOCK_BYTES));
      return;
    }
    const end = offset + length;
    const endBlock = end === this.sizeBytes ? this.#isBlockAllocated.length : Math.floor(end / BLOCK_BYTES);
    const startBlock = Math.ceil(offset / BLOCK_BYTES);
    if (startBlock < endBlock) this.#isBlockAllocated.fill(0, startBlock, endBlock);
  }

  flush(): void {
    checkOpen(this.#isClosed);
  }

  allocation(offset: number, length: number): AllocationRun[] {
    checkOpen(this.#isClosed);
    assertInVolume(this, offset, length);
    const runs: AllocationRun[] = [];
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const isHole = this.#isHoleAt(at);
      let stop = at;
      while (stop < end && this.#isHoleAt(stop) === isHole) stop = Math.min(end, (Math.floor(stop / BLOCK_BYTES) + 1) * BLOCK_BYTES);
      runs.push({ length: stop - at, isHole, isZero: isHole });
      at = stop;
    }
    return runs;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return Promise.resolve();
  }

  #isHoleAt(offset: number): boolean {
    return this.#isBlockAllocated[Math.floor(offset / BLOCK_BYTES)] === 0;
  }
}
