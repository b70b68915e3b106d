import { KiB, ProtocolError } from '@tidemark/base';
import { FRAME_BODY_BYTES_MAX, FrameCodec, type FrameHeader } from '@tidemark/frame';
import { decompressBody, LinkError, type CodecPool } from '@tidemark/link';
import { CREDIT_BYTES_MAX } from '@tidemark/replication';

/** Shorter frames are decompressed at once: 0.1 ms, and the hop to a worker costs as much. */
const WORKER_BYTES_MIN = 64 * KiB;
/** What may wait here: a sender within its credit never has more under way. */
const WAITING_BYTES_MAX = CREDIT_BYTES_MAX + FRAME_BODY_BYTES_MAX;

export interface TakenFrame {
  readonly connection: number;
  readonly header: FrameHeader;
  /** As received: what the journal keeps. */
  readonly body: Uint8Array;
}

interface Waiting extends TakenFrame {
  raw: Uint8Array | undefined;
  error: Error | undefined;
  isForgotten: boolean;
}

export interface IntakeSurroundings {
  readonly codecs: CodecPool;
  /** The next frame in the order of arrival. May throw ProtocolError. */
  take(frame: TakenFrame, raw: Uint8Array): void;
  /** A frame that was taken in earlier turned out to be wrong: its connection must end. */
  failed(connection: number, error: unknown): void;
}

/** Decompresses the frames of one stream, long ones in the codec workers, and hands them on in the order in which they came. */
export class FrameIntake {
  readonly #line: Waiting[] = [];
  #waitingBytes = 0;

  constructor(private readonly around: IntakeSurroundings) {}

  /** Throws ProtocolError, for this frame or for more frames than the credit allows. */
  push(frame: TakenFrame): void {
    const { header, body } = frame;
    const isLong = header.codec !== FrameCodec.none && header.rawBytes >= WORKER_BYTES_MIN;
    if (!isLong && this.#line.length === 0) {
      this.around.take(frame, decompressBody(header.codec, body, header.rawBytes));
      return;
    }
    const retainedBytes = header.rawBytes + header.bodyBytes;
    if (this.#line.length > 0 && this.#waitingBytes + retainedBytes > WAITING_BYTES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', 'more frames under way than any credit allows');
    const waiting: Waiting = { ...frame, raw: undefined, error: undefined, isForgotten: false };
    this.#line.push(waiting);
    this.#waitingBytes += retainedBytes;
    if (isLong) void this.#decompress(waiting);
    else waiting.raw = decompressBody(header.codec, body, header.rawBytes);
  }

  /** Frames of that connection are not wanted any more. */
  forget(connection: number): void {
    for (const waiting of this.#line) if (waiting.connection === connection) waiting.isForgotten = true;
    this.#flush();
  }

  async #decompress(waiting: Waiting): Promise<void> {
    const { codec, rawBytes } = waiting.header;
    try {
      waiting.raw = await this.around.codecs.decompress(codec, waiting.body, rawBytes).catch((error: unknown) => {
        if (!(error instanceof LinkError)) throw error;
        return decompressBody(codec, waiting.body, rawBytes); // no worker: slower, and just as right
      });
    } catch (error) {
      waiting.error = error instanceof Error ? error : new Error(String(error));
    }
    this.#flush();
  }

  #flush(): void {
    for (let head = this.#line[0]; head !== undefined && (head.raw !== undefined || head.error !== undefined || head.isForgotten); head = this.#line[0]) {
      this.#line.shift();
      this.#waitingBytes -= head.header.rawBytes + head.header.bodyBytes;
      if (head.isForgotten) continue;
      try {
        if (head.error !== undefined) throw head.error;
        if (head.raw !== undefined) this.around.take(head, head.raw);
      } catch (error) {
        this.around.failed(head.connection, error);
      }
    }
  }
}
