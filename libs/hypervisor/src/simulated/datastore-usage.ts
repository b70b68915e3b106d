import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';

const STAT_BLOCK_BYTES = 512; // st_blocks counts these, whatever the file system's block is (stat(2))
/** Entries read per measurement; a folder with more keeps the sum of the first ones, which only ever reports too much free. */
const ENTRIES_MAX = 50_000;
/** An operator who frees or fills a datastore and acts at once must be judged by what is there now. */
const FRESH_MS = 200;

/** Bytes allocated on disk by everything under `folder` (sparse files count what they really hold). A missing folder holds none. */
export async function allocatedBytesUnder(folder: string, entriesMax = ENTRIES_MAX): Promise<number> {
  let sumBytes = 0;
  let entriesLeft = entriesMax;
  const seenLinks = new Set<string>();
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined && entriesLeft > 0; next = folders.pop()) {
    const paths = (await namesIn(next, entriesLeft)).map((name) => join(next, name));
    entriesLeft -= paths.length;
    const stats = await Promise.all(paths.map((path) => lstat(path).catch(() => undefined))); // undefined: gone since the folder was read
    for (const [index, stat] of stats.entries()) {
      if (!stat) continue;
      if (stat.isDirectory()) folders.push(paths[index] ?? '');
      const link = `${stat.dev}:${stat.ino}`;
      if (stat.nlink > 1 && !stat.isDirectory()) {
        if (seenLinks.has(link)) continue;
        seenLinks.add(link);
      }
      sumBytes += stat.blocks * STAT_BLOCK_BYTES;
    }
  }
  return sumBytes;
}

async function namesIn(folder: string, namesMax: number): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(folder)) {
      if (names.push(entry.name) === namesMax) break;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return names;
}

/** Remembers each folder's sum for {@link FRESH_MS}, and never measures one folder twice at the same time. */
export class DatastoreUsage {
  readonly #measured = new Map<string, { readonly startedAtMs: number; readonly bytes: Promise<number> }>();

  constructor(private readonly nowMs: () => number = () => performance.now()) {}

  allocatedBytes(folder: string): Promise<number> {
    const known = this.#measured.get(folder);
    if (known && this.nowMs() - known.startedAtMs < FRESH_MS) return known.bytes;
    const bytes = allocatedBytesUnder(folder);
    this.#measured.set(folder, { startedAtMs: this.nowMs(), bytes });
    bytes.catch(() => this.#measured.delete(folder));
    return bytes;
  }

  /** The next question is measured again: something was just created or deleted there. */
  forget(folder: string): void {
    this.#measured.delete(folder);
  }
}
