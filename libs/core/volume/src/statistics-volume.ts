import { type Done, type MonotonicMs } from '@tidemark/base';
import type { AllocationRun, Volume, WriteOptions, WriteZeroesOptions } from './volume.js';

export interface OperationStatistics {
  /** Operations that ended, failed ones included. */
  readonly count: number;
  readonly errorCount: number;
  /** Bytes of the operations that succeeded. */
  readonly bytes: number;
  readonly latencyMsSum: number;
  readonly latencyMsMax: number;
}

export interface VolumeStatistics {
  readonly read: OperationStatistics;
  readonly write: OperationStatistics;
  readonly writeZeroes: OperationStatistics;
  readonly flush: OperationStatistics;
  /** Operations begun and not ended. */
  readonly inFlight: number;
}

class Counter implements OperationStatistics {
  count = 0;
  errorCount = 0;
  bytes = 0;
  latencyMsSum = 0;
  latencyMsMax = 0;

  ended(latencyMs: number, bytes: number): void {
    this.count += 1;
    this.bytes += bytes;
    this.latencyMsSum += latencyMs;
    if (latencyMs > this.latencyMsMax) this.latencyMsMax = latencyMs;
  }

  failed(latencyMs: number): void {
    this.ended(latencyMs, 0);
    this.errorCount += 1;
  }
}

/** Counts what passes through. An operation that is done at once costs no promise here either. */
export class StatisticsVolume implements Volume {
  readonly #below: Volume;
  readonly #now: MonotonicMs;
  readonly #read = new Counter();
  readonly #write = new Counter();
  readonly #writeZeroes = new Counter();
  readonly #flush = new Counter();
  #inFlight = 0;

  constructor(below: Volume, now: MonotonicMs) {
    this.#below = below;
    this.#now = now;
  }

  get sizeBytes(): number {
    return this.#below.sizeBytes;
  }

  get isReadOnly(): boolean {
    return this.#below.isReadOnly;
  }

  /** A copy of the counters. */
  statistics(): VolumeStatistics {
    return {
      read: { ...this.#read },
      write: { ...this.#write },
      writeZeroes: { ...this.#writeZeroes },
      flush: { ...this.#flush },
      inFlight: this.#inFlight,
    };
  }

  read(offset: number, target: Uint8Array): Done {
    return this.#counted(this.#read, target.length, () => this.#below.read(offset, target));
  }

  write(offset: number, source: Uint8Array, options?: WriteOptions): Done {
    return this.#counted(this.#write, source.length, () => this.#below.write(offset, source, options));
  }

  writeZeroes(offset: number, length: number, options?: WriteZeroesOptions): Done {
    return this.#counted(this.#writeZeroes, length, () => this.#below.writeZeroes(offset, length, options));
  }

  flush(): Done {
    return this.#counted(this.#flush, 0, () => this.#below.flush());
  }

  allocation(offset: number, length: number): AllocationRun[] | Promise<AllocationRun[]> {
    return this.#below.allocation(offset, length);
  }

  close(): Promise<void> {
    return this.#below.close();
  }

  #counted(counter: Counter, bytes: number, run: () => Done): Done {
    const startedAt = this.#now();
    this.#inFlight += 1;
    let done: Done;
    try {
      done = run();
    } catch (error) {
      this.#inFlight -= 1;
      counter.failed(this.#now() - startedAt);
      throw error;
    }
    if (done !== undefined) return this.#later(counter, { bytes, startedAt }, done);
    this.#inFlight -= 1;
    counter.ended(this.#now() - startedAt, bytes);
  }

  async #later(counter: Counter, operation: { bytes: number; startedAt: number }, done: Promise<void>): Promise<void> {
    try {
      await done;
      counter.ended(this.#now() - operation.startedAt, operation.bytes);
    } catch (error) {
      counter.failed(this.#now() - operation.startedAt);
      throw error;
    } finally {
      this.#inFlight -= 1;
    }
  }
}
