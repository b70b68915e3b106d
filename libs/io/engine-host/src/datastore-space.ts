import { readdir, lstat } from 'node:fs/promises';
import { join } from 'node:path';

const REFRESH_MS = 2000;
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

/** Free space of a datastore by its declared capacity, measured every two seconds: an append may ask without waiting. */
export class DatastoreSpace {
  #freeBytes: number;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(
    readonly path: string,
    public capacityBytes: number,
  ) {
    this.#freeBytes = capacityBytes;
  }

  static async open(path: string, capacityBytes: number): Promise<DatastoreSpace> {
    const space = new DatastoreSpace(path, capacityBytes);
    await space.#measure();
    return space;
  }

  /** As measured last: capacity − allocated, never below 0. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  async #measure(): Promise<void> {
    try {
      this.#freeBytes = Math.max(0, this.capacityBytes - (await allocatedBytes(this.path)));
    } catch {
      // The datastore cannot be read: the journal's own append will say so; the last measure stands.
    }
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.#measure(), REFRESH_MS);
    this.#timer.unref();
  }
}
