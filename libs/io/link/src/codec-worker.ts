import { parentPort } from 'node:worker_threads';
import { FrameCodec } from '@tidemark/frame';
import { compressBody, decompressBody } from './body-codec.js';
import type { CodecJob, CodecResult } from './codec-jobs.js';

/**
 * The thread behind a {@link CodecPool}: one job after the other, as they come. Buffers travel by transfer in both directions; the raw bytes
 * of a compression go back so that they can be used again.
 */
function run(job: CodecJob): CodecResult {
  const startedMs = performance.now();
  try {
    if (job.kind === 'decompress') {
      return { jobId: job.jobId, bytes: owned(decompressBody(job.codec, job.bytes, job.rawBytes)), spare: undefined, error: undefined, cpuMs: performance.now() - startedMs };
    }
    const raw = job.bytes.subarray(0, job.rawBytes);
    const packed = job.codec === FrameCodec.none ? raw : compressBody(job.codec, raw);
    const isSmaller = packed.byteLength <= job.packedBytesMax;
    return { jobId: job.jobId, bytes: isSmaller ? owned(packed) : undefined, packedBytes: packed.byteLength, spare: job.bytes, error: undefined, cpuMs: performance.now() - startedMs };
  } catch (error) {
    return { jobId: job.jobId, bytes: undefined, spare: undefined, error: error instanceof Error ? error.message : String(error), cpuMs: performance.now() - startedMs };
  }
}

/** A copy of exactly these bytes: what the codecs give lies in larger or foreign memory that cannot be transferred. */
const owned = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(bytes);

parentPort?.on('message', (job: CodecJob) => {
  const result = run(job);
  const transfer = [result.bytes, result.spare].flatMap((each) => (each ? [each.buffer] : []));
  parentPort?.postMessage(result, transfer);
});
