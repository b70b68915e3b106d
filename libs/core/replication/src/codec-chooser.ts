import { FrameCodec } from '@tidemark/frame';

/** A frame that shrinks by less than an eighth travels as it is, so that the receiver need not decompress it for nothing. */
export const GAIN_MIN = 1 / 8;
/** Below this a frame is sent as it is: the gain is small and the hop to a worker is not. */
export const COMPRESSED_BYTES_MIN = 4096;
/** Frames that pass between two tries of a codec that did not pay: 8 after the first failure, doubled with each one, at most 256. */
const PROBE_FRAMES_MIN = 8;
const PROBE_FRAMES_MAX = 256;
/** Weight of the newest measurement. */
const NEWEST = 0.25;

type Packing = typeof FrameCodec.lz4 | typeof FrameCodec.zstd;

/** What is known about one codec on the data of one stream. */
interface Account {
  /** Bytes after by bytes before. */
  ratio: number;
  secondsPerByte: number;
  probeFrames: number;
  /** Frames until it may be tried again; 0: it pays. */
  restFrames: number;
}

export interface CodecSituation {
  /** More waits behind this frame: the stream wants to go as fast as it can. */
  readonly isBacklogged: boolean;
  /** What the link carries, as far as it was ever full; Infinity when nothing slowed it down. */
  readonly linkBytesPerSecond: number;
  /** Worker time that others leave, in workers: 0 (all busy) to their number. */
  readonly freeWorkers: number;
}

export interface CodecMeasurement {
  readonly codec: FrameCodec;
  readonly rawBytes: number;
  readonly packedBytes: number;
  readonly cpuMs: number;
}

/**
 * Chooses none, lz4 or zstd for each frame of one stream, by measured gain and CPU. A stream that keeps up sends the fewest bytes. One that has
 * more to send than goes out takes the codec that moves the most raw bytes per second: min(workers ÷ CPU per byte, link ÷ ratio).
 */
export class CodecChooser {
  readonly #accounts: Record<Packing, Account> = {
    [FrameCodec.lz4]: { ratio: 0.6, secondsPerByte: 1 / 400e6, probeFrames: PROBE_FRAMES_MIN, restFrames: 0 },
    [FrameCodec.zstd]: { ratio: 0.5, secondsPerByte: 1 / 200e6, probeFrames: PROBE_FRAMES_MIN, restFrames: 0 },
  };

  choose(situation: CodecSituation): FrameCodec {
    const zstd = this.#rate(FrameCodec.zstd, situation);
    const lz4 = this.#rate(FrameCodec.lz4, situation);
    // A worker that is busy with others: waiting for it would cost more than the bytes.
    if (situation.freeWorkers <= 0) return FrameCodec.none;
    if (!situation.isBacklogged) return zstd > 0 ? FrameCodec.zstd : lz4 > 0 ? FrameCodec.lz4 : FrameCodec.none;
    const best = Math.max(situation.linkBytesPerSecond, zstd, lz4);
    if (best === zstd && zstd > 0) return FrameCodec.zstd;
    return best === lz4 && lz4 > 0 ? FrameCodec.lz4 : FrameCodec.none;
  }

  /** What the codec of a frame did. */
  measured({ codec, rawBytes, packedBytes, cpuMs }: CodecMeasurement): void {
    if (codec === FrameCodec.none || rawBytes === 0) return;
    const account = this.#accounts[codec];
    account.ratio += NEWEST * (packedBytes / rawBytes - account.ratio);
    account.secondsPerByte += NEWEST * (cpuMs / 1000 / rawBytes - account.secondsPerByte);
    if (packedBytes <= rawBytes * (1 - GAIN_MIN)) {
      account.probeFrames = PROBE_FRAMES_MIN;
      return;
    }
    account.restFrames = account.probeFrames;
    account.probeFrames = Math.min(2 * account.probeFrames, PROBE_FRAMES_MAX);
  }

  /** Raw bytes per second with the codec; 0 while it rests. Counts a frame of rest. */
  #rate(codec: Packing, { linkBytesPerSecond, freeWorkers }: CodecSituation): number {
    const account = this.#accounts[codec];
    if (account.restFrames > 0) {
      account.restFrames -= 1;
      return 0;
    }
    return Math.min(freeWorkers / account.secondsPerByte, linkBytesPerSecond / Math.min(1, account.ratio));
  }
}
