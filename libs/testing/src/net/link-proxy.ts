import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export interface LinkShape {
  /** Delay in each direction, ms. */
  readonly oneWayMs?: number;
  /** Rate of each direction, shared by all connections; Infinity: none. */
  readonly bytesPerSecond?: number;
  /** Bytes that the bottleneck queues, as time at its rate; beyond that it stops reading. Default 20 ms. */
  readonly queueMs?: number;
  /** Sees every byte that comes in, before anything is done to it. */
  readonly onBytes?: (direction: Direction, bytes: Buffer) => void;
}

export type Direction = 'toTarget' | 'toSource';

export interface LinkProxyOptions extends LinkShape {
  readonly target: { readonly address: string; readonly port: number };
  /** Default 127.0.0.1 and any port. */
  readonly address?: string;
  readonly port?: number;
}

/** One direction of the link: what leaves waits for its turn at the bottleneck and then for the distance. */
class Lane {
  freeAtMs = 0;
  isBlackhole = false;
  bytes = 0;
  /** After so many more bytes every connection is reset, in the middle of whatever is under way. */
  cutAfterBytes = Infinity;

  constructor(private readonly shape: () => Required<LinkShape>) {}

  /** When these bytes arrive at the other end. */
  arrivalMs(byteCount: number, nowMs: number): number {
    const { bytesPerSecond, oneWayMs } = this.shape();
    this.freeAtMs = Math.max(this.freeAtMs, nowMs) + (byteCount * 1000) / bytesPerSecond;
    return this.freeAtMs + oneWayMs;
  }

  queuedMs(nowMs: number): number {
    return this.freeAtMs - nowMs;
  }
}

interface Parcel {
  readonly bytes: Buffer;
  readonly arrivesMs: number;
}

/** Pieces small enough that the bottleneck turns between connections as a router would. */
const PIECE_BYTES = 16 * 1024;

/** Carries the bytes of one connection in one direction, in order. */
class Carrier {
  readonly #parcels: Parcel[] = [];
  #timer: NodeJS.Timeout | undefined;
  #resumeTimer: NodeJS.Timeout | undefined;
  #hasEnded = false;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly lane: Lane,
    private readonly around: { queueMsMax(): number; saw(bytes: Buffer): void; cut(): void },
  ) {
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    from.on('end', () => {
      this.#hasEnded = true;
      this.#deliver();
    });
    from.on('close', () => this.#stop());
  }

  #take(bytes: Buffer): void {
    const nowMs = performance.now();
    this.around.saw(bytes);
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      let piece = bytes.subarray(at, at + PIECE_BYTES);
      if (this.lane.cutAfterBytes < piece.length) {
        piece = piece.subarray(0, this.lane.cutAfterBytes);
        this.lane.cutAfterBytes = Infinity;
        this.to.write(piece, () => this.around.cut());
        return;
      }
      this.lane.cutAfterBytes -= piece.length;
      this.lane.bytes += piece.length;
      this.#parcels.push({ bytes: piece, arrivesMs: this.lane.arrivalMs(piece.length, nowMs) });
    }
    this.#deliver();
    this.#yield(nowMs);
  }

  /** The bottleneck's queue is full: the sender's own buffers fill up, as behind a real one. */
  #yield(nowMs: number): void {
    const tooMuchMs = this.lane.queuedMs(nowMs) - this.around.queueMsMax();
    if (tooMuchMs <= 0) return;
    this.from.pause();
    clearTimeout(this.#resumeTimer);
    this.#resumeTimer = setTimeout(() => this.from.resume(), Math.max(1, tooMuchMs));
  }

  #deliver(): void {
    const nowMs = performance.now();
    while (!this.lane.isBlackhole) {
      const parcel = this.#parcels[0];
      if (parcel === undefined || parcel.arrivesMs > nowMs) break;
      this.#parcels.shift();
      this.to.write(parcel.bytes);
    }
    const [next] = this.#parcels;
    if (next === undefined) {
      if (this.#hasEnded) this.to.end();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#deliver();
    }, this.lane.isBlackhole ? 20 : Math.max(1, next.arrivesMs - nowMs));
  }

  #stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#resumeTimer);
  }
}

/**
 * A link with a distance and a rate between two VRAs, on real sockets, in user space: delay, rate, a cut in the middle of a frame, a reset, a direction that
 * swallows everything. For tests and benchmarks; a connection through it is no slower than the machine when nothing is asked for.
 */
export class LinkProxy {
  readonly #pairs = new Set<readonly [Socket, Socket]>();
  #shape: Required<LinkShape>;
  readonly #lanes: Record<Direction, Lane>;

  private constructor(
    private readonly server: Server,
    private readonly options: LinkProxyOptions,
  ) {
    this.#shape = { oneWayMs: options.oneWayMs ?? 0, bytesPerSecond: options.bytesPerSecond ?? Infinity, queueMs: options.queueMs ?? 20, onBytes: options.onBytes ?? (() => undefined) };
    this.#lanes = { toTarget: new Lane(() => this.#shape), toSource: new Lane(() => this.#shape) };
  }

  static async listen(options: LinkProxyOptions): Promise<LinkProxy> {
    const server = createServer({ noDelay: true }, (socket) => proxy.#accept(socket));
    const proxy = new LinkProxy(server, options);
    server.listen(options.port ?? 0, options.address ?? '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get connectionCount(): number {
    return this.#pairs.size;
  }

  bytes(direction: Direction): number {
    return this.#lanes[direction].bytes;
  }

  setShape(shape: LinkShape): void {
    this.#shape = { ...this.#shape, ...shape };
  }

  /** RST on both sides of every connection; what is under way is lost. */
  reset(): void {
    for (const [source, target] of [...this.#pairs]) {
      source.resetAndDestroy();
      target.resetAndDestroy();
    }
  }

  /** Resets after exactly so many more bytes have passed in that direction. */
  cutAfter(direction: Direction, bytes: number): void {
    this.#lanes[direction].cutAfterBytes = bytes;
  }

  /** Nothing passes in that direction, and nobody is told, until it is switched off. */
  blackhole(direction: Direction, isOn: boolean): void {
    this.#lanes[direction].isBlackhole = isOn;
  }

  async close(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.close();
    this.reset();
    await closed;
  }

  #accept(source: Socket): void {
    const target = connect({ host: this.options.target.address, port: this.options.target.port, noDelay: true });
    const pair = [source, target] as const;
    this.#pairs.add(pair);
    const around = (direction: Direction) => ({ queueMsMax: () => this.#shape.queueMs, saw: (bytes: Buffer) => this.#shape.onBytes(direction, bytes), cut: () => this.reset() });
    for (const [socket, other] of [[source, target], [target, source]] as const) {
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#pairs.delete(pair);
        other.destroy();
      });
    }
    new Carrier(source, target, this.#lanes.toTarget, around('toTarget'));
    new Carrier(target, source, this.#lanes.toSource, around('toSource'));
  }
}
