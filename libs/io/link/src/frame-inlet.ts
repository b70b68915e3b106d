import { FrameDecoder, FRAME_HEADER_BYTES, FrameKind, type FrameHeader } from '@tidemark/frame';
import { payloadPool } from '@tidemark/sys';
import { crc32c } from './checksum.js';

const SLAB_BYTES = 64 * 1024;
/** After a body that long the next one is expected to be as long: then only its header is read, and it goes straight to its place. */
const BULK_BYTES_MIN = 32 * 1024;
/** A rest shorter than this comes faster through the slab, with what follows it. */
const DIRECT_BYTES_MIN = 4 * 1024;

/**
 * Cuts what a connection receives into frames, bodies in memory of the {@link payloadPool}. A socket that reads into buffers of our choice
 * puts long bodies straight there: without the copy, without a fresh 64 KiB chunk per read (which V8 answers with collections).
 */
export class FrameInlet {
  /** Takes the frames. Set before anything arrives. */
  onFrame: (header: FrameHeader, body: Uint8Array) => void = () => undefined;
  readonly #decoder: FrameDecoder;
  readonly #hand = (header: FrameHeader, body: Uint8Array): void => {
    this.#isBulk = body.byteLength >= BULK_BYTES_MIN;
    this.onFrame(header, body);
  };
  #slab: Buffer | undefined;
  #isDirect = false;
  #isBulk = false;

  constructor(kinds: readonly FrameKind[] | undefined) {
    const taken = kinds && { kinds: new Set([...kinds, FrameKind.hello, FrameKind.ping, FrameKind.pong]) };
    this.#decoder = new FrameDecoder({ crc32c, allocate: (bytes) => payloadPool.take(bytes), ...taken });
  }

  get isAtBoundary(): boolean {
    return this.#decoder.isAtBoundary;
  }

  /** Bytes that came anywhere; they are the caller's again when this returns. Throws what a frame's handler throws, and ProtocolError. */
  feed(chunk: Uint8Array): void {
    this.#decoder.feed(chunk, this.#hand);
  }

  /** Where the next bytes are to be put. */
  next(): Uint8Array {
    const rest = this.#decoder.bodyRest;
    this.#isDirect = rest !== undefined && (this.#isBulk || rest.byteLength >= DIRECT_BYTES_MIN);
    if (rest !== undefined && this.#isDirect) return rest;
    this.#slab ??= Buffer.allocUnsafeSlow(SLAB_BYTES);
    return this.#isBulk && this.#decoder.isAtBoundary ? this.#slab.subarray(0, FRAME_HEADER_BYTES) : this.#slab;
  }

  /** So many bytes were put where {@link next} said. As {@link feed}. */
  arrived(bytes: number, buffer: Uint8Array): void {
    if (this.#isDirect) this.#decoder.bodyArrived(bytes, this.#hand);
    else this.#decoder.feed(buffer.subarray(0, bytes), this.#hand);
  }
}
