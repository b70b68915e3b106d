import type { Done } from '@tidemark/base';
import type { Outage } from '@tidemark/nbd-client';
import { VolumeError, type AllocationRun, type WriteOptions, type WriteZeroesOptions } from '@tidemark/volume';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProtectedVolume } from './protected-volume.js';

/** As for a server that is lost while the volume is open (`NBD_VOLUME_LIMITS`). */
const PATIENCE_MS = 25_000;
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 2000;

interface Waiting {
  readonly resolve: (volume: ProtectedVolume) => void;
  readonly reject: (error: Error) => void;
}

export interface LateVolumeOptions {
  readonly sizeBytes: number;
  /** One attempt. It has the size that is wanted, or it is none. */
  readonly open: () => Promise<ProtectedVolume>;
  /** Asked before a write that has waited: the VM may have been fenced meanwhile. */
  readonly isFenced: () => boolean;
  /** Once, when it is open. */
  readonly onOpen: () => void;
  /** How long requests wait, from the first attempt on; then they fail at once until it is open. 25 s. */
  readonly patienceMs?: number;
}

/**
 * A disk whose server may be away when its VM is attached: tried until it is open or closed. Requests wait for it, so the VM's other disks are answered
 * meanwhile. Whoever uses it keeps overlapping requests apart, as for any volume; those that have waited go on in their order.
 */
export class LateVolume implements ProtectedVolume {
  readonly isReadOnly = false;
  readonly sizeBytes: number;
  #volume: ProtectedVolume | undefined;
  #waiting: Waiting[] = [];
  #isPatient = true;
  readonly #closing = new AbortController();
  readonly #opening: Promise<void>;
  #firstEnded: () => void = () => undefined;
  readonly #first = new Promise<void>((resolve) => (this.#firstEnded = resolve));

  constructor(private readonly options: LateVolumeOptions) {
    this.sizeBytes = options.sizeBytes;
    this.#opening = this.#open();
  }

  get isOpen(): boolean {
    return this.#volume !== undefined;
  }

  get outage(): Outage | undefined {
    return this.#volume?.outage;
  }

  /** Resolves when the first attempt has ended, open or not, or after so long: a server that refuses needs no waiting for, one that is slow may. */
  async attemptedWithin(ms: number): Promise<void> {
    const isOver = new AbortController();
    await Promise.race([this.#first, sleep(ms, undefined, { signal: isOver.signal }).catch(() => undefined)]);
    isOver.abort();
  }

  /** Owned by this volume: ends when it is open, or closed. */
  async #open(): Promise<void> {
    const { open, onOpen, patienceMs = PATIENCE_MS } = this.options;
    const { signal } = this.#closing;
    const fromMs = performance.now();
    for (let backoffMs = BACKOFF_MS_MIN; !signal.aborted; backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX)) {
      try {
        const volume = await open();
        // Nobody may have a disk open that another host is given after this one is closed.
        if (signal.aborted) return await volume.close();
        this.#volume = volume;
        this.#firstEnded();
        for (const { resolve } of this.#waiting.splice(0)) resolve(volume);
        return onOpen();
      } catch (error) {
        this.#firstEnded();
        this.#isPatient = performance.now() - fromMs < patienceMs;
        if (!this.#isPatient) this.#failWaiting(error);
      }
      await sleep(backoffMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #failWaiting(cause: unknown): void {
    const error = new VolumeError('VOLUME_IO', `the disk is not open: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #opened(): Promise<ProtectedVolume> {
    if (this.#closing.signal.aborted) return Promise.reject(new VolumeError('VOLUME_CLOSED', 'the volume is closed'));
    if (!this.#isPatient) return Promise.reject(new VolumeError('VOLUME_IO', 'the disk has not been reachable for too long'));
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #unfenced(volume: ProtectedVolume): ProtectedVolume {
    if (this.options.isFenced()) throw new VolumeError('VOLUME_READ_ONLY', 'the VM was fenced while its disk was not open');
    return volume;
  }

  read(offset: number, target: Uint8Array): Done {
    return this.#volume ? this.#volume.read(offset, target) : this.#opened().then((volume) => volume.read(offset, target));
  }

  write(offset: number, source: Uint8Array, options?: WriteOptions): Done {
    return this.#volume ? this.#volume.write(offset, source, options) : this.#opened().then((volume) => this.#unfenced(volume).write(offset, source, options));
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Done {
    return this.#volume ? this.#volume.writeZeroes(offset, length, options) : this.#opened().then((volume) => this.#unfenced(volume).writeZeroes(offset, length, options));
  }

  /** Waits for the disk too: its server may have to keep what an earlier process of this VRA wrote to it. */
  flush(): Done {
    return this.#volume ? this.#volume.flush() : this.#opened().then((volume) => volume.flush());
  }

  allocation(offset: number, length: number): AllocationRun[] | Promise<AllocationRun[]> {
    return this.#volume ? this.#volume.allocation(offset, length) : this.#opened().then((volume) => volume.allocation(offset, length));
  }

  /** Resolves when nothing is open, and nothing will be. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#failWaiting(new Error('it was closed'));
    await this.#opening;
    await this.#volume?.close();
  }

  grow(sizeBytes: number): Promise<void> {
    return this.#volume ? this.#volume.grow(sizeBytes) : Promise.reject(new VolumeError('VOLUME_SIZE', 'a disk that is not open cannot grow'));
  }
}
