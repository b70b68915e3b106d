import { join } from 'node:path';
import type { Crc32c } from '@tidemark/base';
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentFound } from '@tidemark/journal';
import type { FileLayer, JournalHandle } from './file-layer.js';

const NAME = /^(\d{10})\.segment$/;

/** The numbered segment files of one folder. */
export class SegmentFiles {
  readonly #handles = new Map<number, Promise<JournalHandle>>();

  constructor(
    private readonly folder: string,
    private readonly files: FileLayer,
  ) {}

  /** Makes the folder when missing and reads the header of every segment in it. */
  async find(crc32c: Crc32c): Promise<SegmentFound[]> {
    await this.files.makeFolder(this.folder);
    const found: SegmentFound[] = [];
    for (const name of await this.files.list(this.folder)) {
      const number = NAME.exec(name)?.[1];
      if (number !== undefined) found.push(await this.#inspect(Number(number), crc32c));
    }
    return found;
  }

  async #inspect(segment: number, crc32c: Crc32c): Promise<SegmentFound> {
    const handle = await this.handle(segment);
    const fileBytes = await handle.size();
    if (fileBytes < SEGMENT_HEADER_BYTES) return { segment, fileBytes, header: undefined };
    const header = new Uint8Array(SEGMENT_HEADER_BYTES);
    await handle.readFully(header, 0);
    return { segment, fileBytes, header: decodeSegmentHeader(header, crc32c) };
  }

  /** The file, opened once and kept open. */
  async handle(segment: number): Promise<JournalHandle> {
    const known = this.#handles.get(segment);
    if (known !== undefined) return await known;
    const opened = this.files.open(this.#path(segment), 'readWrite');
    this.#handles.set(segment, opened);
    try {
      return await opened;
    } catch (error) {
      this.#handles.delete(segment);
      throw error;
    }
  }

  /** Makes (or replaces) the file with exactly this header: done when bytes and name are durable. */
  async create(segment: number, header: Uint8Array): Promise<void> {
    await this.#close(segment);
    const handle = await this.files.open(this.#path(segment), 'create');
    this.#handles.set(segment, Promise.resolve(handle));
    await handle.writeAll([header], 0);
    await handle.dataSync();
    await this.files.syncFolder(this.folder);
  }

  async truncate(segment: number, bytes: number): Promise<void> {
    const handle = await this.handle(segment);
    await handle.truncate(bytes);
    await handle.dataSync();
  }

  async remove(segment: number): Promise<void> {
    await this.#close(segment);
    await this.files.remove(this.#path(segment));
    await this.files.syncFolder(this.folder);
  }

  async read(segment: number, bytes: number): Promise<Uint8Array> {
    const target = new Uint8Array(bytes);
    await (await this.handle(segment)).readFully(target, 0);
    return target;
  }

  async closeAll(): Promise<void> {
    for (const segment of [...this.#handles.keys()]) await this.#close(segment);
  }

  /** The folder goes with everything in it. */
  async removeAll(): Promise<void> {
    await this.closeAll();
    await this.files.removeFolder(this.folder);
  }

  async #close(segment: number): Promise<void> {
    const handle = this.#handles.get(segment);
    this.#handles.delete(segment);
    if (handle !== undefined) await (await handle).close();
  }

  #path(segment: number): string {
    return join(this.folder, `${String(segment).padStart(10, '0')}.segment`);
  }
}
