import { SECTOR_BYTES } from '@tidemark/base';
import type { Random } from './random.js';

interface Range {
  readonly start: number;
  readonly end: number;
}

/** A file in a page cache over a disk: what was not synced may be lost, in part, sector by sector, in any order. */
export class SimFile {
  #cache = new Uint8Array(4096);
  #cacheBytes = 0;
  #durable = new Uint8Array(0);
  #dirty: Range[] = [];
  #syncing: Range[] = [];

  constructor(sizeBytes = 0) {
    this.#grow(sizeBytes);
    this.#durable = new Uint8Array(sizeBytes);
  }

  get sizeBytes(): number {
    return this.#cacheBytes;
  }

  /** A view: valid until the next write. */
  read(start: number, end: number): Uint8Array {
    return this.#cache.subarray(start, Math.min(end, this.#cacheBytes));
  }

  copy(): Uint8Array {
    return this.#cache.slice(0, this.#cacheBytes);
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#grow(offset + bytes.byteLength);
    this.#cache.set(bytes, offset);
    this.#dirty.push({ start: offset, end: offset + bytes.byteLength });
  }

  zero(offset: number, length: number): void {
    this.#grow(offset + length);
    this.#cache.fill(0, offset, offset + length);
    this.#dirty.push({ start: offset, end: offset + length });
  }

  /** Cut, and durably so. */
  truncateDurable(bytes: number): void {
    this.#cache.fill(0, bytes, this.#cacheBytes);
    this.#cacheBytes = Math.min(bytes, this.#cacheBytes);
    this.#durable = this.#durable.slice(0, bytes);
    this.#dirty = this.#dirty.filter((range) => range.start < bytes).map((range) => ({ start: range.start, end: Math.min(range.end, bytes) }));
  }

  /** What was written before is on its way to the disk. */
  beginSync(): void {
    this.#syncing.push(...this.#dirty);
    this.#dirty = [];
  }

  endSync(): void {
    this.#persist(this.#syncing);
    this.#syncing = [];
  }

  /** The kernel forgets that the pages were dirty: they stay in the cache, and are lost with it. */
  failSync(): void {
    this.#syncing = [];
  }

  syncNow(): void {
    this.beginSync();
    this.endSync();
  }

  /** Power loss: each unsynced sector is on the disk or not; a hole in the file reads as zeroes. */
  losePower(random: Random): void {
    const lost = [...this.#syncing, ...this.#dirty];
    const keep = random.pick([0, 0.5, 0.9]);
    for (const { start, end } of lost) {
      for (let at = start; at < end;) {
        const stop = Math.min(end, at - (at % SECTOR_BYTES) + SECTOR_BYTES);
        if (random.chance(keep)) this.#persist([{ start: at, end: stop }]);
        at = stop;
      }
    }
    this.#dirty = [];
    this.#syncing = [];
    this.#cacheBytes = this.#durable.byteLength;
    this.#cache = new Uint8Array(Math.max(4096, this.#cacheBytes));
    this.#cache.set(this.#durable);
  }

  #persist(ranges: readonly Range[]): void {
    for (const { start, end } of ranges) {
      const stop = Math.min(end, this.#cacheBytes);
      if (stop <= start) continue;
      if (stop > this.#durable.byteLength) {
        const longer = new Uint8Array(stop);
        longer.set(this.#durable);
        this.#durable = longer;
      }
      this.#durable.set(this.#cache.subarray(start, stop), start);
    }
  }

  #grow(bytes: number): void {
    if (bytes > this.#cache.byteLength) {
      const longer = new Uint8Array(Math.max(bytes, 2 * this.#cache.byteLength));
      longer.set(this.#cache);
      this.#cache = longer;
    }
    this.#cacheBytes = Math.max(this.#cacheBytes, bytes);
  }
}

/** The recovery datastore of one host. */
export class SimDisk {
  readonly files = new Map<string, SimFile>();
  capacityBytes = Infinity;
  /** Milliseconds of one operation, at most. */
  latencyMsMax = 1;
  /** The next so many syncs fail. */
  failingSyncs = 0;

  get usedBytes(): number {
    let used = 0;
    for (const file of this.files.values()) used += file.sizeBytes;
    return used;
  }

  losePower(random: Random): void {
    for (const file of this.files.values()) file.losePower(random);
  }
}
