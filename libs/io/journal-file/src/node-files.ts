import { setImmediate as nextTurn } from 'node:timers/promises';
import { type FileHandle, mkdir, open, readdir, rename, rm, unlink } from 'node:fs/promises';
import { type SyncKind, type SyncLane, syncLane } from '@tidemark/sys';
import type { FileLayer, JournalHandle } from './file-layer.js';

/** writev takes at most IOV_MAX (1024) buffers. */
const CHUNKS_MAX = 512;

class NodeHandle implements JournalHandle {
  constructor(
    private readonly file: FileHandle,
    /** Of the datastore: fdatasyncs must not take all threads of the pool from guest reads and writes. */
    private readonly lane: SyncLane,
  ) {}

  async writeAll(chunks: readonly Uint8Array[], at: number): Promise<void> {
    let position = at;
    for (let i = 0; i < chunks.length; i += CHUNKS_MAX) position = await this.#writeSome(chunks.slice(i, i + CHUNKS_MAX), position);
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
    await this.lane.run(async () => await this.file.datasync());
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
    await mkdir(path, { recursive: true, mode: 0o700 });
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
  async syncFolder(path) {
    const folder = await open(path, 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  },
};

/** As {@link nodeFiles}, for the files whose fdatasync is a guest's FLUSH. */
export const scratchFiles: FileLayer = {
  ...nodeFiles,
  async open(path, mode) {
    return await openFile(path, mode === 'create' ? 'w+' : 'r+', 'guest');
  },
};
