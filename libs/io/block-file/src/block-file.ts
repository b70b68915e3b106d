import type { FileHandle } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import type { Done } from '@tidemark/base';
import { sys as systemSys, type Sys, SysError, type SyncLane, syncLane } from '@tidemark/sys';
import { type AllocationRun, assertInVolume, checkOpen, checkWritable, type ReadOptions, type Volume, VolumeError, type WriteOptions, type WriteZeroesOptions } from '@tidemark/volume';
import { DirectReads } from './direct-reads.js';
import { allData, allocationOf } from './file-allocation.js';
import { volumeErrorOf } from './file-errors.js';
import { type BlockFileOptions, checkedStat, growFile, lockFile, openOrCreate, shrinkFile } from './open-file.js';
import { readWhole, writeWhole, writeWholeSync } from './raw-file.js';
import { SyncBudget } from './sync-budget.js';

/** 64 KiB are some 20 µs of copying into the page cache: less than the hop to the thread pool and back. */
const SYNC_BYTES_MAX = 64 * 1024;
/** Freeing this much takes well under a millisecond on ext4 and xfs; more is freed in a thread. */
const SYNC_PUNCH_BYTES_MAX = 4 * 1024 * 1024;
const ZEROES = new Uint8Array(1024 * 1024);

/** A volume over a raw sparse file. */
export class BlockFile implements Volume {
  readonly path: string;
  #sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly isSourceFreeWhenDone = true;
  readonly #file: FileHandle;
  readonly #fd: number;
  readonly #sys: Sys;
  readonly #syncLane: SyncLane;
  readonly #directReads: DirectReads;
  readonly #budget = new SyncBudget();
  #canReadCached: boolean;
  #canPunch: boolean;
  #canZeroRange: boolean;
  #isClosed = false;
  #inFlight = 0;
  #onIdle: (() => void) | undefined;
  #flushError: VolumeError | undefined;
  #nextFlush: Promise<void> | undefined;
  #currentFlush: Promise<void> | undefined;

  private constructor(opened: { file: FileHandle; sizeBytes: number; device: number; options: BlockFileOptions }) {
    const { file, sizeBytes, device, options } = opened;
    this.#file = file;
    this.#fd = file.fd;
    this.#sys = options.sys ?? systemSys;
    this.#syncLane = syncLane(device, 'guest');
    this.#directReads = new DirectReads(this.#sys, { fd: file.fd, device });
    this.#canReadCached = this.#canPunch = this.#canZeroRange = this.#sys.isAvailable;
    this.path = options.path;
    this.#sizeBytes = options.isLongerFine === true ? (options.sizeBytes ?? sizeBytes) : sizeBytes;
    this.isReadOnly = options.isReadOnly;
  }

  /** Throws {@link VolumeError}: `VOLUME_NOT_FOUND`, `VOLUME_SIZE`, `VOLUME_BUSY`, `VOLUME_FULL`, `VOLUME_READ_ONLY` or `VOLUME_IO`. */
  static async open(options: BlockFileOptions): Promise<BlockFile> {
    const file = await openOrCreate(options).catch((error: unknown) => {
      throw volumeErrorOf(error, `open ${options.path}`);
    });
    try {
      const { size, dev } = await checkedStat(file, options);
      lockFile(file, options);
      return new BlockFile({ file, sizeBytes: size, device: dev, options });
    } catch (error) {
      await file.close();
      throw volumeErrorOf(error, `open ${options.path}`);
    }
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /**
   * Makes the volume larger, under its users; what is new reads as zeroes. The file grows with it, durably, unless somebody else has
   * made it as long already (a hypervisor its disk, an earlier try). Throws `VOLUME_SIZE` for a smaller size.
   */
  async grow(sizeBytes: number): Promise<void> {
    checkOpen(this.#isClosed);
    if (sizeBytes < this.#sizeBytes) throw new VolumeError('VOLUME_SIZE', `${this.path} has ${String(this.#sizeBytes)} bytes and does not shrink to ${String(sizeBytes)}`);
    if (sizeBytes === this.#sizeBytes) return;
    await this.#tracked(growFile(this.#file, sizeBytes), 'grow');
    this.#sizeBytes = Math.max(sizeBytes, this.#sizeBytes);
  }

  /**
   * Makes the volume smaller and cuts its file, durably, also one that is longer than the volume was. Repeat it after a failure. Throws `VOLUME_SIZE` for a
   * larger size.
   */
  async shrink(sizeBytes: number): Promise<void> {
    checkOpen(this.#isClosed);
    if (sizeBytes > this.#sizeBytes) throw new VolumeError('VOLUME_SIZE', `${this.path} has ${String(this.#sizeBytes)} bytes and does not shrink to ${String(sizeBytes)}`);
    this.#sizeBytes = sizeBytes;
    await this.#tracked(shrinkFile(this.#file, sizeBytes), 'shrink');
  }

  /** What other hosts wrote is read from the disk from now on. Where the machine cannot do that, nothing is cached between hosts by contract. */
  dropCache(): void {
    if (this.#sys.isAvailable) this.#sys.dropCache(this.#fd);
  }

  /** Writes on the event loop that took longer than 5 ms; each sends the next ones to the thread pool for a while. */
  get slowSyncWriteCount(): number {
    return this.#budget.slowCount;
  }

  read(offset: number, target: Uint8Array, options?: ReadOptions): Done {
    checkOpen(this.#isClosed);
    assertInVolume(this, offset, target.length);
    if (options?.isOnce === true && this.#directReads.canTry(offset, target)) return this.#tracked(this.#readOnce(offset, target), 'read');
    // A read from the page cache without a hop: 1 µs instead of 50 at queue depth 1. RWF_NOWAIT never waits for the disk.
    const cachedBytes = target.length <= SYNC_BYTES_MAX && this.#canReadCached ? this.#readCached(offset, target) : 0;
    if (cachedBytes === target.length) return;
    return this.#tracked(readWhole(this.#fd, target.subarray(cachedBytes), offset + cachedBytes), 'read');
  }

  write(offset: number, source: Uint8Array, options?: WriteOptions): Done {
    checkWritable(this, this.#isClosed);
    assertInVolume(this, offset, source.length);
    if (options?.isFua === true) return this.#writeDurable(offset, source);
    return this.#write(offset, source);
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Done {
    checkWritable(this, this.#isClosed);
    assertInVolume(this, offset, length);
    if (length === 0) return;
    if (options?.mayUnmap === true && options.isFua !== true && length <= SYNC_PUNCH_BYTES_MAX && this.#punched(offset, length)) return;
    return this.#tracked(this.#zeroLater(offset, length, options), 'write zeroes');
  }

  /** fdatasync. After one that failed, every later one fails too: the kernel forgets which pages it could not write. */
  flush(): Promise<void> {
    try {
      checkOpen(this.#isClosed);
    } catch (error) {
      return Promise.reject(error as VolumeError);
    }
    return this.#flush();
  }

  allocation(offset: number, length: number): AllocationRun[] | Promise<AllocationRun[]> {
    checkOpen(this.#isClosed);
    assertInVolume(this, offset, length);
    if (!this.#sys.isAvailable) return allData(length);
    return this.#tracked(this.#allocation(offset, length), 'allocation');
  }

  /** Waits for what is in flight. Does not flush. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#directReads.close();
    await this.#file.close();
  }

  /** What a direct read did not bring comes from the page cache, which has it when that was the reason; and the error of a bad disk comes again, and is reported. */
  async #readOnce(offset: number, target: Uint8Array): Promise<void> {
    const directBytes = await this.#directReads.read(offset, target);
    if (directBytes < target.length) await readWhole(this.#fd, target.subarray(directBytes), offset + directBytes);
  }

  #readCached(offset: number, target: Uint8Array): number {
    try {
      return this.#sys.readCached(this.#fd, target, offset);
    } catch (error) {
      if (isUnsupported(error)) this.#canReadCached = false;
      return 0; // any other error comes again, and is reported, from the read that follows
    }
  }

  #write(offset: number, source: Uint8Array): Done {
    if (source.length <= SYNC_BYTES_MAX) {
      const startedAtMs = performance.now();
      if (this.#budget.isSyncAllowed(startedAtMs)) {
        try {
          writeWholeSync(this.#fd, source, offset);
        } catch (error) {
          throw volumeErrorOf(error, 'write');
        }
        this.#budget.took(startedAtMs, performance.now());
        return;
      }
    }
    return this.#tracked(writeWhole(this.#fd, source, offset), 'write');
  }

  async #writeDurable(offset: number, source: Uint8Array): Promise<void> {
    await this.#write(offset, source);
    await this.#flush();
  }

  async #zeroLater(offset: number, length: number, options: WriteZeroesOptions | undefined): Promise<void> {
    await (options?.mayUnmap === true ? this.#punchLater(offset, length) : this.#zeroRange(offset, length));
    if (options?.isFua === true) await this.#flush();
  }

  /** False where holes cannot be punched; then zeroes must be written. */
  #punched(offset: number, length: number): boolean {
    if (!this.#canPunch) return false;
    try {
      this.#sys.punchHole(this.#fd, { offset, length });
      return true;
    } catch (error) {
      if (!isUnsupported(error)) throw volumeErrorOf(error, 'punch hole');
      this.#canPunch = false;
      return false;
    }
  }

  async #punchLater(offset: number, length: number): Promise<void> {
    if (this.#canPunch) {
      try {
        return await this.#sys.punchHoleAsync(this.#fd, { offset, length });
      } catch (error) {
        if (!isUnsupported(error)) throw error;
        this.#canPunch = false;
      }
    }
    await this.#writeZeroBytes(offset, length);
  }

  async #zeroRange(offset: number, length: number): Promise<void> {
    if (this.#canZeroRange) {
      try {
        return await this.#sys.zeroRangeAsync(this.#fd, { offset, length });
      } catch (error) {
        if (!isUnsupported(error)) throw error;
        this.#canZeroRange = false;
      }
    }
    await this.#writeZeroBytes(offset, length);
  }

  async #writeZeroBytes(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZEROES.length) {
      await writeWhole(this.#fd, ZEROES.subarray(0, Math.min(ZEROES.length, length - done)), offset + done);
    }
  }

  async #allocation(offset: number, length: number): Promise<AllocationRun[]> {
    try {
      return await allocationOf(this.#sys, this.#fd, { offset, length });
    } catch (error) {
      if (isUnsupported(error)) return allData(length);
      throw error;
    }
  }

  /**
   * One fdatasync at a time. It may have begun before a write of the newest caller was done, so those who come while one
   * runs share the next one.
   */
  #flush(): Promise<void> {
    this.#nextFlush ??= this.#tracked(this.#flushAfter(this.#currentFlush), 'flush');
    return this.#nextFlush;
  }

  async #flushAfter(previous: Promise<void> | undefined): Promise<void> {
    // Its own callers hear of its error. Awaited even when there is none: #nextFlush must be set before the lane clears it.
    await previous?.catch(() => undefined);
    await this.#syncLane.run(async () => {
      this.#currentFlush = this.#nextFlush;
      this.#nextFlush = undefined;
      if (this.#flushError !== undefined) throw this.#flushError;
      try {
        await this.#sys.fdatasync(this.#fd);
      } catch (error) {
        this.#flushError = volumeErrorOf(error, 'fdatasync');
        throw this.#flushError;
      }
    });
  }

  /** Keeps the descriptor open until the operation has ended, and gives its error the volume's form. */
  async #tracked<T>(operation: Promise<T>, doing: string): Promise<T> {
    this.#inFlight += 1;
    try {
      return await operation;
    } catch (error) {
      throw volumeErrorOf(error, doing);
    } finally {
      this.#inFlight -= 1;
      if (this.#inFlight === 0) this.#onIdle?.();
    }
  }
}

const isUnsupported = (error: unknown): boolean => error instanceof SysError && error.code === 'SYS_UNSUPPORTED';
