import type { Socket } from 'node:net';
import { assert, KiB, MiB, ProtocolError, viewOf } from '@tidemark/base';
import { agree, decodeHello, encodeFrame, encodeHello, FRAME_HEADER_BYTES, FrameKind, OWN_HELLO, type Agreement, type FrameHeader, type Hello } from '@tidemark/frame';
import { adoptSocket } from '@tidemark/sys';
import type { ComponentName } from '@tidemark/trust';
import { crc32c } from './checksum.js';
import { FlightWindow } from './flight-window.js';
import { FrameInlet } from './frame-inlet.js';
import { LinkError } from './link-error.js';
import type { KnownSocket } from './transport.js';

export interface LinkOptions {
  /** Frame kinds that this connection takes besides hello, ping and pong; all others end it. All, if missing. */
  readonly kinds?: readonly FrameKind[];
  /** From here on {@link Link.send} answers false. Default 8 MiB. */
  readonly bufferedBytesMax?: number;
  /** What `send` takes above that before the link is given up, for callers between two checks. Default 64 MiB. */
  readonly overflowBytes?: number;
  /** {@link Link.send} also answers false while more is under way than the path needs, see {@link FlightWindow}. Default false. */
  readonly isFlightLimited?: boolean;
  /** Default 1000 ms. */
  readonly pingIntervalMs?: number;
  /** A peer of which nothing came for so long is taken as dead. Default 3000 ms. */
  readonly silenceMs?: number;
  /** A frame that comes in more slowly than 32 KiB in this time ends the link. Default 10 s. */
  readonly progressMs?: number;
  /** What this side says of itself. Default: what this release speaks. */
  readonly hello?: Hello;
}

export interface LinkHandlers {
  /** Once, before any frame: the peer has said hello, and both sides have a version in common. */
  onReady?(agreement: Agreement): void;
  /** `body` is handed over, in memory of the `payloadPool`: who is done with it may release it after retaining it. What it throws ends the link, with the thrown error as cause. */
  onFrame(header: FrameHeader, body: Uint8Array): void;
  /** Once, whatever ended it; undefined: this side or the peer closed it in good order. Nothing is called after it. */
  onClose(cause: Error | undefined): void;
  /** After `send` answered false: there is room again. */
  onDrain?(): void;
  onRoundTrip?(roundTripMs: number): void;
}

const PING_BYTES = 8;
const PING_FRAME_BYTES = FRAME_HEADER_BYTES + PING_BYTES;
const OVERFLOW_BYTES = 64 * MiB;
/** A frame that has begun must go on: so many bytes in `progressMs`, or the peer only holds memory here. A hundredth of the slowest link (5 Mbit/s). */
const PROGRESS_BYTES_MIN = 32 * KiB;
/** How long a closing link may still deliver what was sent. */
const LINGER_MS = 1000;

/**
 * One connection to another VRA. Each side says hello first; a caller waits for `onReady` before it asks the peer for anything. Whole frames in both directions, in order, or the end of the link. Both ends ping, so a peer
 * that vanished without a word is noticed in `silenceMs`. Nothing is read before {@link start}.
 */
export class Link {
  /** Who is at the other end, by its certificate. */
  readonly peer: ComponentName;
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
  #agreement: Agreement | undefined;
  #startedAtMs = 0;
  #progressBytes = 0;
  #progressAtMs = 0;
  readonly #flight = new FlightWindow(performance.now());
  readonly #isFlightLimited: boolean;
  readonly #overflowBytes: number;
  readonly #hello: Hello;
  readonly #progressMs: number;
  readonly #inlet: FrameInlet;
  readonly #hasOwnBuffers: boolean;
  readonly #bufferedBytesMax: number;
  readonly #pingIntervalMs: number;
  readonly #silenceMs: number;

  private readonly socket: Socket;

  constructor(
    { socket, peer }: KnownSocket,
    options: LinkOptions = {},
    /** Already in use by a socket that reads into its buffers. */
    inlet?: FrameInlet,
  ) {
    this.socket = socket;
    this.peer = peer;
    this.remoteAddress = socket.remoteAddress ?? '';
    this.localAddress = socket.localAddress ?? '';
    this.#bufferedBytesMax = options.bufferedBytesMax ?? 8 * MiB;
    this.#pingIntervalMs = options.pingIntervalMs ?? 1000;
    this.#silenceMs = options.silenceMs ?? 3000;
    this.#isFlightLimited = options.isFlightLimited ?? false;
    this.#overflowBytes = options.overflowBytes ?? OVERFLOW_BYTES;
    this.#hello = options.hello ?? OWN_HELLO;
    this.#progressMs = options.progressMs ?? 10_000;
    this.#inlet = inlet ?? new FrameInlet(options.kinds);
    this.#hasOwnBuffers = inlet !== undefined;
    this.#inlet.onFrame = (header, body) => this.#frame(header, body);
    socket.on('error', (error) => this.#fail(new LinkError('LINK_CUT', error.message, { cause: error })));
    this.closed = new Promise((resolve) => socket.once('close', () => resolve(this.#ended())));
    this.send(encodeHello(this.#hello, crc32c));
  }

  /** Over a socket that a server accepted and that has not read anything yet; taken over if that can be, so that long bodies are read into place. */
  static accepted({ socket, peer }: KnownSocket, options: LinkOptions = {}): Link {
    const inlet = new FrameInlet(options.kinds);
    const own = adoptSocket(socket, {
      isPaused: true,
      buffer: () => inlet.next(),
      callback: (bytes, buffer) => {
        link.#received(bytes, () => inlet.arrived(bytes, buffer));
        return true;
      },
    });
    const link: Link = own === undefined ? new Link({ socket, peer }, options) : new Link({ socket: own, peer }, options, inlet);
    return link;
  }

  /** Begins to read and to ping. Once. */
  start(handlers: LinkHandlers): void {
    assert(this.#handlers === undefined, 'a link is started once');
    this.#handlers = handlers;
    if (this.socket.destroyed) return;
    if (this.#hasOwnBuffers) this.socket.resume();
    else this.socket.on('data', (chunk: Uint8Array) => this.#received(chunk.byteLength, () => this.#inlet.feed(chunk)));
    this.socket.on('end', () => this.#peerEnded());
    this.socket.on('drain', () => this.#drained());
    this.#receivedAtMs = performance.now();
    this.#startedAtMs = this.#receivedAtMs;
    this.#progressAtMs = this.#receivedAtMs;
    this.#schedulePing();
  }

  /** What both sides speak; undefined before the peer's hello. */
  get agreement(): Agreement | undefined {
    return this.#agreement;
  }

  /** What the path carries, bytes per second; Infinity as long as it was never the limit. Only with `isFlightLimited`. */
  get bytesPerSecond(): number {
    return this.#flight.bytesPerSecond;
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
    this.#write(chunks);
    if (this.#isFlightLimited && this.#flight.wantsProbe) this.#ping();
    if (this.bufferedBytes > this.#bufferedBytesMax + this.#overflowBytes) {
      this.destroy(new LinkError('LINK_OVERFLOW', `${this.bufferedBytes} bytes wait for ${this.remoteAddress}`));
      return false;
    }
    // Once a caller was told to wait, only the drain takes that back: a ping that finds less in the buffer must not swallow it.
    this.#isFull ||= this.#hasEnough;
    return !this.#isFull;
  }

  get #hasEnough(): boolean {
    return this.bufferedBytes > this.#bufferedBytesMax || (this.#isFlightLimited && this.#flight.isFull);
  }

  #write(chunks: readonly Uint8Array[]): void {
    this.#cork();
    let bytes = 0;
    for (const chunk of chunks) {
      bytes += chunk.byteLength;
      this.socket.write(chunk);
    }
    this.#sentBytes += bytes;
    this.#flight.sent(bytes);
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

  #received(bytes: number, take: () => void): void {
    this.#receivedAtMs = performance.now();
    this.#receivedBytes += bytes;
    if (this.#isClosing) return;
    try {
      take();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new LinkError('LINK_CUT', String(error)));
    }
  }

  #frame(header: FrameHeader, body: Uint8Array): void {
    if (!this.isOpen) return;
    if (this.#agreement === undefined) this.#greeted(header, body);
    else if (header.kind === FrameKind.hello) throw new ProtocolError('PROTOCOL_ORDER', 'a second hello on one connection');
    else if (header.kind === FrameKind.ping) this.send(encodeFrame({ kind: FrameKind.pong }, [body], crc32c));
    else if (header.kind === FrameKind.pong) this.#pong(body);
    else this.#handlers?.onFrame(header, body);
  }

  #greeted(header: FrameHeader, body: Uint8Array): void {
    if (header.kind !== FrameKind.hello) throw new ProtocolError('PROTOCOL_ORDER', `frame of kind ${header.kind} before hello`);
    this.#agreement = agree(this.#hello, decodeHello(body));
    this.#handlers?.onReady?.(this.#agreement);
  }

  #pong(body: Uint8Array): void {
    if (body.byteLength !== PING_BYTES) return;
    // The peer's bytes: a number that was not asked for says nothing.
    const roundTripMs = this.#flight.answered(viewOf(body).getFloat64(0, true), performance.now());
    if (roundTripMs === undefined) return;
    this.#roundTripMs = roundTripMs;
    this.#handlers?.onRoundTrip?.(roundTripMs);
    if (this.#isFlightLimited) this.#drained();
  }

  #peerEnded(): void {
    if (!this.#inlet.isAtBoundary) this.#fail(new LinkError('LINK_CUT', `${this.remoteAddress} ended inside a frame`));
    else this.socket.end();
  }

  #ping(): void {
    if (!this.isOpen) return;
    const body = new Uint8Array(PING_BYTES);
    viewOf(body).setFloat64(0, this.#flight.probe(PING_FRAME_BYTES, performance.now()), true);
    this.#cork();
    for (const chunk of encodeFrame({ kind: FrameKind.ping }, [body], crc32c)) {
      this.#sentBytes += chunk.byteLength;
      this.socket.write(chunk);
    }
  }

  #schedulePing(): void {
    this.#ping();
    this.#pingDueAtMs = performance.now() + this.#pingIntervalMs;
    this.#pingTimer = setTimeout(() => this.#pingDue(), this.#pingIntervalMs);
  }

  #pingDue(): void {
    const nowMs = performance.now();
    // A process that stood still has not read what came meanwhile: it must not take its peers for dead.
    if (nowMs - this.#pingDueAtMs > this.#pingIntervalMs) {
      this.#receivedAtMs = nowMs;
      this.#progressAtMs = nowMs;
    }
    const silentMs = nowMs - this.#receivedAtMs;
    const fault = this.#faultOf(silentMs, nowMs);
    if (fault !== undefined) this.#fail(new LinkError('LINK_SILENT', fault));
    else this.#schedulePing();
  }

  /** Whoever is silent, does not say hello, or trickles a frame in only to hold a connection and memory. */
  #faultOf(silentMs: number, nowMs: number): string | undefined {
    if (silentMs >= this.#silenceMs) return `nothing from ${this.remoteAddress} for ${Math.round(silentMs)} ms`;
    if (this.#agreement === undefined && nowMs - this.#startedAtMs >= this.#silenceMs) return `no hello from ${this.remoteAddress}`;
    if (this.#inlet.isAtBoundary || this.#receivedBytes - this.#progressBytes >= PROGRESS_BYTES_MIN) {
      this.#progressBytes = this.#receivedBytes;
      this.#progressAtMs = nowMs;
    }
    return nowMs - this.#progressAtMs >= this.#progressMs ? `a frame of ${this.remoteAddress} does not come to its end` : undefined;
  }

  /** All frames of one turn leave in one writev: acks of many journals, each from a callback of its own, too. */
  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.socket.cork();
    setImmediate(() => this.#uncork());
  }

  #uncork(): void {
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.socket.uncork();
  }

  #drained(): void {
    if (!this.#isFull || !this.isOpen || this.#hasEnough) return;
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
