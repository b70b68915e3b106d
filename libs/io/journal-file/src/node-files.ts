import { setImmediate as nextTurn } from 'node:timers/promises';
import { type FileHandle, open, readdir, rename, rm, unlink } from 'node:fs/promises';
import { KiB } from '@tidemark/base';
import { sys, type SyncKind, type SyncLane, syncLane } from '@tidemark/sys';
import { makeFolder, syncFolder } from '@tidemark/sys/replace-file';
import type { FileLayer, JournalHandle } from './file-layer.js';

/** writev takes at most IOV_MAX (1024) buffers. */
const CHUNKS_MAX = 512;

const PAGE_BYTES = 4096;
/** Dropped at a time: a call for less is not worth it. */
const DROP_BYTES_MIN = 256 * KiB;
/** The page that the next append goes on with stays: else it would have to be read first. */
const wholePages = (bytes: number): number => bytes - (bytes % PAGE_BYTES);

class NodeHandle implements JournalHandle {
  /** The page cache holds nothing of what was written below, and may hold something up to the other. */
  #droppedTo = 0;
  #writtenTo = 0;

  constructor(
    private readonly file: FileHandle,
    /** Of the datastore: fdatasyncs must not take all threads of the pool from guest reads and writes. */
    private readonly lane: SyncLane,
  ) {}

  async writeAll(chunks: readonly Uint8Array[], at: number): Promise<void> {
    let position = at;
    for (let i = 0; i < chunks.length; i += CHUNKS_MAX) position = await this.#writeSome(chunks.slice(i, i + CHUNKS_MAX), position);
    this.#droppedTo = Math.min(this.#droppedTo, wholePages(at));
    this.#writtenTo = Math.max(this.#writtenTo, position);
  }

  async #writeSome(chunks: Uint8Array[], at: number): Promise<number> {
    let rest = chunks;
    let position = at;
    while (rest.length > 0) {
      const { bytesWritten } = await this.file.writev(rest, position);
      position += bytesWritten;
      rest = withoutFirst(rest, bytesWritten);
    }
    return position;
  }

  async readFully(target: Uint8Array, at: number): Promise<void> {
    let done = 0;
    while (done < target.byteLength) {
      const { bytesRead } = await this.file.read(target, done, target.byteLength - done, at + done);
      if (bytesRead === 0) throw new Error(`file ends at byte ${at + done}`);
      done += bytesRead;
    }
  }

  async size(): Promise<number> {
    return (await this.file.stat()).size;
  }

  async truncate(bytes: number): Promise<void> {
    await this.file.truncate(bytes);
  }

  async dataSync(): Promise<void> {
    const writtenTo = wholePages(this.#writtenTo);
    await this.lane.run(async () => await this.file.datasync());
    this.#dropUpTo(writtenTo);
  }

  /**
   * What is durable is not read again for hours, if ever. Its pages are given back, and taken again for what comes next: fresh ones cost up to half of the recovering VRA's CPU at
   * 1 MiB, most where a hypervisor has to find them, and they would drive the guests' own pages out.
   */
  #dropUpTo(end: number): void {
    const length = end - this.#droppedTo;
    if (!sys.isAvailable || length < DROP_BYTES_MIN) return;
    sys.dropCache(this.file.fd, { offset: this.#droppedTo, length });
    this.#droppedTo = end;
  }

  dropCache(): void {
    if (sys.isAvailable) sys.dropCache(this.file.fd);
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

function withoutFirst(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  const rest: Uint8Array[] = [];
  for (const chunk of chunks) {
    if (left < chunk.byteLength) rest.push(chunk.subarray(left));
    left = Math.max(0, left - chunk.byteLength);
  }
  return rest;
}

async function openFile(path: string, flags: string, kind: SyncKind): Promise<NodeHandle> {
  const file = await open(path, flags, 0o600);
  try {
    return new NodeHandle(file, syncLane((await file.stat()).dev, kind));
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The real file system. */
export const nodeFiles: FileLayer = {
  async makeFolder(path) {
    await makeFolder(path, 0o700);
  },
  async list(folder) {
    return (await readdir(folder)).sort();
  },
  async open(path, mode) {
    return await openFile(path, mode === 'create' ? 'w+' : 'r+', 'journal');
  },
  async remove(path) {
    await unlink(path);
  },
  async rename(from, to) {
    await rename(from, to);
  },
  async giveWay() {
    await nextTurn();
  },
  async removeFolder(path) {
    await rm(path, { recursive: true, force: true });
  },
  syncFolder,
};

/** As {@link nodeFiles}, for the files whose fdatasync is a guest's FLUSH. */
export const scratchFiles: FileLayer = {
  ...nodeFiles,
  async open(path, mode) {
    return await openFile(path, mode === 'create' ? 'w+' : 'r+', 'guest');
  },
};
