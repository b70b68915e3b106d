import { writeSync } from 'node:fs';
import { open, readdir, readFile, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { sys } from '@tidemark/sys';
import { makeFolder, syncFolder } from '@tidemark/sys/replace-file';
import { StateFile } from './state-file.js';

/** A file of marks that is open. */
export interface MarksHandle {
  /** Whole, into the page cache; throws when it cannot be. */
  writeSector(bytes: Uint8Array, at: number): void;
  /** What was written before is durable when it resolves. */
  dataSync(): Promise<void>;
  close(): Promise<void>;
}

/** A document that is replaced as a whole, or removed: durable when it resolves, in the order of calls. */
export interface TrustFile<T> {
  /** undefined: there is none. Rejects for a damaged one. */
  load(): Promise<T | undefined>;
  save(document: T): Promise<void>;
  remove(): Promise<void>;
}

/** What an activity log needs of the disk of its host: the simulation has another one. */
export interface ActivityFiles {
  /** It and its name are durable when it resolves. */
  makeFolder(path: string): Promise<void>;
  list(folder: string): Promise<readonly string[]>;
  /** Not durably, and also when there is none. */
  remove(path: string): Promise<void>;
  read(path: string): Promise<Uint8Array>;
  open(path: string): Promise<MarksHandle>;
  /** Empty, or anew: with these bytes, they and its name durable when it resolves. */
  create(path: string, bytes: Uint8Array): Promise<MarksHandle>;
  document<T>(path: string): TrustFile<T>;
}

export const activityFiles: ActivityFiles = {
  makeFolder: async (path) => await makeFolder(path, 0o700),
  list: async (folder) => await readdir(folder),
  remove: async (path) => await rm(path, { force: true }),
  read: async (path) => await readFile(path),
  open: async (path) => marksHandle(await open(path, 'r+')),
  create,
  document: (path) => new StateFile(path, 'everything is compared'),
};

async function create(path: string, bytes: Uint8Array): Promise<MarksHandle> {
  const file = await open(path, 'w+', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
    await syncFolder(dirname(path));
  } catch (error) {
    await file.close();
    throw error;
  }
  return marksHandle(file);
}

const marksHandle = (file: FileHandle): MarksHandle => ({
  writeSector(bytes, at) {
    if (writeSync(file.fd, bytes, 0, bytes.byteLength, at) !== bytes.byteLength) throw new Error('a sector was not written whole');
  },
  dataSync: async () => await sys.fdatasync(file.fd),
  close: async () => await file.close(),
});
