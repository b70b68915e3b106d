import type { ActivityLogs, GatedGuest, WriteGate } from '@tidemark/engine-host/activity';
import type { ControlMessage, TermVote } from '@tidemark/checkpoint';
import { FrameKind, type Agreement, type CheckpointMarker, type CheckpointSeal } from '@tidemark/frame';
import { MemoryBudget } from '@tidemark/replication';
import type { GuestRead } from '@tidemark/splitter';
import type { VraWord } from '@tidemark/vpg';
import { SimDisk } from './disk.js';
import { Capture, type ReadEnds, type WriteEnds } from './capture.js';
import { markerKey, type KnownWrite } from './guest-vm.js';
import type { SimSocket } from './network.js';
import { attachedOf, gatedGuest, protectionOf, simActivityLogs } from './sim-activity.js';
import { SimBarrier } from './sim-barrier.js';
import { SimHost, type Surroundings } from './sim-host.js';
import { SimStream } from './sim-stream.js';
import { keyOf, type DesiredState, type ProtectionPlan } from './topology.js';
import { greet } from './versions.js';
import { Violation } from './world.js';

export interface ProtectingOptions {
  readonly peerNames: readonly string[];
  readonly budgetBytes: number;
  readonly frameBytesMax: number;
  /** Longest local I/O, ms. */
  readonly ioMsMax: number;
  readonly syncReadMsMax: number;
  readonly holdBoundMs: number;
  readonly isCompressed: boolean;
  readonly isLockless: boolean;
  /** Its host keeps activity logs. */
  readonly isLogged: boolean;
  readonly activityPeriodMs: number;
}

interface DataLink {
  readonly to: string;
  socket: SimSocket | undefined;
  /** On that socket, from the peer's hello on. */
  agreement: Agreement | undefined;
  nextStream: number;
}

const REOPEN_MS = 100;
const TICK_MS = 60;
const SYNC_RETRY_TICKS = 8;

/** As the product asks again for a disk that another VRA has locked. */
const LOCK_RETRY_MS = 50;
/** Longest time from a document to its end, with a server of disks that is slow now and then, and between two words to the manager. Where disks have locks neither matters. */
const CARRY_OUT_MS = [20, 20, 400] as const;
const WORD_MS = 60;

/** One protecting host: captures, streams and barriers of the VMs that run here, as its document says. Its disks outlive its process. */
export class ProtectingHost extends SimHost {
  readonly #captures = new Map<string, Capture>();
  readonly #streams = new Map<string, SimStream>();
  #links = new Map<string, DataLink>();
  #budget = new MemoryBudget(1);
  readonly #barriers = new Map<string, SimBarrier>();
  /** These survive the process. */
  #desired: DesiredState | undefined;
  /** Being carried out. */
  #isCarryingOut = false;
  #carriedOutRevision = -1;
  readonly #votes = new Map<string, TermVote>();
  #session = 0;
  /** For its activity logs. */
  readonly stateDisk = new SimDisk();
  #logs: ActivityLogs | undefined;
  /** Chances of an I/O error, set by the swarm. */
  readErrorChance = 0;
  writeErrorChance = 0;
  refuseConfirmChance = 0;
  /** What the manager hears; set by it. */
  onWord: (word: VraWord) => void = () => undefined;

  constructor(name: string, around: Surroundings, private readonly options: ProtectingOptions) {
    super(name, around, options.peerNames.filter((peer) => peer !== name));
  }

  get streams(): readonly SimStream[] {
    return [...this.#streams.values()];
  }

  get barriers(): readonly SimBarrier[] {
    return [...this.#barriers.values()];
  }

  get budget(): MemoryBudget {
    return this.#budget;
  }

  isAttached(vmId: string): boolean {
    return this.#captures.has(vmId);
  }

  requestsOf(vmId: string): number {
    return this.#captures.get(vmId)?.requestCount ?? 0;
  }

  /** No guest's request is under way. */
  get isIdle(): boolean {
    return [...this.#captures.values()].every(({ requestCount }) => requestCount === 0);
  }

  protected started(): void {
    this.#budget = new MemoryBudget(this.options.budgetBytes);
    const { around } = this;
    this.#logs = this.options.isLogged ? simActivityLogs({ host: this, around, disk: this.stateDisk }) : undefined;
    this.#carryOut();
    this.#tick(1);
    if (this.options.isLockless) this.#sayAgain();
  }

  protected crashed(isPowerLoss: boolean): void {
    for (const capture of this.#captures.values()) {
      capture.crashed();
      if (capture.vm.servedBy === this.name) capture.vm.servedBy = '';
      // The host's memory is gone: what no flush covered may be lost.
      if (isPowerLoss) for (const disk of capture.vm.disks) disk.losePower(this.around.world.random);
    }
    if (isPowerLoss && this.options.isLogged) this.stateDisk.losePower(this.around.world.random);
    this.#captures.clear();
    this.#streams.clear();
    this.#links = new Map();
    this.#barriers.clear();
    this.#isCarryingOut = false;
    this.#carriedOutRevision = -1;
  }

  protected acceptData(socket: SimSocket): void {
    socket.close();
  }

  // ---- what it is to do

  /** Durable at once; older than what is known: nothing. */
  apply(desired: DesiredState): void {
    if (this.#desired !== undefined && desired.revision <= this.#desired.revision) return;
    this.#desired = desired;
    if (this.isAlive) this.#carryOut();
  }

  /** One document after the other: a newer one that comes meanwhile is next. Where the lock is the rule, the time that it takes shows nothing. */
  #carryOut(): void {
    const desired = this.#desired;
    if (desired === undefined || this.#isCarryingOut) return;
    const { random } = this.around.world;
    if (!this.options.isLockless && this.#logs === undefined) return this.#tried(this.#reconcile(desired));
    this.#isCarryingOut = true;
    if (this.options.isLockless) this.after(random.below(random.pick(CARRY_OUT_MS)), () => this.#carryOutNow(desired));
    else this.#carryOutNow(desired);
  }

  /** With activity logs it takes their disk's time; without, it is done at once. */
  #carryOutNow(desired: DesiredState): void {
    const { life } = this;
    const done = (): void => {
      if (!this.isAlive || this.life !== life) return;
      this.#isCarryingOut = false;
      this.#carriedOutRevision = desired.revision;
      if (this.options.isLockless) this.#say();
      if (this.#desired !== desired) this.#carryOut();
    };
    const reconciled = this.#reconcile(desired);
    if (this.#logs === undefined) {
      this.#tried(reconciled);
      return done();
    }
    this.around.world.touch();
    this.#tried(reconciled.then(done));
  }

  #tried(work: Promise<void>): void {
    void work.catch((error: unknown) => this.world.fail(error instanceof Error ? error : new Error(String(error))));
  }

  /** Every now and then, and when something is done. */
  #say(): void {
    const hasty = this.around.plant?.flag === 'wordHasty' ? this.#desired?.revision : undefined;
    this.onWord({ revision: hasty ?? this.#carriedOutRevision, attachedVmIds: new Set(this.#captures.keys()) });
  }

  #sayAgain(): void {
    this.#say();
    this.after(WORD_MS, () => this.#sayAgain());
  }

  /** In the order of the product's sending side. Waits for activity logs only. */
  async #reconcile(desired: DesiredState): Promise<void> {
    const specs = desired.protections.map(protectionOf);
    for (const vpgId of this.#barriers.keys()) {
      if (desired.barriers.some((barrier) => barrier.vpgId === vpgId)) continue;
      this.#barriers.get(vpgId)?.end();
      this.#barriers.delete(vpgId);
    }
    for (const [key, stream] of this.#streams) {
      if (desired.protections.some((plan) => keyOf(plan.vpgId, plan.vm.vmId) === key)) continue;
      stream.close();
      this.#streams.delete(key);
    }
    if (this.#logs !== undefined) await this.#logs.keepOnly(specs, this.#gatedGuests());
    for (const vmId of this.#captures.keys()) {
      if (desired.vms.some((vm) => vm.vmId === vmId)) continue;
      this.#detach(vmId);
      if (this.#logs !== undefined) await this.#logs.removeOf(vmId);
    }
    for (const vm of desired.vms) {
      if (this.#captures.has(vm.vmId)) continue;
      const gates = this.#logs === undefined ? [] : await this.#logs.openBefore(attachedOf(vm), specs);
      this.#attach(vm, gates);
    }
    for (const plan of desired.protections) {
      if (this.#logs !== undefined) await this.#openLog(this.#logs, plan);
      this.#ensureStream(plan);
      // Its volumes changed while it runs: the old log is gone, the new one has nothing to say yet.
      if (this.#logs !== undefined) await this.#renewLog(this.#logs, plan);
    }
    for (const config of desired.barriers) this.#ensureBarrier(config.vpgId).take({ type: 'configured', config });
  }

  #gatedGuests(): ReadonlyMap<string, GatedGuest> {
    return new Map([...this.#captures].map(([vmId, capture]) => [vmId, gatedGuest(capture.vm, capture)]));
  }

  async #openLog(logs: ActivityLogs, plan: ProtectionPlan): Promise<void> {
    const capture = this.#captures.get(plan.vm.vmId);
    if (capture !== undefined && !this.#streams.has(keyOf(plan.vpgId, plan.vm.vmId))) await logs.openForRunning(protectionOf(plan), gatedGuest(plan.vm, capture));
  }

  async #renewLog(logs: ActivityLogs, plan: ProtectionPlan): Promise<void> {
    const key = keyOf(plan.vpgId, plan.vm.vmId);
    const capture = this.#captures.get(plan.vm.vmId);
    if (capture === undefined || logs.get(key) !== undefined) return;
    await logs.openForRunning(protectionOf(plan), gatedGuest(plan.vm, capture));
    this.#streams.get(key)?.useActivity(logs.get(key));
  }

  /** Until the VRA of the former host has let go of the disks, nothing is served here; it is asked again soon. */
  #attach(vm: Capture['vm'], gates: readonly WriteGate[]): void {
    const hasLapsed = this.around.plant?.flag === 'lockLapses' && this.around.network.isPaused(vm.servedBy);
    const isLocked = !this.options.isLockless && this.around.plant?.flag !== 'lockIgnored' && !hasLapsed;
    if (vm.servedBy !== '' && isLocked) return this.after(LOCK_RETRY_MS, () => this.#carryOut());
    if (vm.servedBy !== '') this.world.fail(new Violation('writers', `the VRA of ${this.name} opens the disks of ${vm.vmId}, which that of ${vm.servedBy} serves`));
    vm.servedBy = this.name;
    const capture = this.#newCapture(vm);
    for (const gate of gates) capture.addGate(gate);
    this.#captures.set(vm.vmId, capture);
  }

  #detach(vmId: string): void {
    const capture = this.#captures.get(vmId);
    if (capture === undefined) return;
    for (const [key, stream] of this.#streams) {
      if (stream.capture !== capture) continue;
      stream.close();
      this.#streams.delete(key);
    }
    if (capture.vm.servedBy === this.name) capture.vm.servedBy = '';
    this.#captures.delete(vmId);
  }

  #newCapture(vm: Capture['vm']): Capture {
    const { ioMsMax, holdBoundMs } = this.options;
    return new Capture(vm, {
      host: this, around: this.around, ioMsMax, holdBoundMs,
      writeErrorChance: () => this.writeErrorChance,
      onWork: () => this.#pumpVm(vm.vmId),
    });
  }

  #ensureStream(plan: ProtectionPlan): void {
    const key = keyOf(plan.vpgId, plan.vm.vmId);
    const capture = this.#captures.get(plan.vm.vmId);
    const running = this.#streams.get(key);
    if (running !== undefined && running.plan.volumeBytes.join() !== plan.volumeBytes.join()) running.changeVolumes(plan);
    running?.goTo(plan.recoveringHost);
    if (running !== undefined) return this.#ensureLink(plan);
    if (capture === undefined) return;
    this.#session += 1;
    const { frameBytesMax, syncReadMsMax, isCompressed } = this.options;
    const { around } = this;
    this.#streams.set(key, new SimStream(plan, capture, {
      host: this, around, sessionId: `${this.name}/${this.#session}`, share: this.#budget.share(), frameBytesMax, syncReadMsMax, isCompressed,
      activity: this.#logs?.get(key), activityPeriodMs: this.options.activityPeriodMs,
      readErrorChance: () => this.readErrorChance,
    }));
    this.#ensureLink(plan);
  }

  #ensureLink(plan: ProtectionPlan): void {
    if (this.#links.has(plan.recoveringHost)) return;
    const link: DataLink = { to: plan.recoveringHost, socket: undefined, agreement: undefined, nextStream: 1 };
    this.#links.set(link.to, link);
    this.#dial(link);
  }

  // ---- guest I/O

  write(vmId: string, known: KnownWrite, ends: WriteEnds): void {
    const capture = this.#captures.get(vmId);
    if (capture === undefined) ends.onAborted();
    else capture.write(known, ends);
  }

  read(vmId: string, read: GuestRead, ends: ReadEnds): void {
    const capture = this.#captures.get(vmId);
    if (capture === undefined) ends.onAborted();
    else capture.read(read, ends);
  }

  flush(vmId: string, onFlushed: () => void, onAborted: () => void): void {
    const capture = this.#captures.get(vmId);
    if (capture === undefined) onAborted();
    else capture.flush(onFlushed);
  }

  // ---- streams

  override calls(name: string): boolean {
    return super.calls(name) || this.#links.has(name);
  }

  /** A second connection while the first may still stand half open: the newer one is used. */
  redial(): void {
    for (const link of this.#links.values()) {
      const older = link.socket;
      if (older === undefined) continue;
      link.socket = undefined;
      for (const stream of this.#streams.values()) stream.lost(older);
      this.#dial(link);
    }
  }

  #dial(link: DataLink): void {
    this.around.network.dial(this, link.to, 'data', (socket) => {
      if (!this.isAlive || this.#links.get(link.to) !== link) socket?.close();
      else if (socket === undefined) this.after(REOPEN_MS, () => this.#dial(link));
      else this.#connected(link, socket);
    });
  }

  #connected(link: DataLink, socket: SimSocket): void {
    link.socket = socket;
    link.agreement = undefined;
    greet(socket, this, {
      onReady: (agreement) => {
        if (!this.isAlive || link.socket !== socket) return;
        link.agreement = agreement;
        this.#openStreams(link);
      },
      onFrame: (header, body) => {
        if (!this.isAlive || link.socket !== socket || header.kind === FrameKind.open) return;
        this.#streamsTo(link).find((stream) => stream.number === header.stream)?.frame(header, body);
      },
    });
    socket.onClose = () => {
      if (!this.isAlive || link.socket !== socket) return;
      link.socket = undefined;
      for (const stream of this.#streamsTo(link)) stream.lost(socket);
      // The other one may be restarted on another program, in an hour or in a year.
      if (this.plant?.flag === 'versionGivesUp' && this.versionTroubles.has(link.to)) return;
      this.after(REOPEN_MS, () => this.#dial(link));
    };
  }

  #streamsTo(link: DataLink): SimStream[] {
    return this.streams.filter(({ recoveringHost }) => recoveringHost === link.to);
  }

  #openStreams(link: DataLink): void {
    const { socket, agreement } = link;
    if (socket === undefined || agreement === undefined) return;
    for (const stream of this.#streamsTo(link)) if (stream.open({ socket, agreement }, link.nextStream)) link.nextStream += 1;
  }

  #tick(count: number): void {
    for (const link of this.#links.values()) this.#openStreams(link);
    for (const stream of this.#streams.values()) {
      if (count % SYNC_RETRY_TICKS === 0) stream.sender.retrySyncReads();
      stream.tick();
      stream.pump();
    }
    this.after(TICK_MS, () => this.#tick(count + 1));
  }

  #pumpVm(vmId: string): void {
    for (const stream of this.#streams.values()) if (stream.plan.vm.vmId === vmId) stream.pump();
  }

  // ---- barrier

  insertCheckpoint(tag: string): void {
    const requestId = this.around.world.random.int(1e9);
    for (const barrier of this.#barriers.values()) barrier.take({ type: 'insertRequested', requestId, tag, kind: 'tagged' });
  }

  #ensureBarrier(vpgId: string): SimBarrier {
    const known = this.#barriers.get(vpgId);
    if (known !== undefined) return known;
    const holdBoundMs = this.around.plant?.flag === 'holdUnbounded' ? 400 : this.options.holdBoundMs;
    const barrier = new SimBarrier({
      host: this,
      around: this.around,
      hold: () => this.#eachCapture(vpgId, (capture, key) => capture.hold(key)),
      release: () => this.#eachCapture(vpgId, (capture, key) => capture.release(key)),
      placeMarkers: (marker, vmIds) => this.#placeMarkers(marker, vmIds),
      placeSeals: (seal, vmIds) => this.#placeSeals(seal, vmIds),
      confirmsCapture: (vmIds) => this.#confirmsCapture(vpgId, vmIds),
      storeVote: (vote) => this.#votes.set(vpgId, vote),
    }, { selfVraId: this.name, storedVote: this.#votes.get(vpgId) ?? null, holdBoundMs });
    this.#barriers.set(vpgId, barrier);
    for (const peer of this.upPeers) barrier.peerUp(peer);
    return barrier;
  }

  #eachCapture(vpgId: string, act: (capture: Capture, key: string) => void): void {
    for (const stream of this.streams) if (stream.plan.vpgId === vpgId) act(stream.capture, stream.key);
  }

  #placeMarkers(marker: CheckpointMarker, vmIds: readonly string[]): string {
    const { vpgId, checkpointId } = marker;
    const key = markerKey(vpgId, checkpointId);
    let reason = '';
    for (const vmId of vmIds) {
      const stream = this.#streams.get(keyOf(vpgId, vmId));
      if (stream === undefined) return `VM ${vmId} is not replicated from here`;
      const { vm } = stream.plan;
      if (vm.markers.has(key)) throw new Violation('number', `checkpoint number ${checkpointId} was given twice`);
      if (!stream.sender.placeMarker(marker)) reason = `${vmId} is ${stream.sender.status().state}`;
      else vm.markerPlaced(key, this.world.nowMs, stream.plan.volumeBytes);
      stream.pump();
    }
    return reason;
  }

  #placeSeals(seal: CheckpointSeal, vmIds: readonly string[]): boolean {
    let isPlaced = true;
    for (const vmId of vmIds) {
      const stream = this.#streams.get(keyOf(seal.vpgId, vmId));
      isPlaced = (stream?.sender.placeSeal(seal) ?? false) && isPlaced;
      stream?.pump();
    }
    return isPlaced;
  }

  /** The host's own answer: is each of them served here, and captured? Where its guest runs, the host does not know. */
  #confirmsCapture(vpgId: string, vmIds: readonly string[]): boolean {
    if (this.around.world.random.chance(this.refuseConfirmChance)) return false;
    return vmIds.every((vmId) => this.#captures.has(vmId) && this.#streams.has(keyOf(vpgId, vmId)));
  }

  forceSync(): void {
    const { random } = this.around.world;
    const share = random.pick([0.3, 1]);
    for (const stream of this.#streams.values()) {
      if (random.chance(share)) stream.sender.forceSync('an operator wants it');
      stream.pump();
    }
  }

  protected peerUp(name: string): void {
    for (const barrier of this.#barriers.values()) barrier.peerUp(name);
  }

  protected peerLost(name: string): void {
    for (const barrier of this.#barriers.values()) barrier.take({ type: 'peerLost', vraId: name });
  }

  protected controlCame(fromName: string, message: ControlMessage): void {
    if (message.type === 'barrier') this.#barriers.get(message.vpgId)?.take({ type: 'message', fromVraId: fromName, message });
  }
}
