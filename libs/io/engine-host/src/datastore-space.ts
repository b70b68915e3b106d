import { readdir, lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { guardBytesOf } from './space-limits.js';

const REFRESH_MS = 2000;
const REFRESH_MS_MIN = 100;
/** What others than this VRA may write to a datastore while it is not measured: 1 GiB/s. Measured as much oftener as the guard comes nearer. */
const FOREIGN_BYTES_PER_MS = (1024 * 1024 * 1024) / 1000;
/** Never less, however small the datastore: a file system filled to the last byte would stop mirrors and scratch too. */
const GUARD_BYTES_MIN = 16 * 1024 * 1024;
const STAT_UNIT_BYTES = 512; // st_blocks, stat(2)

/** Bytes allocated under `folder`, as `du` counts them. Names that vanish meanwhile count nothing. */
export async function allocatedBytes(folder: string): Promise<number> {
  let entries;
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
  let total = 0;
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) total += await allocatedBytes(path);
    else if (entry.isFile()) total += await blocksOf(path);
  }
  return total;
}

async function blocksOf(path: string): Promise<number> {
  try {
    return (await lstat(path)).blocks * STAT_UNIT_BYTES;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

/**
 * Free space of a datastore by its declared capacity: measured at least every two seconds, and less what this VRA has written since the measuring
 * began (callers say so: {@link charge}). So an append may ask without waiting, and no burst between two measurements passes the guard.
 */
export class DatastoreSpace {
  #measuredBytes: number;
  /** Written since the last measurement but one began: what was under way when the last one began may not be in it. Rather too little free than too much. */
  #olderBytes = 0;
  #chargedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(
    readonly path: string,
    public capacityBytes: number,
  ) {
    this.#measuredBytes = 0;
  }

  static async open(path: string, capacityBytes: number): Promise<DatastoreSpace> {
    const space = new DatastoreSpace(path, capacityBytes);
    await space.#measure();
    return space;
  }

  /** Capacity − allocated − charged since, never below 0. */
  get freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.#measuredBytes - this.#olderBytes - this.#chargedBytes);
  }

  /** To be left free: 30 GiB or 15 %, whichever is smaller. */
  get guardBytes(): number {
    return Math.max(GUARD_BYTES_MIN, guardBytesOf(this.capacityBytes));
  }

  /** What journals and scratch may still take. */
  get roomBytes(): number {
    return Math.max(0, this.freeBytes - this.guardBytes);
  }

  /** So many bytes are about to be written here. */
  charge(bytes: number): void {
    this.#chargedBytes += bytes;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #measure(): Promise<void> {
    const chargedBefore = this.#chargedBytes;
    try {
      this.#measuredBytes = await allocatedBytes(this.path);
      this.#chargedBytes -= chargedBefore;
      this.#olderBytes = chargedBefore;
    } catch {
      // The datastore cannot be read: the journal's own append will say so; the last measure stands.
    }
    if (this.#isClosed) return;
    const waitMs = Math.max(REFRESH_MS_MIN, Math.min(REFRESH_MS, this.roomBytes / FOREIGN_BYTES_PER_MS));
    this.#timer = setTimeout(() => void this.#measure(), waitMs);
    this.#timer.unref();
  }
}
