import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { KiB, ProtocolError } from '@tidemark/base';
import type { FrameCodec } from '@tidemark/frame';
import type { CodecJob, CodecResult } from './codec-jobs.js';
import { LinkError } from './link-error.js';

/** Two threads compress more than a 10 Gbit/s link takes of zstd; more would only compete with guests. */
const WORKERS_MAX = 2;
/** Jobs that wait for a worker: beyond that the caller sends plain (a sender) or does it itself (a receiver). */
const WAITING_MAX = 64;
/** A worker that dies at once is not started over and over. */
const RESTART_MS = 1000;
const SPARES_MAX = 8;
const SPARE_BYTES = 544 * KiB;

// In tests this module is a source; workers always run the built program.
const PROGRAM = new URL(import.meta.url.endsWith('.ts') ? '../dist/codec-worker.js' : './codec-worker.js', import.meta.url);

interface Pending {
  readonly job: CodecJob;
  readonly resolve: (result: CodecResult) => void;
  readonly reject: (error: Error) => void;
}

interface Lane {
  worker: Worker | undefined;
  current: Pending | undefined;
}

export interface CompressedBody {
  /** undefined: it did not shrink to `packedBytesMax`. */
  readonly bytes: Uint8Array | undefined;
  readonly packedBytes: number;
  readonly cpuMs: number;
}

export interface CodecPoolOptions {
  /** Default: the cores but one, 1 or 2. */
  readonly workers?: number;
  /** A worker died or could not be started; its jobs were rejected, another worker takes its place. */
  onWorkerLost?(error: Error): void;
  /** Default: the codec worker of this package. */
  readonly program?: URL;
}

/** Worker threads that compress and decompress bodies of frames, so that neither stops the event loop. Started with the first job; in order of submission per worker. */
export class CodecPool {
  readonly #lanes: Lane[];
  readonly #waiting: Pending[] = [];
  readonly #spares: Uint8Array<ArrayBuffer>[] = [];
  #nextJob = 1;
  #isClosed = false;
  #retryAtMs = 0;
  #retryTimer: NodeJS.Timeout | undefined;

  constructor(private readonly options: CodecPoolOptions = {}) {
    const count = options.workers ?? Math.max(1, Math.min(WORKERS_MAX, availableParallelism() - 1));
    this.#lanes = Array.from({ length: count }, () => ({ worker: undefined, current: undefined }));
  }

  get workers(): number {
    return this.#lanes.length;
  }

  /** Jobs that run or wait. */
  get pendingCount(): number {
    return this.#waiting.length + this.#lanes.filter(({ current }) => current !== undefined).length;
  }

  /** Memory for a raw body of up to `bytes`, to be filled and given to {@link compress}. */
  buffer(bytes: number): Uint8Array<ArrayBuffer> {
    if (bytes > SPARE_BYTES) return new Uint8Array(bytes);
    return this.#spares.pop() ?? new Uint8Array(SPARE_BYTES);
  }

  /** `raw` comes from {@link buffer} and is gone afterwards. Rejects with LINK_CODEC when the worker dies or none is free: the frame goes plain. */
  async compress({ codec, raw, rawBytes, packedBytesMax }: { readonly codec: FrameCodec; readonly raw: Uint8Array<ArrayBuffer>; readonly rawBytes: number; readonly packedBytesMax: number }): Promise<CompressedBody> {
    const result = await this.#submit({ kind: 'compress', jobId: this.#number(), codec, bytes: raw, rawBytes, packedBytesMax });
    if (result.spare?.byteLength === SPARE_BYTES && this.#spares.length < SPARES_MAX) this.#spares.push(result.spare);
    if (result.error !== undefined) throw new LinkError('LINK_CODEC', result.error);
    return { bytes: result.bytes, packedBytes: result.packedBytes ?? rawBytes, cpuMs: result.cpuMs };
  }

  /** As decompressBody. `body` is copied. Rejects with a ProtocolError for bytes that do not decompress, with LINK_CODEC when no worker could try. */
  async decompress(codec: FrameCodec, body: Uint8Array, rawBytes: number): Promise<Uint8Array> {
    const result = await this.#submit({ kind: 'decompress', jobId: this.#number(), codec, bytes: new Uint8Array(body), rawBytes });
    if (result.error !== undefined || result.bytes === undefined) throw new ProtocolError('PROTOCOL_LAYOUT', result.error ?? 'body does not decompress');
    return result.bytes;
  }

  #number(): number {
    this.#nextJob += 1;
    return this.#nextJob;
  }

  #submit(job: CodecJob): Promise<CodecResult> {
    if (this.#isClosed || this.#waiting.length >= WAITING_MAX) return Promise.reject(new LinkError('LINK_CODEC', this.#isClosed ? 'the codec workers are closed' : 'the codec workers are behind'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      this.#dispatch();
    });
  }

  #dispatch(): void {
    for (const lane of this.#lanes) {
      if (lane.current !== undefined) continue;
      if (this.#waiting.length === 0) return;
      const worker = (lane.worker ??= this.#start(lane));
      if (worker === undefined) continue;
      const next = this.#waiting.shift();
      if (next === undefined) return;
      lane.current = next;
      worker.ref();
      worker.postMessage(next.job, [next.job.bytes.buffer]);
    }
    // Workers keep dying: nobody shall wait for the next one.
    if (this.#lanes.every(({ worker }) => worker === undefined)) this.#rejectWaiting('no codec worker runs');
  }

  #start(lane: Lane): Worker | undefined {
    if (performance.now() < this.#retryAtMs) return undefined;
    const worker = new Worker(this.options.program ?? PROGRAM, { name: 'tidemark-codec' });
    worker.on('message', (result: CodecResult) => this.#finished(lane, result));
    worker.once('error', (error) => this.#lost(lane, worker, error instanceof Error ? error : new Error(String(error))));
    worker.once('exit', (code) => this.#lost(lane, worker, new Error(`codec worker ended with ${String(code)}`)));
    worker.unref();
    return worker;
  }

  #finished(lane: Lane, result: CodecResult): void {
    const pending = lane.current;
    lane.current = undefined;
    lane.worker?.unref();
    if (pending?.job.jobId === result.jobId) pending.resolve(result);
    this.#dispatch();
  }

  #lost(lane: Lane, worker: Worker, error: Error): void {
    if (lane.worker !== worker || this.#isClosed) return;
    lane.worker = undefined;
    this.#retryAtMs = performance.now() + RESTART_MS;
    this.options.onWorkerLost?.(error);
    const pending = lane.current;
    lane.current = undefined;
    pending?.reject(new LinkError('LINK_CODEC', error.message, { cause: error }));
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#dispatch();
    }, RESTART_MS + 1).unref();
    this.#dispatch();
  }

  #rejectWaiting(reason: string): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new LinkError('LINK_CODEC', reason));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    this.#rejectWaiting('the codec workers are closed');
    await Promise.all(this.#lanes.map(async (lane) => {
      lane.current?.reject(new LinkError('LINK_CODEC', 'the codec workers are closed'));
      lane.current = undefined;
      await lane.worker?.terminate();
    }));
  }
}
