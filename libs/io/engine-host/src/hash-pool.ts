import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { BLOCK_BYTES } from '@tidemark/base';
import { HASH_BYTES, HASH_EXTENT_BYTES_MAX, hashedBlocks } from '@tidemark/frame';
import { PAGE_BYTES, pageAligned } from '@tidemark/sys';
import { EngineError } from './engine-error.js';
import type { HashJob, HashWorkerData, Slot } from './hash-worker.js';

/** Pieces read or hashed at once, per worker: one is hashed while the next ones are read. */
const SLOTS_PER_WORKER = 4;
/** One core stays with the event loop, and a VRA's guests need some of the others too. */
const WORKERS_MAX = 4;
const DIGESTS_AT = HASH_EXTENT_BYTES_MAX;
const SLOT_BYTES = DIGESTS_AT + hashedBlocks(HASH_EXTENT_BYTES_MAX) * HASH_BYTES;
/** The same module, compiled or not: tests run on the sources. */
const WORKER_URL = new URL(import.meta.url.endsWith('.ts') ? './hash-worker.ts' : './hash-worker.js', import.meta.url);

interface Job {
  readonly worker: Worker;
  resolve(): void;
  reject(error: Error): void;
}

/**
 * SHA-256 of blocks in worker threads, for all streams of a VRA. Bytes are read straight into shared memory, of which there is a fixed number of slots:
 * who asks while all are taken waits, first come first served. Threads start with the first use.
 */
export class HashPool {
  readonly #workers = new Map<Worker, number>();
  readonly #jobs = new Map<number, Job>();
  readonly #freeSlots: Slot[] = [];
  readonly #waiting: ((slot: Slot) => void)[] = [];
  readonly #workerCount: number;
  #slotCount = 0;
  #nextJobId = 1;
  #isClosed = false;

  constructor(workerCount = Math.max(1, Math.min(WORKERS_MAX, availableParallelism() - 1))) {
    this.#workerCount = workerCount;
  }

  /** Digests of `length` bytes that `fill` puts into the buffer it gets; of blocks of zeroes 32 bytes 0. Rejects with what `fill` rejects with. */
  async digests(length: number, fill: (target: Uint8Array) => Promise<void>): Promise<Uint8Array> {
    const slot = await this.#takeSlot();
    try {
      await fill(slot.subarray(0, length));
      await this.#hash(slot, length);
      return slot.slice(DIGESTS_AT, DIGESTS_AT + hashedBlocks(length) * HASH_BYTES);
    } finally {
      this.#giveSlot(slot);
    }
  }

  async #takeSlot(): Promise<Slot> {
    const free = this.#freeSlots.pop();
    if (free) return free;
    if (this.#slotCount < this.#workerCount * SLOTS_PER_WORKER) {
      this.#slotCount += 1;
      return pageAligned(new Uint8Array(new SharedArrayBuffer(SLOT_BYTES + PAGE_BYTES)), SLOT_BYTES);
    }
    return await new Promise((resolve) => this.#waiting.push(resolve));
  }

  #giveSlot(slot: Slot): void {
    const next = this.#waiting.shift();
    if (next) next(slot);
    else this.#freeSlots.push(slot);
  }

  async #hash(slot: Slot, length: number): Promise<void> {
    if (this.#isClosed) throw closedError();
    const worker = this.#leastBusy();
    const jobId = this.#nextJobId;
    this.#nextJobId += 1;
    await new Promise<void>((resolve, reject) => {
      this.#jobs.set(jobId, { worker, resolve, reject });
      this.#workers.set(worker, (this.#workers.get(worker) ?? 0) + 1);
      const job: HashJob = { jobId, slot, length };
      worker.postMessage(job);
    });
  }

  #leastBusy(): Worker {
    if (this.#workers.size < this.#workerCount) return this.#startWorker();
    const [least] = [...this.#workers].sort(([, a], [, b]) => a - b);
    return least?.[0] ?? this.#startWorker();
  }

  #startWorker(): Worker {
    const workerData: HashWorkerData = { blockBytes: BLOCK_BYTES, digestsAt: DIGESTS_AT };
    const worker = new Worker(WORKER_URL, { workerData, name: 'hash' });
    worker.unref();
    worker.on('message', (jobId: number) => this.#done(jobId));
    worker.on('error', (error) => this.#lost(worker, error));
    worker.on('exit', () => this.#lost(worker, closedError()));
    this.#workers.set(worker, 0);
    return worker;
  }

  #done(jobId: number): void {
    const job = this.#jobs.get(jobId);
    if (!job) return;
    this.#jobs.delete(jobId);
    this.#workers.set(job.worker, (this.#workers.get(job.worker) ?? 1) - 1);
    job.resolve();
  }

  /** The next job starts another one. */
  #lost(worker: Worker, cause: unknown): void {
    this.#workers.delete(worker);
    for (const [jobId, job] of this.#jobs) {
      if (job.worker !== worker) continue;
      this.#jobs.delete(jobId);
      job.reject(cause instanceof Error ? cause : new Error(String(cause)));
    }
  }

  /** Jobs under way are rejected. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#workers.keys()].map((worker) => worker.terminate()));
  }
}

const closedError = (): EngineError => new EngineError('VRA_CLOSED', 'the VRA is being closed');
