import { KiB } from '@tidemark/base';
import { SendOrder, TokenBucket, type SendPriority } from '@tidemark/replication';
import { RateMeter } from './rate.js';

/**
 * Small writes wait for company; the guest does not wait for it. One frame, one checksum, one fdatasync for many of them decides 4 KiB throughput
 * (performance.md), and the turn that builds and sends a frame delays the guest's requests behind it: at queue depth 1, with 8 ms instead of 1, that
 * is one write in a hundred instead of one in fifteen. Markers do not wait, so neither does a checkpoint.
 */
const GATHER_MS_MIN = 8;
/**
 * Writes that spread over many streams need more time to meet their like: as many ms as streams wrote last time, up to this. It costs no recovery point: a
 * marker takes along what its stream has gathered.
 */
const GATHER_MS_MAX = 250;
/** One pass over the streams that have something to send goes on for so long, then guests and peers have their turn. */
const SLICE_MS = 0.5;
/** One frame gathers up to this much: enough that checksum, syscall and fdatasync are shared by many small writes. Eight of the longest records. */
export const FRAME_RAW_BYTES = 516 * KiB;
/** On a slow link a frame is no longer than this time, or all others wait for it; but long enough to be compressed well. */
const FRAME_MS = 10;
const FRAME_RAW_BYTES_MIN = 64 * KiB;
/** With this many whole frames queued nothing is gained by waiting, however many streams there are. */
const SENDERS_COUNTED_MAX = 32;

/** A connection that several streams share. */
export interface OutboundPeer {
  /** False: it takes nothing until it says `drained`. */
  readonly hasRoom: boolean;
  /** Infinity as long as it was never the limit. */
  readonly bytesPerSecond: number;
}

export interface OutboundStream {
  readonly priority: SendPriority;
  readonly peer: OutboundPeer;
  /** Sends one frame. Its bytes (raw: see {@link Outbound.saved}); 0: nothing to send now, {@link Outbound.work} is called when there is. */
  sendNext(limits: { readonly rawBytesMax: number; readonly bytesPerSecond: number }): number;
}

/** The streams of one peer in their order: who sends next on that link, whatever leaves on others. */
interface PeerLine {
  readonly peer: OutboundPeer;
  readonly order: SendOrder<OutboundStream>;
}

export interface OutboundStatus {
  /** null: no limit. */
  readonly bytesPerSecondMax: number | null;
  /** The limit held something back in the last second. */
  readonly isThrottled: boolean;
  /** Replicated data that left, bytes per second. */
  readonly bytesPerSecond: number;
}

/**
 * Everything that a VRA replicates, to all peers: who sends next (priority of the VPG), and how fast in all (the site's limit). Two orders, for either
 * bottleneck: each link divides itself among its own streams, and the site's limit is divided among the peers, each by the priority of whoever is next
 * on it. A peer that is slow or stuck holds back its own streams only, and keeps their order meanwhile. Control (4007) does not come here.
 */
export class Outbound {
  readonly #bucket = new TokenBucket(performance.now());
  readonly #lines = new Map<OutboundPeer, PeerLine>();
  /** Lines with something to send, but for those whose peer takes nothing now. */
  readonly #turns = new SendOrder<PeerLine>();
  #gatherTimer: NodeJS.Timeout | undefined;
  #throttleTimer: NodeJS.Timeout | undefined;
  #isPumpDue = false;
  /** Streams with captured writes that wait for company. Whoever has something urgent does not take them along: their time comes. */
  readonly #gathering = new Set<OutboundStream>();
  #gatheredBytes = 0;
  /** How many they were last time. */
  #gatheredCount = 1;
  #throttledAtMs = -Infinity;
  #sentBytes = 0;
  readonly #rate = new RateMeter();
  #isClosed = false;

  /** Bytes per second to all peers together; Infinity: no limit. */
  setLimit(bytesPerSecond: number): void {
    if (bytesPerSecond === this.#bucket.bytesPerSecond) return;
    this.#bucket.setRate(bytesPerSecond, performance.now());
    clearTimeout(this.#throttleTimer);
    this.#throttleTimer = undefined;
    this.#soon();
  }

  /** `gatherBytesMax`: what may wait for company, of the memory that captured writes have. */
  constructor(private readonly gatherBytesMax = Infinity) {}

  /** `stream` has captured `queuedBytes`: they leave when enough has come together, or its time is up. 0: it may have something that should not wait. */
  work(stream: OutboundStream, queuedBytes: number): void {
    if (queuedBytes === 0) {
      this.#add(stream);
      return this.#soon();
    }
    this.#gathering.add(stream);
    this.#gatheredBytes += queuedBytes;
    if (this.#gatheredBytes >= Math.min(this.gatherBytesMax, FRAME_RAW_BYTES * Math.min(this.#gatheredCount, SENDERS_COUNTED_MAX))) this.#gathered();
    else this.#gatherTimer ??= setTimeout(() => this.#gathered(), Math.min(GATHER_MS_MAX, Math.max(GATHER_MS_MIN, this.#gatheredCount)));
  }

  #add(stream: OutboundStream): void {
    const line = this.#lineOf(stream.peer);
    line.order.add(stream, stream.priority);
    this.#enqueue(line);
  }

  #gathered(): void {
    clearTimeout(this.#gatherTimer);
    this.#gatherTimer = undefined;
    for (const stream of this.#gathering) this.#add(stream);
    this.#gatheredCount = Math.max(1, this.#gathering.size);
    this.#gathering.clear();
    this.#gatheredBytes = 0;
    this.#soon();
  }

  /** The peer takes frames again, or is a new connection. */
  drained(peer: OutboundPeer): void {
    const line = this.#lines.get(peer);
    if (line) this.#enqueue(line);
    this.#soon();
  }

  remove(stream: OutboundStream): void {
    this.#gathering.delete(stream);
    const line = this.#lines.get(stream.peer);
    if (!line) return;
    line.order.remove(stream);
    this.#enqueue(line);
    if (line.order.isEmpty) this.#lines.delete(stream.peer);
  }

  /** A frame took so many bytes less than `sendNext` said. */
  saved(stream: OutboundStream, bytes: number): void {
    this.#charge(stream, -bytes);
  }

  status(nowMs: number): OutboundStatus {
    const { bytesPerSecond } = this.#bucket;
    return {
      bytesPerSecondMax: bytesPerSecond === Infinity ? null : bytesPerSecond,
      isThrottled: nowMs - this.#throttledAtMs < 1000,
      bytesPerSecond: this.#rate.sample(this.#sentBytes, nowMs),
    };
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#gatherTimer);
    clearTimeout(this.#throttleTimer);
  }

  #lineOf(peer: OutboundPeer): PeerLine {
    let line = this.#lines.get(peer);
    if (!line) this.#lines.set(peer, (line = { peer, order: new SendOrder() }));
    return line;
  }

  /** The line stands among the others with the priority of whoever is next on it. */
  #enqueue(line: PeerLine): void {
    const stream = line.peer.hasRoom ? line.order.next() : undefined;
    if (stream) this.#turns.add(line, stream.priority);
    else this.#turns.remove(line);
  }

  #soon(): void {
    if (this.#isPumpDue || this.#isClosed) return;
    this.#isPumpDue = true;
    setImmediate(() => this.#pump());
  }

  #pump(): void {
    this.#isPumpDue = false;
    const startedAtMs = performance.now();
    for (let line = this.#turns.next(); line && !this.#isClosed; line = this.#turns.next()) {
      const stream = line.peer.hasRoom ? line.order.next() : undefined;
      if (!stream) {
        this.#turns.remove(line);
        continue;
      }
      if (this.#isHeldBack()) return;
      const bytesPerSecond = Math.min(line.peer.bytesPerSecond, this.#bucket.bytesPerSecond);
      const bytes = stream.sendNext({ rawBytesMax: frameBytesAt(bytesPerSecond), bytesPerSecond });
      if (bytes === 0) line.order.remove(stream);
      else this.#charge(stream, bytes);
      this.#enqueue(line);
      if (bytes > 0 && performance.now() - startedAtMs >= SLICE_MS) return this.#soon();
    }
  }

  #charge(stream: OutboundStream, bytes: number): void {
    const line = this.#lineOf(stream.peer);
    line.order.sent(stream, stream.priority, bytes);
    this.#turns.sent(line, stream.priority, bytes);
    this.#bucket.take(bytes);
    this.#sentBytes += bytes;
  }

  #isHeldBack(): boolean {
    if (this.#bucket.bytesPerSecond === Infinity) return false;
    const nowMs = performance.now();
    const waitMs = this.#bucket.waitMs(nowMs);
    if (waitMs === 0) return false;
    this.#throttledAtMs = nowMs;
    this.#throttleTimer ??= setTimeout(() => {
      this.#throttleTimer = undefined;
      this.#pump();
    }, Math.ceil(waitMs));
    return true;
  }
}

/** The longest frame for a link of that speed. */
export const frameBytesAt = (bytesPerSecond: number): number =>
  Math.min(FRAME_RAW_BYTES, Math.max(FRAME_RAW_BYTES_MIN, (bytesPerSecond * FRAME_MS) / 1000));

