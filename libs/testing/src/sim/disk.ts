import { SECTOR_BYTES } from '@tidemark/base';
import type { Random } from './random.js';

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Bytes that grow by doubling. */
class Growing {
  #bytes = new Uint8Array(4096);
  length = 0;

  view(start: number, end: number): Uint8Array {
    return this.#bytes.subarray(start, Math.min(end, this.length));
  }

  reach(end: number): void {
    if (end > this.#bytes.byteLength) {
      const longer = new Uint8Array(Math.max(end, 2 * this.#bytes.byteLength));
      longer.set(this.#bytes.subarray(0, this.length));
      this.#bytes = longer;
    }
    this.length = Math.max(this.length, end);
  }

  set(bytes: Uint8Array, offset: number): void {
    this.reach(offset + bytes.byteLength);
    this.#bytes.set(bytes, offset);
  }

  fill(start: number, end: number): void {
    this.reach(end);
    this.#bytes.fill(0, start, end);
  }

  cut(bytes: number): void {
    if (bytes >= this.length) return;
    this.#bytes.fill(0, bytes, this.length);
    this.length = bytes;
  }

  flip(at: number): void {
    const byte = this.#bytes[at];
    if (byte !== undefined && at < this.length) this.#bytes[at] = byte ^ 0x10;
  }
}

function copied(from: Growing): Growing {
  const copy = new Growing();
  copy.set(from.view(0, from.length), 0);
  return copy;
}

/** A file in a page cache over a disk: what was not synced may be lost, in part, sector by sector, in any order. */
export class SimFile {
  readonly #cache = new Growing();
  readonly #durable = new Growing();
  #dirty: Range[] = [];
  #syncing: Range[] = [];
  /** A cut that no sync has covered yet; undefined: none. */
  #cutTo: number | undefined;
  #syncingCutTo: number | undefined;
  /** Grows with every change that is not an append: who remembers parts of the file begins anew. */
  version = 0;
  /** Sectors that cannot be read until they are written anew; what they held is still below. */
  readonly #unreadable = new Set<number>();
  /** What was written, where the medium has put some of it elsewhere: nobody reads it but the oracle. */
  #pristine: Growing | undefined;

  constructor(sizeBytes = 0) {
    this.#cache.reach(sizeBytes);
    this.#durable.reach(sizeBytes);
  }

  get sizeBytes(): number {
    return this.#cache.length;
  }

  /** A view: valid until the next write. */
  read(start: number, end: number): Uint8Array {
    return this.#cache.view(start, end);
  }

  /** For the oracle: what would be here if the medium had put everything where it belongs. */
  readPristine(start: number, end: number): Uint8Array {
    return (this.#pristine ?? this.#cache).view(start, end);
  }

  /** What belongs at `from` went to `to`, and the intended place has what it had before anybody wrote there. The page cache may have it right, until it is dropped. */
  misdirect({ from, to, bytes }: { readonly from: number; readonly to: number; readonly bytes: number }, isCachedRight: boolean): void {
    const whole = this.#durable.view(from, from + bytes).slice();
    this.#pristine ??= copied(this.#cache);
    this.version += 1;
    for (const medium of isCachedRight ? [this.#durable] : [this.#durable, this.#cache]) {
      medium.fill(from, from + bytes);
      medium.set(whole, to);
    }
  }

  /** Nothing of it waits for a sync. */
  get isDurable(): boolean {
    return this.#dirty.length === 0 && this.#syncing.length === 0 && this.#cutTo === undefined && this.#syncingCutTo === undefined;
  }

  /** As somebody reads it who depends on the medium; undefined: a sector of it cannot be read. */
  readMedium(start: number, end: number): Uint8Array | undefined {
    if (this.#unreadable.size > 0) for (let at = Math.floor(start / SECTOR_BYTES); at * SECTOR_BYTES < end; at += 1) if (this.#unreadable.has(at)) return undefined;
    return this.#cache.view(start, end);
  }

  get hasUnreadable(): boolean {
    return this.#unreadable.size > 0;
  }

  becomesUnreadable(at: number): void {
    this.#unreadable.add(Math.floor(at / SECTOR_BYTES));
  }

  /** The medium gives back what it has. */
  becomesReadable(): void {
    this.#unreadable.clear();
  }

  /** A disk puts a sector that is written whole elsewhere. */
  #renewed(start: number, end: number): void {
    if (this.#unreadable.size === 0) return;
    for (const sector of this.#unreadable) if (sector * SECTOR_BYTES >= start && (sector + 1) * SECTOR_BYTES <= end) this.#unreadable.delete(sector);
  }

  /** Its new size is durable when this returns. */
  grow(sizeBytes: number): void {
    this.#cache.reach(sizeBytes);
    this.#durable.reach(sizeBytes);
  }

  copy(): Uint8Array {
    return this.#cache.view(0, this.#cache.length).slice();
  }

  write(offset: number, bytes: Uint8Array): void {
    if (offset < this.#cache.length) this.version += 1;
    this.#cache.set(bytes, offset);
    this.#pristine?.set(bytes, offset);
    this.#renewed(offset, offset + bytes.byteLength);
    this.#dirty.push({ start: offset, end: offset + bytes.byteLength });
  }

  zero(offset: number, length: number): void {
    if (offset < this.#cache.length) this.version += 1;
    this.#cache.fill(offset, offset + length);
    this.#pristine?.fill(offset, offset + length);
    this.#renewed(offset, offset + length);
    this.#dirty.push({ start: offset, end: offset + length });
  }

  truncate(bytes: number): void {
    this.version += 1;
    this.#cache.cut(bytes);
    this.#pristine?.cut(bytes);
    this.#renewed(bytes, Infinity);
    this.#cutTo = Math.min(bytes, this.#cutTo ?? Infinity);
    this.#dirty = this.#dirty.filter((range) => range.start < bytes).map((range) => ({ start: range.start, end: Math.min(range.end, bytes) }));
  }

  /** What was written before is on its way to the disk. */
  beginSync(): void {
    this.#syncing.push(...this.#dirty);
    this.#dirty = [];
    if (this.#cutTo !== undefined) this.#syncingCutTo = Math.min(this.#cutTo, this.#syncingCutTo ?? Infinity);
    this.#cutTo = undefined;
  }

  endSync(): void {
    this.#cut(this.#syncingCutTo);
    this.#syncingCutTo = undefined;
    this.#persist(this.#syncing);
    this.#syncing = [];
  }

  /** The kernel forgets that the pages were dirty: they stay in the cache, and are lost with it. */
  failSync(): void {
    this.#syncing = [];
  }

  /** Clean pages are read from the disk again; those of a sync that failed count as clean. */
  dropCache(): void {
    const kept = [...this.#dirty, ...this.#syncing].map(({ start, end }) => ({ start, bytes: this.#cache.view(start, end).slice() }));
    const onDisk = this.#durable.view(0, this.#cache.length);
    this.version += 1;
    this.#cache.fill(0, this.#cache.length);
    this.#cache.set(onDisk, 0);
    for (const { start, bytes } of kept) this.#cache.set(bytes, start);
  }

  syncNow(): void {
    this.beginSync();
    this.endSync();
  }

  /** Power loss: each unsynced sector is on the disk or not; a hole in the file reads as zeroes. */
  losePower(random: Random): void {
    this.version += 1;
    if (random.chance(0.5)) this.#cut(Math.min(this.#cutTo ?? Infinity, this.#syncingCutTo ?? Infinity));
    this.#cutTo = undefined;
    this.#syncingCutTo = undefined;
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
    this.#cache.cut(0);
    this.#cache.set(this.#durable.view(0, this.#durable.length), 0);
  }

  /** A bit that turned on the medium: cache and disk agree on the wrong byte. */
  rot(at: number): void {
    this.version += 1;
    this.#cache.flip(at);
    this.#durable.flip(at);
  }

  #cut(bytes: number | undefined): void {
    if (bytes !== undefined) this.#durable.cut(bytes);
  }

  #persist(ranges: readonly Range[]): void {
    for (const { start, end } of ranges) {
      const stop = Math.min(end, this.#cache.length);
      if (stop > start) this.#durable.set(this.#cache.view(start, stop), start);
    }
  }
}

/** The recovery datastore of one host: files, and names that are durable only after their folder was synced. */
export class SimDisk {
  readonly files = new Map<string, SimFile>();
  readonly #durableNames = new Map<string, SimFile>();
  capacityBytes = Infinity;
  /** Its capacity when nobody else fills it. */
  datastoreBytes = Infinity;
  /** Milliseconds of one operation, at most. */
  latencyMsMax = 1;
  /** The next so many syncs, and appends, fail. */
  failingSyncs = 0;
  failingAppends = 0;
  /** An fsync has failed: what it was for may be in the page cache and nowhere else, whatever later ones say. */
  hasFailedSync = false;
  /** An append has failed, or a sync. */
  hasFailed = false;

  get usedBytes(): number {
    let used = 0;
    for (const file of this.files.values()) used += file.sizeBytes;
    return used;
  }

  namesIn(folder: string): string[] {
    const prefix = `${folder}/`;
    return [...this.files.keys()].filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length)).filter((name) => !name.includes('/')).sort();
  }

  /** A file that is there from the beginning, its name durable. */
  ensure(path: string, sizeBytes: number): SimFile {
    const known = this.files.get(path);
    if (known !== undefined) return known;
    const file = new SimFile(sizeBytes);
    this.files.set(path, file);
    this.#durableNames.set(path, file);
    return file;
  }

  /** A file that another process had before, its name durable. */
  adopt(path: string, file: SimFile): void {
    this.files.set(path, file);
    this.#durableNames.set(path, file);
  }

  syncNames(folder: string): void {
    const prefix = `${folder}/`;
    for (const path of [...this.#durableNames.keys()]) if (path.startsWith(prefix) && !this.files.has(path)) this.#durableNames.delete(path);
    for (const [path, file] of this.files) if (path.startsWith(prefix)) this.#durableNames.set(path, file);
  }

  has(prefix: string): boolean {
    return [...this.files.keys()].some((path) => path.startsWith(prefix));
  }

  /** Another host opens these files, on a datastore that both see. What was not synced is there too, or is lost as with the power of this host. */
  handOver(prefix: string, to: SimDisk, random: Random): void {
    if (random.chance(0.5)) this.losePower(random, prefix);
    for (const [files, theirs] of [[this.files, to.files], [this.#durableNames, to.#durableNames]] as const) {
      for (const [path, file] of [...files]) {
        if (!path.startsWith(prefix)) continue;
        files.delete(path);
        theirs.set(path, file);
      }
    }
  }

  losePower(random: Random, prefix = ''): void {
    const paths = new Set([...this.files.keys(), ...this.#durableNames.keys()].filter((path) => path.startsWith(prefix)));
    for (const path of paths) {
      const [cached, durable] = [this.files.get(path), this.#durableNames.get(path)];
      // A name that was changed and not synced: the disk has the one or the other.
      const survivor = cached === durable || random.chance(0.5) ? durable : cached;
      if (survivor === undefined) this.files.delete(path);
      else this.files.set(path, survivor);
    }
    for (const [path, file] of this.files) {
      if (!path.startsWith(prefix)) continue;
      file.losePower(random);
      this.#durableNames.set(path, file);
    }
    for (const path of [...this.#durableNames.keys()]) if (!this.files.has(path)) this.#durableNames.delete(path);
  }
}
