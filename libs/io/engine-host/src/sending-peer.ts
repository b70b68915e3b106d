import { FrameKind } from '@tidemark/frame';
import { LinkKeeper, type Link, type LinkTransport } from '@tidemark/link';
import type { ComponentName } from '@tidemark/trust';
import { CompareQuota } from './compare-quota.js';
import type { Outbound, OutboundPeer } from './outbound.js';
import type { SendingStream } from './sending-stream.js';
import type { Logger, VraAddress } from './types.js';

/** TLS 1.3: the one who calls takes the handshake for done before the other one has looked at its certificate. */
const CLOSED_UNGREETED = 'it closed the connection without a word, as it does to sites that it does not trust: are both sites still paired, and the certificates valid?';

/** The 4008 connection to one recovering VRA, with all streams that go there. */
export class SendingPeer implements OutboundPeer {
  readonly compares = new CompareQuota<SendingStream>();
  readonly #streams = new Set<SendingStream>();
  readonly #numbers = new Map<number, SendingStream>();
  #nextNumber = 1;
  readonly #keeper: LinkKeeper;
  #link: Link | undefined;
  #isFull = false;
  #unreachable = '';

  constructor(
    readonly address: VraAddress,
    private readonly around: { readonly transport: LinkTransport; readonly localAddress: string; readonly outbound: Outbound; readonly log: Logger },
    siteId: string,
  ) {
    const expected: ComponentName = { siteId, role: 'vra', instanceId: address.vraId };
    this.#keeper = new LinkKeeper({
      address: address.address,
      port: address.dataPort,
      localAddress: around.localAddress,
      transport: around.transport,
      expected,
      link: { isFlightLimited: true, kinds: [FrameKind.opened, FrameKind.refused, FrameKind.ack, FrameKind.closeStream, FrameKind.hashReply] },
      onLink: (link) => this.#linkUp(link),
      onUnreachable: (error) => {
        if (this.#unreachable !== error.message) around.log.warn({ peer: address.vraId, error: error.message }, 'recovering VRA is not reachable on 4008');
        this.#unreachable = error.message;
      },
    });
  }

  /** Why there is no connection; empty when there is one. */
  get unreachableReason(): string {
    return this.#link ? '' : this.#unreachable;
  }

  get hasRoom(): boolean {
    return this.#link === undefined || !this.#isFull;
  }

  get bytesPerSecond(): number {
    return this.#link?.bytesPerSecond ?? Infinity;
  }

  get isEmpty(): boolean {
    return this.#streams.size === 0;
  }

  add(stream: SendingStream): void {
    this.#streams.add(stream);
    if (this.#link) stream.linkUp(this.#link);
  }

  remove(stream: SendingStream): void {
    this.#streams.delete(stream);
    this.forgetStream(stream);
    this.around.outbound.remove(stream);
  }

  numberStream(stream: SendingStream): number {
    this.forgetStream(stream);
    const number = this.#nextNumber;
    this.#nextNumber += 1;
    this.#numbers.set(number, stream);
    return number;
  }

  forgetStream(stream: SendingStream): void {
    for (const [number, each] of this.#numbers) if (each === stream) this.#numbers.delete(number);
  }

  /** The link took a frame and wants no more, of nobody, until it drains. */
  linkIsFull(): void {
    this.#isFull = true;
  }

  #linkUp(link: Link): void {
    link.start({
      onReady: () => this.#ready(link),
      onFrame: (header, body) => this.#numbers.get(header.stream)?.frame(header, body),
      onDrain: () => {
        this.#isFull = false;
        this.around.outbound.drained(this);
      },
      onClose: (cause) => this.#linkDown(cause),
    });
  }

  #ready(link: Link): void {
    this.#link = link;
    this.#isFull = false;
    this.#unreachable = '';
    this.around.log.info({ peer: this.address.vraId }, 'connected to the recovering VRA on 4008');
    for (const stream of this.#streams) stream.linkUp(link);
    this.around.outbound.drained(this);
  }

  #linkDown(cause: Error | undefined): void {
    const wasReady = this.#link !== undefined;
    this.#link = undefined;
    this.#isFull = false;
    this.#unreachable = cause?.message ?? (wasReady ? 'the connection was closed' : CLOSED_UNGREETED);
    this.around.log.warn({ peer: this.address.vraId, cause: this.#unreachable }, 'connection to the recovering VRA ended');
    if (!wasReady) return;
    for (const stream of this.#streams) stream.linkDown();
    this.around.outbound.drained(this);
  }

  tick(nowMs: number): void {
    for (const stream of this.#streams) stream.tick(nowMs);
  }

  async close(): Promise<void> {
    await this.#keeper.close();
  }
}
