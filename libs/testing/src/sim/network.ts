import { helloOf, OWN_PROGRAM, type Program } from './versions.js';
import type { World } from './world.js';

/** A peer of which nothing comes for so long is taken as dead, as @tidemark/link does. */
export const SILENCE_MS = 3000;

export type Port = 'control' | 'data';

/** What the network needs of a host. */
export interface NetworkNode {
  readonly name: string;
  readonly isAlive: boolean;
  readonly isPaused: boolean;
  readonly program: Program;
  /** At once, or when its process goes on. */
  whenRunning(run: () => void): void;
  accept(port: Port, socket: SimSocket, fromName: string): void;
}

/** One end of a connection. Bytes arrive in order, cut anywhere; then the end is told once that it is closed. */
export class SimSocket {
  onData: (bytes: Uint8Array) => void = () => undefined;
  onClose: () => void = () => undefined;
  isOpen = true;
  /** Of when the connection was made. */
  peerProgram = OWN_PROGRAM;
  /** Later connections have higher ones. */
  dialNumber = 0;

  constructor(
    readonly outgoing: Direction,
    readonly incoming: Direction,
  ) {}

  get peerName(): string {
    return this.incoming.from;
  }

  get bufferedBytes(): number {
    return this.outgoing.queuedBytes;
  }

  send(bytes: Uint8Array): void {
    if (this.isOpen) this.outgoing.send(bytes);
  }

  /** This end is gone; the other one is told when what was sent has arrived. */
  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.outgoing.end();
    this.incoming.drop();
  }

  /** By the network. */
  closed(): void {
    if (!this.isOpen) return;
    this.close();
    this.onClose();
  }
}

/** One direction of a connection. */
export class Direction {
  receiver: SimSocket | undefined;
  readonly #queue: { bytes: Uint8Array; dueAtMs: number }[] = [];
  #lastDueMs = 0;
  #isEnded = false;
  #isDropped = false;
  queuedBytes = 0;

  constructor(
    private readonly world: World,
    readonly from: string,
    readonly to: string,
    private readonly network: Network,
  ) {}

  send(bytes: Uint8Array): void {
    if (this.#isEnded || this.#isDropped) return;
    const { random } = this.world;
    const cutAt = bytes.byteLength > 1 && random.chance(0.2) ? 1 + random.int(bytes.byteLength - 1) : bytes.byteLength;
    for (const part of [bytes.subarray(0, cutAt), bytes.subarray(cutAt)]) if (part.byteLength > 0) this.#queuePart(part);
  }

  #queuePart(bytes: Uint8Array): void {
    this.#lastDueMs = Math.max(this.#lastDueMs, this.world.nowMs + this.network.delayMs(this.from, this.to));
    this.#queue.push({ bytes, dueAtMs: this.#lastDueMs });
    this.queuedBytes += bytes.byteLength;
    this.world.after(this.#lastDueMs - this.world.nowMs, () => this.pump());
  }

  /** The first bytes. Where no host ever runs another program they come with the connection: the runs of such seeds stay as they are. */
  greet(hello: Uint8Array): void {
    if (this.network.areHellosSent) this.send(hello);
    else if (this.receiver?.isOpen === true) this.receiver.onData(hello);
  }

  /** Delivers what is due, unless the way is blocked. */
  pump(): void {
    while (!this.#isDropped && !this.network.isBlocked(this.from, this.to) && !this.network.isPaused(this.to)) {
      const [head] = this.#queue;
      if (head === undefined) {
        if (this.#isEnded) this.receiver?.closed();
        return;
      }
      if (head.dueAtMs > this.world.nowMs) return;
      this.#queue.shift();
      this.queuedBytes -= head.bytes.byteLength;
      this.receiver?.onData(head.bytes);
    }
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.world.after(Math.max(0, this.#lastDueMs - this.world.nowMs) + this.network.delayMs(this.from, this.to), () => this.pump());
  }

  /** The receiving end reads no more. */
  drop(): void {
    this.#isDropped = true;
    this.#queue.length = 0;
    this.queuedBytes = 0;
  }

  /** Only some of the bytes under way still arrive; the end is noticed after `noticeMs`. */
  cut(noticeMs: number): void {
    let keepBytes = this.world.random.int(this.queuedBytes + 1);
    for (let at = 0; at < this.#queue.length; at += 1) {
      const item = this.#queue[at];
      if (item === undefined) break;
      if (item.bytes.byteLength > keepBytes) item.bytes = item.bytes.subarray(0, keepBytes);
      keepBytes -= item.bytes.byteLength;
    }
    this.queuedBytes = this.#queue.reduce((total, item) => total + item.bytes.byteLength, 0);
    this.#isEnded = true;
    this.world.after(noticeMs, () => this.network.whenRunning(this.to, () => this.receiver?.closed()));
  }
}

/** Connections between hosts, not packets: delay, cuts at any byte, one-way partitions, half-open ends. */
export class Network {
  readonly #nodes = new Map<string, NetworkNode>();
  readonly #sockets = new Set<readonly [SimSocket, SimSocket]>();
  #dialCount = 0;
  readonly #blocked = new Map<string, number>();
  /** One way, ms. Short most of the time; the swarm sets it. */
  delayMsMax = 2;
  /** Now and then a direction clogs for this long. */
  spikeMsMax = 0;
  /** Hosts may be restarted on other programs: each hello travels as everything else does. */
  areHellosSent = false;
  #serial = 0;

  constructor(private readonly world: World) {}

  add(node: NetworkNode): void {
    this.#nodes.set(node.name, node);
  }

  delayMs(_from: string, _to: string): number {
    const { random } = this.world;
    if (this.spikeMsMax > 0 && random.chance(0.02)) return random.below(this.spikeMsMax);
    return 0.05 + random.below(this.delayMsMax);
  }

  isPaused(name: string): boolean {
    return this.#nodes.get(name)?.isPaused === true;
  }

  whenRunning(name: string, run: () => void): void {
    this.#nodes.get(name)?.whenRunning(run);
  }

  /** Its process goes on: what has arrived meanwhile is read. */
  pumpTo(name: string): void {
    for (const pair of this.#open()) for (const { outgoing } of pair) if (outgoing.to === name) outgoing.pump();
  }

  /** Nothing has come from it for so long that its peers take it as dead. */
  silent(name: string): void {
    for (const pair of this.#open()) for (const socket of pair) if (socket.incoming.from === name) this.whenRunning(socket.outgoing.from, () => socket.closed());
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}>${to}`);
  }

  /** Answers with undefined when there is no way, or nobody listens. */
  dial(from: NetworkNode, toName: string, port: Port, answer: (socket: SimSocket | undefined) => void): void {
    const { world } = this;
    const isCut = this.isBlocked(from.name, toName) || this.isBlocked(toName, from.name);
    world.after(isCut ? 1000 : 2 * this.delayMs(from.name, toName), () => {
      const node = this.#nodes.get(toName);
      if (isCut || node?.isAlive !== true || node.isPaused || from.isPaused) {
        from.whenRunning(() => answer(undefined));
        return;
      }
      const there = new Direction(world, from.name, toName, this);
      const back = new Direction(world, toName, from.name, this);
      const near = new SimSocket(there, back);
      const far = new SimSocket(back, there);
      there.receiver = far;
      back.receiver = near;
      this.#sockets.add([near, far]);
      this.#dialCount += 1;
      far.dialNumber = this.#dialCount;
      near.dialNumber = this.#dialCount;
      far.peerProgram = from.program;
      near.peerProgram = node.program;
      const [ownHello, theirHello] = [helloOf(from.program), helloOf(node.program)];
      node.accept(port, far, from.name);
      there.greet(ownHello);
      answer(near);
      back.greet(theirHello);
    });
  }

  /** Breaks one connection, if there is any: each end learns of it in its own time. */
  cutOne(): void {
    const open = this.#open();
    if (open.length > 0) this.#cut(this.world.random.pick(open));
  }

  cutAll(): void {
    for (const pair of this.#open()) this.#cut(pair);
  }

  /** A process ends: its peers are told (kill), sometimes after all that was under way, or have to find out by silence (power loss). */
  hostGone(name: string, isPowerLoss: boolean): void {
    for (const pair of this.#open()) {
      for (const socket of pair) {
        if (socket.outgoing.from !== name) continue;
        socket.isOpen = false;
        socket.incoming.drop();
        if (isPowerLoss) socket.outgoing.cut(SILENCE_MS);
        else if (this.world.random.chance(0.5)) socket.outgoing.cut(this.world.random.below(5));
        else socket.outgoing.end();
      }
    }
  }

  /** Nothing gets from one host to the other for a while; the other way works. */
  block(from: string, to: string, forMs: number): void {
    const key = `${from}>${to}`;
    this.#serial += 1;
    const serial = this.#serial;
    this.#blocked.set(key, serial);
    this.world.after(SILENCE_MS, () => {
      if (this.#blocked.get(key) === serial) this.#silence(from, to);
    });
    this.world.after(forMs, () => {
      if (this.#blocked.get(key) === serial) this.#unblock(key);
    });
  }

  healAll(): void {
    this.spikeMsMax = 0;
    for (const key of [...this.#blocked.keys()]) this.#unblock(key);
  }

  #unblock(key: string): void {
    this.#blocked.delete(key);
    for (const pair of this.#open()) for (const { outgoing } of pair) if (`${outgoing.from}>${outgoing.to}` === key) outgoing.pump();
  }

  #silence(from: string, to: string): void {
    for (const pair of this.#open()) {
      for (const socket of pair) if (socket.incoming.from === from && socket.incoming.to === to) this.whenRunning(to, () => socket.closed());
    }
  }

  #cut(pair: readonly [SimSocket, SimSocket]): void {
    const { random } = this.world;
    for (const { outgoing } of pair) outgoing.cut(random.chance(0.2) ? random.below(SILENCE_MS) : random.below(20));
  }

  #open(): (readonly [SimSocket, SimSocket])[] {
    for (const pair of this.#sockets) if (!pair[0].isOpen && !pair[1].isOpen) this.#sockets.delete(pair);
    return [...this.#sockets];
  }
}
