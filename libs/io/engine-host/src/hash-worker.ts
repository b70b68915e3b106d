import { hash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';

/** Memory that both sides see; it begins on a page, for direct reads. */
export type Slot = Uint8Array<SharedArrayBuffer>;

/** What the pool asks of a worker: the first `length` bytes of the slot, block by block; digests go behind `digestsAt`. */
export interface HashJob {
  readonly jobId: number;
  readonly slot: Slot;
  readonly length: number;
}
/** Given to the worker when it starts. */
export interface HashWorkerData {
  readonly blockBytes: number;
  readonly digestsAt: number;
}

const DIGEST_BYTES = 32;
const { blockBytes, digestsAt } = workerData as HashWorkerData;
const zeroes = Buffer.alloc(blockBytes);

parentPort?.on('message', ({ jobId, slot, length }: HashJob) => {
  const bytes = Buffer.from(slot.buffer, slot.byteOffset, length);
  const digests = Buffer.from(slot.buffer, slot.byteOffset + digestsAt);
  for (let at = 0, to = 0; at < length; at += blockBytes, to += DIGEST_BYTES) {
    const block = bytes.subarray(at, Math.min(at + blockBytes, length));
    // memcmp ends at the first byte that is set, so blocks with data pay next to nothing for it.
    if (zeroes.compare(block, 0, block.length, 0, block.length) === 0) digests.fill(0, to, to + DIGEST_BYTES);
    else digests.set(hash('sha256', block, 'buffer'), to);
  }
  parentPort?.postMessage(jobId);
});
