import { unreachable } from '@tidemark/base';
import { Barrier, decodeControlMessage, encodeControlMessage, type BarrierConfig, type BarrierEffect, type BarrierEvent, type BarrierMessage, type TermVote } from '../index.js';

/** What stands in a model stream: a write with what it depends on, or a mark. Only one incarnation's marks pair up. */
export type Entry =
  | { readonly type: 'write'; readonly id: number; readonly after: readonly number[]; completedAtMs: number }
  | { readonly type: 'marker'; readonly checkpointId: number; readonly incarnation: number; readonly atMs: number }
  | { readonly type: 'seal'; readonly checkpointId: number; readonly incarnation: number };

interface Vm {
  readonly vmId: string;
  readonly vraId: string;
  readonly stream: Entry[];
  incarnation: number;
  isReplicating: boolean;
}

interface Node {
  readonly vraId: string;
  barrier: Barrier | undefined;
  vote: TermVote | null;
  heldSinceMs: number | undefined;
  readonly held: (() => void)[];
  /** Process number: what was begun in an earlier one does not come back. */
  life: number;
}

export interface ClusterOptions {
  readonly config: BarrierConfig;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
  /** One way. */
  readonly delayMsMax?: number;
  readonly storeMsMax?: number;
  readonly confirmMsMax?: number;
}

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs' | 'wallMs'> : never;

/** Barriers of all VRAs of one VPG over a model network, with model streams and guests. Time moves by its event queue only. */
export class BarrierCluster {
  nowMs = 1000;
  readonly nodes = new Map<string, Node>();
  readonly vms = new Map<string, Vm>();
  readonly answers = new Map<number, string>();
  /** Every hold that a guest could feel, ms. */
  readonly holdsMs: number[] = [];
  isCaptureConfirmed = true;
  config: BarrierConfig;
  readonly #queue: { atMs: number; serial: number; run: () => void }[] = [];
  readonly #linkedSince = new Map<string, number>();
  #serial = 0;
  #lastWriteId = 0;
  #isStepping = false;
  readonly #events: { node: Node; event: Untimed<BarrierEvent> }[] = [];

  constructor(private readonly options: ClusterOptions) {
    this.config = options.config;
    for (const { vraId, vmIds } of options.config.members) {
      this.nodes.set(vraId, { vraId, barrier: undefined, vote: null, heldSinceMs: undefined, held: [], life: 0 });
      for (const vmId of vmIds) this.vms.set(vmId, { vmId, vraId, stream: [], incarnation: 1, isReplicating: true });
    }
  }

  node(vraId: string): Node {
    const node = this.nodes.get(vraId);
    if (node === undefined) throw new Error(`no VRA ${vraId}`);
    return node;
  }

  vm(vmId: string): Vm {
    const vm = this.vms.get(vmId);
    if (vm === undefined) throw new Error(`no VM ${vmId}`);
    return vm;
  }

  startAll(): void {
    for (const vraId of this.nodes.keys()) this.start(vraId);
  }

  start(vraId: string): void {
    const node = this.node(vraId);
    if (node.barrier !== undefined) return;
    node.barrier = new Barrier({ selfVraId: vraId, storedVote: node.vote });
    node.life += 1;
    this.take(vraId, { type: 'configured', config: this.config });
    for (const other of this.nodes.values()) this.connect(vraId, other.vraId);
  }

  /** Process gone: holds end with it, its VMs' streams begin new incarnations. */
  crash(vraId: string): void {
    const node = this.node(vraId);
    node.barrier = undefined;
    node.life += 1;
    this.#letGo(node);
    for (const vm of this.vms.values()) if (vm.vraId === vraId) vm.incarnation += 1;
    for (const other of this.nodes.values()) this.cut(vraId, other.vraId);
  }

  connect(one: string, other: string): void {
    if (one === other || this.#linkedSince.has(pair(one, other))) return;
    if (this.node(one).barrier === undefined || this.node(other).barrier === undefined) return;
    this.#serial += 1;
    this.#linkedSince.set(pair(one, other), this.#serial);
    this.take(one, { type: 'peerUp', vraId: other });
    this.take(other, { type: 'peerUp', vraId: one });
  }

  cut(one: string, other: string): void {
    if (!this.#linkedSince.delete(pair(one, other))) return;
    this.take(one, { type: 'peerLost', vraId: other });
    this.take(other, { type: 'peerLost', vraId: one });
  }

  reconfigure(config: BarrierConfig): void {
    this.config = config;
    for (const vraId of this.nodes.keys()) this.later(this.#random(20), () => this.take(vraId, { type: 'configured', config }));
  }

  take(vraId: string, event: Untimed<BarrierEvent>): void {
    this.#events.push({ node: this.node(vraId), event });
    if (this.#isStepping) return;
    this.#isStepping = true;
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      const effects: BarrierEffect[] = [];
      next.node.barrier?.step({ ...next.event, nowMs: this.nowMs, wallMs: 1e12 + this.nowMs } as BarrierEvent, effects);
      for (const effect of effects) this.#carryOut(next.node, effect);
    }
    this.#isStepping = false;
  }

  /** A guest writes: captured now, completed now or when the hold ends. */
  write(vmId: string, after: readonly number[], onCompleted: (id: number) => void = () => undefined): number {
    const vm = this.vm(vmId);
    const node = this.node(vm.vraId);
    this.#lastWriteId += 1;
    const entry: Entry = { type: 'write', id: this.#lastWriteId, after, completedAtMs: Infinity };
    vm.stream.push(entry);
    const complete = (): void => {
      entry.completedAtMs = this.nowMs;
      onCompleted(entry.id);
    };
    if (node.heldSinceMs === undefined) complete();
    else node.held.push(complete);
    return entry.id;
  }

  later(ms: number, run: () => void): void {
    this.#serial += 1;
    this.#queue.push({ atMs: this.nowMs + ms, serial: this.#serial, run });
    this.#queue.sort((a, b) => a.atMs - b.atMs || a.serial - b.serial);
  }

  runFor(ms: number): void {
    const endMs = this.nowMs + ms;
    for (let next = this.#queue[0]; next !== undefined && next.atMs <= endMs; next = this.#queue[0]) {
      this.#queue.shift();
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = endMs;
  }

  leaders(): string[] {
    return [...this.nodes.values()].filter((node) => node.barrier?.status().isLeading === true).map((node) => node.vraId);
  }

  /** Checkpoints with marker and seal, of one incarnation, in every VM's stream, oldest first. */
  listed(): number[] {
    const sets = [...this.vms.values()].map((vm) => new Set(sealedIn(vm.stream)));
    const [first, ...others] = sets;
    return [...(first ?? [])].filter((id) => others.every((set) => set.has(id))).sort((a, b) => a - b);
  }

  /** Ids of the writes before the checkpoint's marker, over all VMs. */
  imageAt(checkpointId: number): Set<number> {
    const ids = new Set<number>();
    for (const { stream } of this.vms.values()) {
      for (const entry of stream) {
        if (entry.type === 'marker' && entry.checkpointId === checkpointId) break;
        if (entry.type === 'write') ids.add(entry.id);
      }
    }
    return ids;
  }

  #carryOut(node: Node, effect: BarrierEffect): void {
    const { vraId } = node;
    switch (effect.type) {
      case 'send': return this.#send(vraId, effect.vraId, effect.message);
      case 'hold': node.heldSinceMs = this.nowMs; return;
      case 'release': return this.#letGo(node);
      case 'placeMarkers': return this.#placeMarkers(vraId, effect);
      case 'placeSeals': return this.#placeSeals(vraId, effect);
      case 'confirmCapture':
        return this.#laterIfAlive(node, this.#random(this.options.confirmMsMax ?? 5), () => this.take(vraId, {
          type: 'captureConfirmed', checkpointId: effect.checkpointId, isConfirmed: this.isCaptureConfirmed, reason: 'the VM has left',
        }));
      case 'storeTerm':
        return this.#laterIfAlive(node, this.#random(this.options.storeMsMax ?? 10), () => {
          node.vote = effect.vote;
          this.take(vraId, { type: 'termStored', ...effect.vote });
        });
      case 'wakeAt': return this.#laterIfAlive(node, Math.max(0, effect.atMs - this.nowMs), () => this.take(vraId, { type: 'tick' }));
      case 'sealed': this.answers.set(effect.requestId, `sealed ${effect.checkpointId}`); return;
      case 'voided': this.answers.set(effect.requestId, `void: ${effect.reason}`); return;
      default: return unreachable(effect);
    }
  }

  #placeMarkers(vraId: string, { marker, vmIds }: Extract<BarrierEffect, { type: 'placeMarkers' }>): void {
    const { checkpointId, atMs } = marker;
    const vms = vmIds.map((vmId) => this.vm(vmId));
    if (vms.every((vm) => vm.isReplicating)) {
      for (const { stream, incarnation } of vms) stream.push({ type: 'marker', checkpointId, incarnation, atMs });
      this.take(vraId, { type: 'markersPlaced', checkpointId });
    } else this.take(vraId, { type: 'markersRefused', checkpointId, reason: 'a stream is not replicating' });
  }

  #placeSeals(vraId: string, { seal, vmIds }: Extract<BarrierEffect, { type: 'placeSeals' }>): void {
    for (const { stream, incarnation } of vmIds.map((vmId) => this.vm(vmId))) {
      stream.push({ type: 'seal', checkpointId: seal.checkpointId, incarnation });
    }
    this.take(vraId, { type: 'sealsPlaced', checkpointId: seal.checkpointId, isPlaced: true });
  }

  /** Through the codec, over one ordered connection; what is under way when it is cut is lost. */
  #send(from: string, to: string, message: BarrierMessage): void {
    const link = this.#linkedSince.get(pair(from, to));
    const body = encodeControlMessage(message);
    const dueAtMs = Math.max(this.#lastArrival(from, to), this.nowMs + this.#random(this.options.delayMsMax ?? 2));
    this.#arrivals.set(`${from}>${to}`, dueAtMs);
    this.later(dueAtMs - this.nowMs, () => {
      if (link === undefined || this.#linkedSince.get(pair(from, to)) !== link) return;
      const decoded = decodeControlMessage(body);
      if (decoded.type === 'barrier') this.take(to, { type: 'message', fromVraId: from, message: decoded });
    });
  }

  readonly #arrivals = new Map<string, number>();

  #lastArrival(from: string, to: string): number {
    return this.#arrivals.get(`${from}>${to}`) ?? 0;
  }

  #letGo(node: Node): void {
    if (node.heldSinceMs !== undefined) this.holdsMs.push(this.nowMs - node.heldSinceMs);
    node.heldSinceMs = undefined;
    for (const complete of node.held.splice(0)) complete();
  }

  #laterIfAlive(node: Node, ms: number, run: () => void): void {
    const { life } = node;
    this.later(ms, () => {
      if (node.life === life) run();
    });
  }

  #random(max: number): number {
    return this.options.random() * max;
  }
}

const pair = (one: string, other: string): string => (one < other ? `${one}|${other}` : `${other}|${one}`);

function sealedIn(stream: readonly Entry[]): number[] {
  const markedIn = new Map<number, number>();
  const sealed: number[] = [];
  for (const entry of stream) {
    if (entry.type === 'marker') markedIn.set(entry.checkpointId, entry.incarnation);
    if (entry.type === 'seal' && markedIn.get(entry.checkpointId) === entry.incarnation) sealed.push(entry.checkpointId);
  }
  return sealed;
}
