import { decodeControlMessage, encodeControlMessage, type ControlMessage } from '@tidemark/checkpoint';
import { encodeFrame, FrameKind } from '@tidemark/frame';
import { crc32c } from '@tidemark/link';
import { SILENCE_MS, type Network, type NetworkNode, type Port, type SimSocket } from './network.js';
import { Pause } from './pause.js';
import type { Plant } from './plants.js';
import { greet, OWN_PROGRAM } from './versions.js';
import type { World } from './world.js';

/** Everything of a run that hosts share. */
export interface Surroundings {
  readonly world: World;
  readonly network: Network;
  readonly plant: Plant | undefined;
}

const BACKOFF_MS = 150;
const REPORT_STREAM = 1;

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** A host with one VRA process: what is scheduled in one life never runs in another. */
export abstract class SimHost implements NetworkNode {
  isAlive = false;
  #life = 0;
  readonly #upPeers = new Set<string>();
  /** The host's clocks run fast or slow by this factor, and the wall clock is off by so much. */
  clockRate = 1;
  wallOffsetMs = 0;
  /** What it runs, or will when it is started. */
  program = OWN_PROGRAM;
  /** By peer: why there is no talking to it. */
  readonly versionTroubles = new Map<string, string>();
  /** By peer: the newest connection on which both had a version in common. */
  readonly agreedDials = new Map<string, number>();
  readonly #peers = new Map<string, SimSocket>();
  readonly #pause: Pause;

  constructor(
    readonly name: string,
    protected readonly around: Surroundings,
    /** Hosts that it talks to on 4007. */
    private readonly peerNames: readonly string[],
  ) {
    around.network.add(this);
    this.#pause = new Pause(around.world);
    this.clockRate = 1 + around.world.random.between(-0.002, 0.002);
    this.wallOffsetMs = around.world.random.between(-500, 500);
  }

  /** Whether it looks for a connection to this one. */
  calls(name: string): boolean {
    return this.peerNames.includes(name);
  }

  get world(): World {
    return this.around.world;
  }

  get plant(): Plant | undefined {
    return this.around.plant;
  }

  /** Grows with every start of the process. */
  get life(): number {
    return this.#life;
  }

  get upPeers(): readonly string[] {
    return [...this.#upPeers];
  }

  get nowMs(): number {
    return this.around.world.nowMs * this.clockRate;
  }

  get wallMs(): number {
    return 1_700_000_000_000 + this.around.world.nowMs + this.wallOffsetMs;
  }

  /** In this life only. */
  after(delayMs: number, run: () => void): void {
    const life = this.#life;
    this.around.world.after(delayMs, () => {
      this.#pause.whenRunning(() => {
        if (this.isAlive && this.#life === life) run();
      });
    });
  }

  /** The process does nothing for a while, and its clocks run on: what comes for it meanwhile waits. */
  pause(forMs: number): void {
    if (!this.isAlive || this.isPaused) return;
    this.#pause.begin();
    const { count } = this.#pause;
    const whileItLasts = (run: () => void) => (): void => {
      if (this.isPaused && this.#pause.count === count) run();
    };
    this.around.world.after(SILENCE_MS, whileItLasts(() => this.around.network.silent(this.name)));
    this.around.world.after(forMs, whileItLasts(() => this.resume()));
  }

  resume(): void {
    if (!this.isPaused) return;
    this.#pause.end();
    this.around.network.pumpTo(this.name);
  }

  get isPaused(): boolean {
    return this.#pause.isOn;
  }

  whenRunning(run: () => void): void {
    this.#pause.whenRunning(run);
  }

  /** Of a time span of the world, ms: how long it was paused. */
  pausedMs(fromMs: number, toMs: number): number {
    return this.#pause.ms(fromMs, toMs);
  }

  protected running(): Promise<void> {
    return new Promise((resolve) => this.#pause.whenRunning(() => {
      this.around.world.touch();
      resolve();
    }));
  }

  start(): void {
    if (this.isAlive) return;
    this.isAlive = true;
    this.#life += 1;
    this.started();
    for (const peer of this.peerNames) if (this.name < peer) this.#dialPeer(peer);
  }

  crash(isPowerLoss: boolean): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.#pause.end();
    this.versionTroubles.clear();
    this.agreedDials.clear();
    this.#peers.clear();
    this.#upPeers.clear();
    this.around.network.hostGone(this.name, isPowerLoss);
    this.crashed(isPowerLoss);
  }

  accept(port: Port, socket: SimSocket, fromName: string): void {
    if (port === 'control') this.#peerConnected(fromName, socket);
    else this.acceptData(socket, fromName);
  }

  sendControl(peerName: string, message: ControlMessage): void {
    this.#up(peerName)?.send(concat(encodeFrame({ kind: FrameKind.control }, [encodeControlMessage(message)], crc32c)));
  }

  /** A report between recovering hosts, which no engine reads. */
  sendReport(peerName: string, report: unknown): void {
    this.#up(peerName)?.send(concat(encodeFrame({ kind: FrameKind.control, stream: REPORT_STREAM }, [new TextEncoder().encode(JSON.stringify(report))], crc32c)));
  }

  #up(peerName: string): SimSocket | undefined {
    return this.#upPeers.has(peerName) ? this.#peers.get(peerName) : undefined;
  }

  protected abstract started(): void;
  protected abstract crashed(isPowerLoss: boolean): void;
  protected abstract acceptData(socket: SimSocket, fromName: string): void;
  protected abstract peerUp(name: string): void;
  protected abstract peerLost(name: string): void;
  protected abstract controlCame(fromName: string, message: ControlMessage): void;
  protected reportCame(_fromName: string, _report: unknown): void {
    // Only recovering hosts report to each other.
  }

  #dialPeer(peer: string): void {
    this.around.network.dial(this, peer, 'control', (socket) => {
      if (!this.isAlive) socket?.close();
      else if (socket === undefined) this.after(BACKOFF_MS, () => this.#dialPeer(peer));
      else this.#peerConnected(peer, socket);
    });
  }

  /** One connection per pair: a newer one replaces an older whose end was not noticed yet. */
  #peerConnected(peer: string, socket: SimSocket): void {
    const older = this.#peers.get(peer);
    if (older !== undefined) {
      older.close();
      this.#lostPeer(peer);
    }
    this.#peers.set(peer, socket);
    greet(socket, this, {
      onReady: () => {
        if (this.#peers.get(peer) !== socket) return;
        this.#upPeers.add(peer);
        this.peerUp(peer);
      },
      onFrame: (header, body) => {
        if (this.#peers.get(peer) !== socket) return;
        if (header.stream === REPORT_STREAM) this.reportCame(peer, JSON.parse(new TextDecoder().decode(body)));
        else this.controlCame(peer, decodeControlMessage(body));
      },
    });
    socket.onClose = () => {
      if (!this.isAlive || this.#peers.get(peer) !== socket) return;
      this.#lostPeer(peer);
      if (this.name < peer) this.after(BACKOFF_MS, () => this.#dialPeer(peer));
    };
  }

  #lostPeer(peer: string): void {
    this.#peers.delete(peer);
    if (this.#upPeers.delete(peer)) this.peerLost(peer);
  }
}
