import { assert, MiB, ProtocolError, type Crc32c } from '@tidemark/base';
import { decodeHeader } from './header.js';
import { FRAME_HEADER_BYTES, type FrameKind } from './layout.js';
import type { FrameHeader } from './types.js';

/** Longer bodies get their memory as they come. All but single guest writes of that size are shorter; a write of 1 MiB with its record table is. */
const EAGER_BYTES = 2 * MiB;

export interface FrameDecoderOptions {
  readonly crc32c: Crc32c;
  /** Kinds that this connection takes (4007 or 4008); others are refused before their body is read. All, if missing. */
  readonly kinds?: ReadonlySet<FrameKind>;
  /** Memory for a body, or for its beginning, after the limit check. With it every body is gathered there, and chunks stay the caller's; see `bodyRest`. */
  readonly allocate?: (bytes: number) => Uint8Array;
}

/**
 * Cuts a byte stream into frames. Nothing is allocated for a frame before its header has been checked; the body's checksum is
 * checked before the frame is handed out. After a ProtocolError the decoder stays broken: bytes after a damage have no meaning.
 */
export class FrameDecoder {
  readonly #options: FrameDecoderOptions;
  readonly #headerBytes = new Uint8Array(FRAME_HEADER_BYTES);
  #headerFilled = 0;
  #header: FrameHeader | undefined;
  #body: Uint8Array | undefined;
  #bodyFilled = 0;
  /** Bytes of the chunk that the last take used up. */
  #takenBytes = 0;
  #error: Error | undefined;

  constructor(options: FrameDecoderOptions) {
    this.#options = options;
  }

  /** True between two frames: a connection that ends elsewhere was cut inside a frame. */
  get isAtBoundary(): boolean {
    return this.#header === undefined && this.#headerFilled === 0;
  }

  /**
   * Where the peer's next bytes belong when they are the rest of a body: a caller may read its socket straight into that place and say so with
   * {@link bodyArrived}, instead of feeding a chunk. Only with `allocate`.
   */
  get bodyRest(): Uint8Array | undefined {
    return this.#options.allocate === undefined ? undefined : this.#body?.subarray(this.#bodyFilled);
  }

  /** So many bytes were put where {@link bodyRest} begins. Otherwise as {@link feed}. */
  bodyArrived(bytes: number, onFrame: (header: FrameHeader, body: Uint8Array) => void): void {
    this.#guarded(() => {
      const [header, body] = [this.#header, this.#body];
      assert(header !== undefined && body !== undefined && this.#bodyFilled + bytes <= body.byteLength, 'no more than the body');
      this.#bodyFilled += bytes;
      if (this.#bodyFilled === header.bodyBytes) this.#hand(body, onFrame);
      else if (this.#bodyFilled === body.byteLength) this.#bodyWithRoom(this.#bodyFilled + 1, header.bodyBytes);
    });
  }

  /**
   * Calls `onFrame` for each frame that ends in `chunk`. A body that lies in one chunk is a view into it (the chunk is handed over), one
   * that spans chunks is gathered. Throws {@link ProtocolError}, and whatever `onFrame` throws; the decoder is then broken.
   */
  feed(chunk: Uint8Array, onFrame: (header: FrameHeader, body: Uint8Array) => void): void {
    this.#guarded(() => this.#consume(chunk, onFrame));
  }

  #guarded(act: () => void): void {
    if (this.#error !== undefined) throw this.#error;
    try {
      act();
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  #consume(chunk: Uint8Array, onFrame: (header: FrameHeader, body: Uint8Array) => void): void {
    let at = 0;
    for (;;) {
      if (this.#header === undefined) {
        this.#header = this.#takeHeader(chunk, at);
        at += this.#takenBytes;
      }
      const header = this.#header;
      if (header === undefined) return;
      const body = this.#takeBody(chunk, at, header.bodyBytes);
      if (body === undefined) return;
      at += this.#takenBytes;
      this.#hand(body, onFrame);
    }
  }

  #hand(body: Uint8Array, onFrame: (header: FrameHeader, body: Uint8Array) => void): void {
    const header = this.#header;
    assert(header !== undefined, 'a body after its header');
    if (this.#options.crc32c(body) !== header.bodyCrc) throw new ProtocolError('PROTOCOL_CHECKSUM', 'frame body checksum');
    this.#header = undefined;
    this.#body = undefined;
    this.#bodyFilled = 0;
    onFrame(header, body);
  }

  /** The header, once it is whole; #takenBytes says how much of `chunk` went into it. */
  #takeHeader(chunk: Uint8Array, at: number): FrameHeader | undefined {
    this.#takenBytes = Math.min(FRAME_HEADER_BYTES - this.#headerFilled, chunk.byteLength - at);
    this.#headerBytes.set(chunk.subarray(at, at + this.#takenBytes), this.#headerFilled);
    this.#headerFilled += this.#takenBytes;
    if (this.#headerFilled < FRAME_HEADER_BYTES) return undefined;
    this.#headerFilled = 0;
    const header = decodeHeader(this.#headerBytes, this.#options.crc32c);
    if (this.#options.kinds?.has(header.kind) === false) {
      throw new ProtocolError('PROTOCOL_KIND', `frame of kind ${header.kind} on a connection that does not take it`);
    }
    return header;
  }

  #takeBody(chunk: Uint8Array, at: number, bodyBytes: number): Uint8Array | undefined {
    const available = chunk.byteLength - at;
    const { allocate } = this.#options;
    if (this.#body === undefined && available >= bodyBytes && (allocate === undefined || bodyBytes === 0)) {
      this.#takenBytes = bodyBytes;
      return chunk.subarray(at, at + bodyBytes);
    }
    this.#takenBytes = Math.min(bodyBytes - this.#bodyFilled, available);
    const body = this.#bodyWithRoom(this.#bodyFilled + this.#takenBytes, bodyBytes);
    body.set(chunk.subarray(at, at + this.#takenBytes), this.#bodyFilled);
    this.#bodyFilled += this.#takenBytes;
    return this.#bodyFilled < bodyBytes ? undefined : body;
  }

  /** Memory follows the bytes that came: a peer cannot make this side allocate a long body by announcing it. */
  #bodyWithRoom(filledBytes: number, bodyBytes: number): Uint8Array {
    const eagerBytes = Math.min(bodyBytes, EAGER_BYTES);
    const body = (this.#body ??= this.#options.allocate?.(eagerBytes) ?? new Uint8Array(eagerBytes));
    if (body.byteLength >= filledBytes) return body;
    this.#body = new Uint8Array(Math.min(bodyBytes, Math.max(filledBytes, 2 * body.byteLength)));
    this.#body.set(body.subarray(0, this.#bodyFilled));
    return this.#body;
  }
}
