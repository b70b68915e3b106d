import type { Socket } from 'node:net';
import { assert, MiB, viewOf } from '@tidemark/base';
import { encodeFrame, FrameDecoder, FrameKind, type FrameHeader } from '@tidemark/frame';
import { crc32c } from './checksum.js';
import { LinkError } from './link-error.js';

export interface LinkOptions {
  /** Frame kinds that this connection takes besides ping and pong; all others end it. All, if missing. */
  readonly kinds?: readonly FrameKind[];
  /** From here on {@link Link.send} answers false. Default 8 MiB. */
  readonly bufferedBytesMax?: number;
  /** Default 1000 ms. */
  readonly pingIntervalMs?: number;
  /** A peer of which nothing came for so long is taken as dead. Default 3000 ms. */
  readonly silenceMs?: number;
}

export interface LinkHandlers {
  /** `body` is handed over. What it throws ends the link, with the thrown error as cause. */
  onFrame(header: FrameHeader, body: Uint8Array): void;
  /** Once, whatever ended it; undefined: this side or the peer closed it in good order. Nothing is called after it. */
  onClose(cause: Error | undefined): void;
  /** After `send` answered false: there is room again. */
  onDrain?(): void;
  onRoundTrip?(roundTripMs: number): void;
}

const PING_BYTES = 8;
/** What `send` takes above its limit before the link is given up: one whole frame, for callers between two checks. */
const OVERFLOW_BYTES = 64 * MiB;
/** How long a closing link may still deliver what was sent. */
const LINGER_MS = 1000;

/**
 * One connection to another VRA: whole frames in both directions, in order, or the end of the link. Both ends ping, so a peer
 * that vanished without a word is noticed in `silenceMs`. Nothing is read before {@link start}.
 */
export class Link {
  readonly remoteAddress: string;
  readonly localAddress: string;
  /** Resolves after `onClose`, with the same cause; never rejects. */
  readonly closed: Promise<Error | undefined>;
  #handlers: LinkHandlers | undefined;
  #cause: Error | undefined;
  #isClosing = false;
  #isCorked = false;
  #isFull = false;
  #receivedAtMs = performance.now();
  #roundTripMs: number | undefined;
  #receivedBytes = 0;
  #sentBytes = 0;
  #pingTimer: NodeJS.Timeout | undefined;
  #pingDueAtMs = 0;
  readonly #decoder: FrameDecoder;
  readonly #bufferedBytesMax: number;
  readonly #pingIntervalMs: number;
  readonly #silenceMs: number;

  constructor(
    private readonly socket: Socket,
    options: LinkOptions = {},
  ) {
    this.remoteAddress = socket.remoteAddress ?? '';
    this.localAddress = socket.localAddress ?? '';
    this.#bufferedBytesMax = options.bufferedBytesMax ?? 8 * MiB;
    this.#pingIntervalMs = options.pingIntervalMs ?? 1000;
    this.#silenceMs = options.silenceMs ?? 3000;
    const kinds = options.kinds && { kinds: new Set([...options.kinds, FrameKind.ping, FrameKind.pong]) };
    this.#decoder = new FrameDecoder({ crc32c, ...kinds });
    socket.on('error', (error) => this.#fail(new LinkError('LINK_CUT', error.message, { cause: error })));
    this.closed = new Promise((resolve) => socket.once('close', () => resolve(this.#ended())));
  }

  /** Begins to read and to ping. Once. */
  start(handlers: LinkHandlers): void {
    assert(this.#handlers === undefined, 'a link is started once');
    this.#handlers = handlers;
    if (this.socket.destroyed) return;
    this.socket.on('data', (chunk: Uint8Array) => this.#received(chunk));
    this.socket.on('end', () => this.#peerEnded());
    this.socket.on('drain', () => this.#drained());
    this.#receivedAtMs = performance.now();
    this.#schedulePing();
  }

  get isOpen(): boolean {
    return !this.#isClosing && !this.socket.destroyed;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** Bytes sent here that the kernel has not taken yet. */
  get bufferedBytes(): number {
    return this.socket.writableLength;
  }

  /** Last measured; undefined before the first answer. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /**
   * Sends the chunks of a frame (or of several). They must not be changed afterwards. False: enough waits already, send no more until
   * `onDrain`; what was given is sent all the same. On a closed link nothing happens.
   */
  send(chunks: readonly Uint8Array[]): boolean {
    if (!this.isOpen) return false;
    this.#cork();
    for (const chunk of chunks) {
      this.#sentBytes += chunk.byteLength;
      this.socket.write(chunk);
    }
    if (this.bufferedBytes > this.#bufferedBytesMax + OVERFLOW_BYTES) {
      this.destroy(new LinkError('LINK_OVERFLOW', `${this.bufferedBytes} bytes wait for ${this.remoteAddress}`));
      return false;
    }
    // Once a caller was told to wait, only the drain takes that back: a ping that finds less in the buffer must not swallow it.
    this.#isFull ||= this.bufferedBytes > this.#bufferedBytesMax;
    return !this.#isFull;
  }

  /** Ends in good order: what was sent is still delivered if the peer takes it within a second. Resolves when the socket is gone. */
  async close(): Promise<void> {
    if (!this.socket.destroyed) {
      this.#isClosing = true;
      this.#uncork();
      this.socket.end();
      // Without a reader the peer's end would never be seen.
      if (this.#handlers === undefined) this.socket.resume();
      const linger = setTimeout(() => this.socket.destroy(), LINGER_MS);
      await this.closed;
      clearTimeout(linger);
    }
    await this.closed;
  }

  /** Ends at once; what waits is lost. */
  destroy(cause: Error): void {
    this.#fail(cause);
  }

  #received(chunk: Uint8Array): void {
    this.#receivedAtMs = performance.now();
    this.#receivedBytes += chunk.byteLength;
    if (this.#isClosing) return;
    try {
      this.#decoder.feed(chunk, (header, body) => this.#frame(header, body));
    } catch (error) {
      this.#fail(error instanceof Error ? error : new LinkError('LINK_CUT', String(error)));
    }
  }

  #frame(header: FrameHeader, body: Uint8Array): void {
    if (!this.isOpen) return;
    if (header.kind === FrameKind.ping) this.send(encodeFrame({ kind: FrameKind.pong }, [body], crc32c));
    else if (header.kind === FrameKind.pong) this.#pong(body);
    else this.#handlers?.onFrame(header, body);
  }

  #pong(body: Uint8Array): void {
    if (body.byteLength !== PING_BYTES) return;
    const roundTripMs = performance.now() - viewOf(body).getFloat64(0, true);
    // The peer's bytes: anything but a time that we may have sent says nothing.
    if (!(roundTripMs >= 0 && roundTripMs <= this.#silenceMs)) return;
    this.#roundTripMs = roundTripMs;
    this.#handlers?.onRoundTrip?.(roundTripMs);
  }

  #peerEnded(): void {
    if (!this.#decoder.isAtBoundary) this.#fail(new LinkError('LINK_CUT', `${this.remoteAddress} ended inside a frame`));
    else this.socket.end();
  }

  #schedulePing(): void {
    const body = new Uint8Array(PING_BYTES);
    viewOf(body).setFloat64(0, performance.now(), true);
    this.send(encodeFrame({ kind: FrameKind.ping }, [body], crc32c));
    this.#pingDueAtMs = performance.now() + this.#pingIntervalMs;
    this.#pingTimer = setTimeout(() => this.#pingDue(), this.#pingIntervalMs);
  }

  #pingDue(): void {
    const nowMs = performance.now();
    // A process that stood still has not read what came meanwhile: it must not take its peers for dead.
    if (nowMs - this.#pingDueAtMs > this.#pingIntervalMs) this.#receivedAtMs = nowMs;
    const silentMs = nowMs - this.#receivedAtMs;
    if (silentMs >= this.#silenceMs) this.#fail(new LinkError('LINK_SILENT', `nothing from ${this.remoteAddress} for ${Math.round(silentMs)} ms`));
    else this.#schedulePing();
  }

  /** All frames of one turn leave in one writev. */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.socket.cork();
    queueMicrotask(() => this.#uncork());
  }

  #uncork(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.socket.uncork();
  }

  #drained(): void {
    if (!this.#isFull || !this.isOpen) return;
    this.#isFull = false;
    this.#handlers?.onDrain?.();
  }

  #fail(cause: Error): void {
    this.#cause ??= cause;
    this.socket.destroy();
  }

  #ended(): Error | undefined {
    clearTimeout(this.#pingTimer);
    this.#isClosing = true;
    this.#handlers?.onClose(this.#cause);
    return this.#cause;
  }
}
