import { SECTOR_BYTES } from '@tidemark/base';
import type { FileLayer, JournalHandle } from '@tidemark/journal-file';
import type { AllocationRun, Volume } from '@tidemark/volume';
import { SimFile, type SimDisk } from './disk.js';
import type { SimHost, Surroundings } from './sim-host.js';

/** A disk as one process of one host sees it: with the process its operations end, halfway if need be. */
export interface HostDisk {
  readonly host: Pick<SimHost, 'isAlive' | 'isPaused' | 'life' | 'after' | 'wallMs'>;
  readonly around: Pick<Surroundings, 'world' | 'plant'>;
  readonly disk: SimDisk;
}

export interface DiskOwner extends HostDisk {
  readonly host: SimHost & { ageNowMs(): number };
}

const errorOf = (code: 'ENOSPC' | 'EIO' | 'ENOENT'): Error => Object.assign(new Error(code), { code });

/** Does `begin` now and `end` after the disk's time, in this life of the process only: a dead one's operations never return. */
export function operation<T>({ host, around, disk }: HostDisk, begin: () => unknown, end: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    if (!host.isAlive) return;
    try {
      begin();
    } catch (error) {
      reject(error as Error);
      return;
    }
    host.after(around.world.random.below(disk.latencyMsMax), () => {
      around.world.touch();
      try {
        resolve(end());
      } catch (error) {
        reject(error as Error);
      }
    });
  });
}

/** The page cache and its faults behind the port that the real journal writes through. */
export function simFiles(owner: HostDisk): FileLayer {
  const { disk, around } = owner;
  const life = owner.host.life;
  const isOver = (): boolean => owner.host.life !== life || !owner.host.isAlive;
  const act = <T>(begin: () => void, end: () => T): Promise<T> => (isOver() ? new Promise(() => undefined) : operation(owner, begin, end));
  const nothing = (): void => undefined;
  return {
    makeFolder: () => Promise.resolve(),
    list: (folder) => Promise.resolve(disk.namesIn(folder)),
    open: (path, mode) => act(nothing, () => {
      const file = mode === 'create' ? created(disk, path) : disk.files.get(path);
      if (file === undefined) throw errorOf('ENOENT');
      return simHandle(file, { owner, act });
    }),
    remove: (path) => act(nothing, () => void disk.files.delete(path)),
    rename: (from, to) => act(nothing, () => {
      const file = disk.files.get(from);
      if (file === undefined) throw errorOf('ENOENT');
      disk.files.delete(from);
      disk.files.set(to, file);
    }),
    giveWay: () => Promise.resolve(),
    removeFolder: (path) => act(nothing, () => {
      for (const name of disk.namesIn(path)) disk.files.delete(`${path}/${name}`);
      disk.syncNames(path);
    }),
    syncFolder: (path) => act(nothing, () => {
      if (around.plant?.flag !== 'foldersUnsynced') disk.syncNames(path);
    }),
  };
}

function created(disk: SimDisk, path: string): SimFile {
  const file = disk.files.get(path) ?? new SimFile();
  if (file.sizeBytes > 0) file.truncate(0);
  disk.files.set(path, file);
  return file;
}

type Act = <T>(begin: () => void, end: () => T) => Promise<T>;

function simHandle(file: SimFile, { owner, act }: { readonly owner: HostDisk; readonly act: Act }): JournalHandle {
  const { disk, around } = owner;
  const { random } = around.world;
  const nothing = (): void => undefined;
  return {
    writeAll(chunks, at) {
      const bytes = joined(chunks);
      const roomBytes = disk.capacityBytes - disk.usedBytes + Math.max(0, file.sizeBytes - at);
      const failure = bytes.byteLength > roomBytes ? 'ENOSPC' : disk.failingAppends > 0 ? 'EIO' : undefined;
      if (failure === 'EIO') {
        disk.failingAppends -= 1;
        disk.hasFailed = true;
      }
      // What fails leaves a part behind; what a crash interrupts does too.
      const wholeBytes = failure === undefined ? bytes.byteLength : random.int(Math.max(1, Math.min(roomBytes, bytes.byteLength)));
      const firstBytes = random.int(wholeBytes + 1);
      return act(() => file.write(at, bytes.subarray(0, firstBytes)), () => {
        file.write(at + firstBytes, bytes.subarray(firstBytes, wholeBytes));
        if (failure !== undefined) throw errorOf(failure);
      });
    },
    readFully: (target, at) => act(nothing, () => {
      const bytes = file.readMedium(at, at + target.byteLength);
      if (bytes === undefined || bytes.byteLength < target.byteLength) throw errorOf('EIO');
      target.set(bytes);
    }),
    size: () => act(nothing, () => file.sizeBytes),
    truncate: (bytes) => act(nothing, () => file.truncate(bytes)),
    dataSync() {
      if (around.plant?.flag === 'journalUnsynced') return act(nothing, nothing);
      return act(() => file.beginSync(), () => {
        if (disk.failingSyncs > 0) {
          disk.failingSyncs -= 1;
          disk.hasFailedSync = true;
          disk.hasFailed = true;
          file.failSync();
          throw errorOf('EIO');
        }
        file.endSync();
      });
    },
    dropCache: () => file.dropCache(),
    close: () => Promise.resolve(),
  };
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** A mirror volume: writes go to the page cache, flush makes them durable. */
export class SimMirror implements Volume {
  readonly isReadOnly = false;

  constructor(private readonly owner: HostDisk, readonly file: SimFile) {}

  get sizeBytes(): number {
    return this.file.sizeBytes;
  }

  read(offset: number, target: Uint8Array): void {
    const bytes = this.file.readMedium(offset, offset + target.byteLength);
    if (bytes !== undefined) target.set(bytes);
    else if (this.owner.around.plant?.flag === 'unreadableIsZeroes') target.fill(0);
    else throw errorOf('EIO');
  }

  write(offset: number, source: Uint8Array): void | Promise<void> {
    // In two steps now and then: a crash finds the first sectors of it done. A sector is written whole or not at all: by a disk, and by the kernel, which copies pages.
    const firstBytes = Math.floor(source.byteLength / 2 / SECTOR_BYTES) * SECTOR_BYTES;
    if (firstBytes === 0 || !this.owner.around.world.random.chance(0.2)) return this.file.write(offset, source);
    return operation(this.owner, () => this.file.write(offset, source.subarray(0, firstBytes)), () => this.file.write(offset + firstBytes, source.subarray(firstBytes)));
  }

  writeZeroes(offset: number, length: number): void {
    this.file.zero(offset, length);
  }

  async flush(): Promise<void> {
    if (this.owner.around.plant?.flag === 'mirrorUnsynced') return;
    await operation(this.owner, () => this.file.beginSync(), () => this.file.endSync());
  }

  allocation(_offset: number, length: number): AllocationRun[] {
    return [{ length, isHole: false, isZero: false }];
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
