import { join } from 'node:path';
import type { Crc32c } from '@tidemark/base';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentFound } from '@tidemark/journal';
import type { FileLayer, JournalHandle } from './file-layer.js';

const NAME = /^(\d{10})\.segment$/;
/** What a compaction was writing when it was killed. */
const TEMPORARY = '.segment.temp';

/** Open at once, of one journal; a view may read any of hundreds. */
const HANDLES_MAX = 48;

interface Opened {
  readonly handle: Promise<JournalHandle>;
  users: number;
}

/** The numbered segment files of one folder. */
export class SegmentFiles {
  /** Least recently used first. */
  readonly #opened = new Map<number, Opened>();

  constructor(
    private readonly folder: string,
    private readonly files: FileLayer,
  ) {}

  /**
   * Makes the folder when missing and reads the header of every segment in it: of the newest one, whose first sync may have failed, past the page cache. Throws
   * JOURNAL_VERSION for a segment of another version; nothing has been changed then.
   */
  async find(crc32c: Crc32c): Promise<SegmentFound[]> {
    await this.files.makeFolder(this.folder);
    const found: SegmentFound[] = [];
    const names = await this.files.list(this.folder);
    const numbers = names.flatMap((name) => Number(NAME.exec(name)?.[1] ?? NaN)).filter((number) => !Number.isNaN(number));
    const newest = Math.max(...numbers);
    for (const number of numbers) {
      found.push(await this.use(number, async (handle) => {
        if (number === newest) handle.dropCache();
        return await inspect(handle, number, crc32c);
      }));
    }
    for (const name of names) if (name.endsWith(TEMPORARY)) await this.files.remove(join(this.folder, name));
    // A process that was killed between making a file and syncing its folder left a name that a power loss takes away, with all that would be acknowledged in that file.
    if (found.length > 0) await this.files.syncFolder(this.folder);
    return found;
  }

  /** Calls `act` with the file, which stays open for the next one as long as few others are used. */
  async use<T>(segment: number, act: (handle: JournalHandle) => Promise<T>): Promise<T> {
    const opened = this.#opened.get(segment) ?? { handle: this.files.open(this.#path(segment), 'readWrite'), users: 0 };
    this.#opened.delete(segment);
    this.#opened.set(segment, opened);
    opened.users += 1;
    try {
      return await act(await this.#handleOf(segment, opened));
    } finally {
      opened.users -= 1;
      await this.#closeOld();
    }
  }

  async #handleOf(segment: number, opened: Opened): Promise<JournalHandle> {
    try {
      return await opened.handle;
    } catch (error) {
      if (this.#opened.get(segment) === opened) this.#opened.delete(segment);
      throw error;
    }
  }

  async #closeOld(): Promise<void> {
    for (const [segment, { users }] of this.#opened) {
      if (this.#opened.size <= HANDLES_MAX) return;
      if (users === 0) await this.#close(segment);
    }
  }

  /** Makes (or replaces) the file with exactly this header: done when bytes and name are durable. */
  async create(segment: number, header: Uint8Array): Promise<void> {
    await this.#close(segment);
    const handle = await this.files.open(this.#path(segment), 'create');
    this.#opened.set(segment, { handle: Promise.resolve(handle), users: 0 });
    await handle.writeAll([header], 0);
    await handle.dataSync();
    await this.files.syncFolder(this.folder);
  }

  /** Where the bytes are written that are to take this segment's place. */
  temporaryPath(segment: number): string {
    return `${this.#path(segment)}.temp`;
  }

  /** The files under their temporary names, whole and durable, take the place of these segments; durable when done. */
  async replace(segments: readonly number[]): Promise<void> {
    for (const segment of segments) {
      await this.#close(segment);
      await this.files.rename(this.temporaryPath(segment), this.#path(segment));
    }
    await this.files.syncFolder(this.folder);
  }

  async truncate(segment: number, bytes: number): Promise<void> {
    await this.use(segment, async (handle) => {
      await handle.truncate(bytes);
      await handle.dataSync();
    });
  }

  async remove(segment: number): Promise<void> {
    await this.#close(segment);
    await this.files.remove(this.#path(segment));
    await this.files.syncFolder(this.folder);
  }

  async read(segment: number, bytes: number): Promise<Uint8Array> {
    const target = new Uint8Array(bytes);
    await this.use(segment, async (handle) => await handle.readFully(target, 0));
    return target;
  }

  /** As {@link read}, past the page cache: after an fsync that failed it shows what was never written, until a power loss. */
  async readFromDisk(segment: number, bytes: number): Promise<Uint8Array> {
    await this.use(segment, (handle) => Promise.resolve(handle.dropCache()));
    return await this.read(segment, bytes);
  }

  async closeAll(): Promise<void> {
    for (const segment of [...this.#opened.keys()]) await this.#close(segment);
  }

  /** The folder goes with everything in it. */
  async removeAll(): Promise<void> {
    await this.closeAll();
    await this.files.removeFolder(this.folder);
  }

  async #close(segment: number): Promise<void> {
    const opened = this.#opened.get(segment);
    this.#opened.delete(segment);
    if (opened !== undefined) await (await opened.handle).close();
  }

  #path(segment: number): string {
    return join(this.folder, `${String(segment).padStart(10, '0')}.segment`);
  }
}

async function inspect(handle: JournalHandle, segment: number, crc32c: Crc32c): Promise<SegmentFound> {
  const fileBytes = await handle.size();
  if (fileBytes < SEGMENT_HEADER_BYTES) return { segment, fileBytes, header: undefined };
  const header = new Uint8Array(SEGMENT_HEADER_BYTES);
  await handle.readFully(header, 0);
  return { segment, fileBytes, header: decodeSegmentHeader(header, crc32c) };
}
