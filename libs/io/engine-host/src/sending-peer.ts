import { FrameKind } from '@tidemark/frame';
import { LinkKeeper, type Link } from '@tidemark/link';
import type { SendingStream, StreamPeer } from './sending-stream.js';
import type { Logger, ProtectionSpec, VraAddress } from './types.js';

/**
 * Small writes wait this long for company. One frame, one checksum, one fdatasync for many of them decides 4 KiB throughput
 * (performance.md: 7,500 → 20,400 IOPS at queue depth 32); the guest does not wait for it.
 */
const GATHER_MS = 1;
/** With this much queued nothing is gained by waiting. */
const GATHER_BYTES = 128 * 1024;
const PRIORITY: Record<ProtectionSpec['priority'], number> = { high: 0, medium: 1, low: 2 };

/** The 4008 connection to one recovering VRA, with all streams that go there. */
export class SendingPeer implements StreamPeer {
  readonly #streams = new Set<SendingStream>();
  readonly #numbers = new Map<number, SendingStream>();
  #nextNumber = 1;
  #ordered: SendingStream[] = [];
  readonly #keeper: LinkKeeper;
  #link: Link | undefined;
  #isFull = false;
  #queuedBytes = 0;
  #gatherTimer: NodeJS.Timeout | undefined;
  #isPumpDue = false;
  #unreachable = '';

  constructor(
    readonly address: VraAddress,
    localAddress: string,
    private readonly log: Logger,
  ) {
    this.#keeper = new LinkKeeper({
      address: address.address,
      port: address.dataPort,
      localAddress,
      link: { kinds: [FrameKind.opened, FrameKind.refused, FrameKind.ack, FrameKind.closeStream] },
      onLink: (link) => this.#linkUp(link),
      onUnreachable: (error) => {
        if (this.#unreachable === '') log.warn({ peer: address.vraId, error: error.message }, 'recovering VRA is not reachable on 4008');
        this.#unreachable = error.message;
      },
    });
  }

  /** Why there is no connection; empty when there is one. */
  get unreachableReason(): string {
    return this.#link ? '' : this.#unreachable;
  }

  get isEmpty(): boolean {
    return this.#streams.size === 0;
  }

  add(stream: SendingStream): void {
    this.#streams.add(stream);
    this.#order();
    if (this.#link) stream.linkUp(this.#link);
  }

  remove(stream: SendingStream): void {
    this.#streams.delete(stream);
    this.#forgetNumbers(stream);
    this.#order();
  }

  numberStream(stream: SendingStream): number {
    this.#forgetNumbers(stream);
    const number = this.#nextNumber;
    this.#nextNumber += 1;
    this.#numbers.set(number, stream);
    return number;
  }

  #forgetNumbers(stream: SendingStream): void {
    for (const [number, each] of this.#numbers) if (each === stream) this.#numbers.delete(number);
  }

  #order(): void {
    this.#ordered = [...this.#streams].sort((a, b) => PRIORITY[a.spec.priority] - PRIORITY[b.spec.priority]);
  }

  /** Called for every captured write: sends soon, or at once when enough has come together. */
  work(queuedBytes: number): void {
    this.#queuedBytes += queuedBytes;
    if (queuedBytes === 0 || this.#queuedBytes >= GATHER_BYTES) {
      if (this.#isPumpDue) return;
      this.#isPumpDue = true;
      setImmediate(() => this.#pump());
      return;
    }
    this.#gatherTimer ??= setTimeout(() => this.#pump(), GATHER_MS);
  }

  linkIsFull(): void {
    this.#isFull = true;
  }

  #pump(): void {
    clearTimeout(this.#gatherTimer);
    this.#gatherTimer = undefined;
    this.#isPumpDue = false;
    this.#queuedBytes = 0;
    if (this.#isFull) return;
    for (const stream of this.#ordered) {
      if (stream.pump()) continue;
      this.#isFull = true;
      return;
    }
  }

  #linkUp(link: Link): void {
    this.#link = link;
    this.#isFull = false;
    this.#unreachable = '';
    this.log.info({ peer: this.address.vraId }, 'connected to the recovering VRA on 4008');
    link.start({
      onFrame: (header, body) => this.#numbers.get(header.stream)?.frame(header, body),
      onDrain: () => {
        this.#isFull = false;
        this.#pump();
      },
      onClose: (cause) => this.#linkDown(cause),
    });
    for (const stream of this.#ordered) stream.linkUp(link);
  }

  #linkDown(cause: Error | undefined): void {
    this.#link = undefined;
    this.#isFull = false;
    this.#unreachable = cause?.message ?? 'the connection was closed';
    this.log.warn({ peer: this.address.vraId, cause: this.#unreachable }, 'connection to the recovering VRA ended');
    for (const stream of this.#ordered) stream.linkDown();
  }

  tick(nowMs: number): void {
    for (const stream of this.#ordered) stream.tick(nowMs);
  }

  async close(): Promise<void> {
    clearTimeout(this.#gatherTimer);
    await this.#keeper.close();
  }
}
