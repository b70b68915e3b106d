import { encodeFrame, encodeRecordsBody, encodeRecordsFrame, FrameCodec, FrameFeature, FrameKind, type Agreement } from '@tidemark/frame';
import { crc32c, type CodecPool } from '@tidemark/link';
import { CodecChooser, COMPRESSED_BYTES_MIN, GAIN_MIN, type OutgoingFrame } from '@tidemark/replication';

/** Frames of one stream with the codec workers at a time: one per worker, so that a single busy stream can use both. */
const PACKING_MAX = 2;

export interface PackSituation {
  readonly isCompressed: boolean;
  readonly agreement: Agreement | undefined;
  readonly isBacklogged: boolean;
  readonly bytesPerSecond: number;
}

export interface PackerSurroundings {
  readonly codecs: CodecPool;
  /** The next frame of the stream, whole. */
  send(chunks: readonly Uint8Array[]): void;
  /** A frame that was submitted earlier took so many bytes less on the wire than it has raw bytes. The packer has room again. */
  packed(savedBytes: number): void;
  onProblem(error: unknown): void;
}

/** In stream order; `chunks` come when the codec worker is done. */
interface Slot {
  chunks: readonly Uint8Array[] | undefined;
}

const FEATURE = { [FrameCodec.lz4]: FrameFeature.lz4, [FrameCodec.zstd]: FrameFeature.zstd } as const;

/** Records of one stream become frames here, plain or compressed, and leave in the order in which they came. A worker that dies costs nothing but its gain. */
export class FramePacker {
  readonly #line: Slot[] = [];
  readonly #chooser = new CodecChooser();
  readonly counts = { none: 0, lz4: 0, zstd: 0 };

  constructor(private readonly around: PackerSurroundings) {}

  get hasRoom(): boolean {
    return this.#line.length < PACKING_MAX;
  }

  /** The stream begins anew: what is being packed is not sent. */
  clear(): void {
    this.#line.length = 0;
  }

  /** Sends the frame, in its turn. True: now; false: `packed` will be called. */
  submit(stream: number, frame: OutgoingFrame, situation: PackSituation): boolean {
    const codec = this.#choose(frame.rawBytes, situation);
    if (codec === FrameCodec.none && this.#line.length === 0) {
      this.around.send(plain(stream, frame));
      this.counts.none += 1;
      return true;
    }
    const slot: Slot = { chunks: undefined };
    this.#line.push(slot);
    if (codec === FrameCodec.none) this.#done(slot, plain(stream, frame), frame.rawBytes);
    else void this.#pack(slot, { stream, frame, codec });
    return false;
  }

  #choose(rawBytes: number, { isCompressed, agreement, isBacklogged, bytesPerSecond }: PackSituation): FrameCodec {
    if (!isCompressed || rawBytes < COMPRESSED_BYTES_MIN || agreement === undefined) return FrameCodec.none;
    const { codecs } = this.around;
    const othersCount = Math.max(0, codecs.pendingCount - this.#line.length);
    const freeWorkers = codecs.pendingCount >= 2 * codecs.workers ? 0 : codecs.workers / (1 + othersCount / codecs.workers);
    const codec = this.#chooser.choose({ isBacklogged, linkBytesPerSecond: bytesPerSecond, freeWorkers });
    return codec !== FrameCodec.none && (agreement.features & FEATURE[codec]) !== 0 ? codec : FrameCodec.none;
  }

  async #pack(slot: Slot, { stream, frame, codec }: { readonly stream: number; readonly frame: OutgoingFrame; readonly codec: FrameCodec }): Promise<void> {
    const { rawBytes } = frame;
    let chunks: readonly Uint8Array[] | undefined;
    try {
      const raw = gathered(frame, this.around.codecs.buffer(rawBytes));
      const { bytes, packedBytes, cpuMs } = await this.around.codecs.compress({ codec, raw, rawBytes, packedBytesMax: Math.floor(rawBytes * (1 - GAIN_MIN)) });
      this.#chooser.measured({ codec, rawBytes, packedBytes, cpuMs });
      if (bytes !== undefined) chunks = compressed({ stream, frame, codec }, bytes);
    } catch (error) {
      this.around.onProblem(error);
    }
    this.counts[chunks === undefined ? 'none' : codec === FrameCodec.lz4 ? 'lz4' : 'zstd'] += 1;
    this.#done(slot, chunks ?? plain(stream, frame), rawBytes);
  }

  #done(slot: Slot, chunks: readonly Uint8Array[], rawBytes: number): void {
    slot.chunks = chunks;
    const wireBytes = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    for (let head = this.#line[0]; head?.chunks !== undefined; head = this.#line[0]) {
      this.#line.shift();
      this.around.send(head.chunks);
    }
    this.around.packed(rawBytes - wireBytes);
  }
}

function plain(stream: number, { incarnation, epoch, firstSeq, records }: OutgoingFrame): Uint8Array[] {
  return encodeRecordsFrame({ stream, incarnation, epoch, firstSeq }, records, crc32c);
}

function compressed({ stream, frame, codec }: { readonly stream: number; readonly frame: OutgoingFrame; readonly codec: FrameCodec }, body: Uint8Array): Uint8Array[] {
  const { incarnation, epoch, firstSeq, lastSeq, records, rawBytes } = frame;
  return encodeFrame({ kind: FrameKind.records, stream, incarnation, epoch, firstSeq, lastSeq, count: records.length, codec, rawBytes }, [body], crc32c);
}

/** The one copy of the payloads: what goes to a worker must be memory of its own. */
function gathered(frame: OutgoingFrame, target: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  let at = 0;
  for (const chunk of encodeRecordsBody(frame.records)) {
    target.set(chunk, at);
    at += chunk.byteLength;
  }
  return target;
}
