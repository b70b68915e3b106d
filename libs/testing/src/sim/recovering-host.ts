import { RunningClock, type ControlMessage } from '@tidemark/checkpoint';
import { decodeOpen, encodeFrame, encodeRefused, FrameKind, type FrameHeader } from '@tidemark/frame';
import type { CheckpointView, JournalFile } from '@tidemark/journal-file';
import { crc32c } from '@tidemark/link';
import type { RefusedReply } from '@tidemark/replication';
import { SimDisk } from './disk.js';
import type { SimSocket } from './network.js';
import { concat, SimHost, type Surroundings } from './sim-host.js';
import { SimPins } from './sim-pins.js';
import { SimRecovery, type RecoveredVm, type RecoveryHooks, type RecoveryOptions } from './sim-recovery.js';
import { SimRetirement, type HeldReport, type RetirementPlan } from './sim-retirement.js';
import { SimTakeover, type MoveOrder, type SimOwners } from './sim-takeover.js';
import { keyOf } from './topology.js';
import { greet } from './versions.js';
import { Violation } from './world.js';

export interface RecoveringOptions extends RecoveryOptions {
  readonly peerNames: readonly string[];
  readonly vms: readonly RecoveredVm[];
  readonly retirements: readonly RetirementPlan[];
  /** Whom journals belong to, where they go from host to host. */
  readonly owners?: SimOwners | undefined;
}

/** What the checkers hear of this host. */
export interface RecoveryWatcher {
  acknowledged(key: string, durableSeq: number): void;
  mayRetire(vpgId: string, checkpointId: number): void;
  mayApply(vpgId: string, checkpointId: number): void;
  wished(recovery: SimRecovery, checkpointId: number): void;
  journalOpened(host: RecoveringHost, recovery: SimRecovery): void;
  journalBroke(recovery: SimRecovery): void;
  refused(key: string, reply: RefusedReply): void;
}

export interface ViewSpec {
  readonly viewId: string;
  readonly vpgId: string;
  readonly vmId: string;
  readonly checkpointId: number;
  readonly purpose: 'test' | 'live';
}

interface ViewEntry {
  readonly spec: ViewSpec;
  isPromoting: boolean;
}

const LIST_MS = 400;
const STATE_FILE_MS_MAX = 3;
/** Above what the drift of a host makes in one run; and soon over, for retirement to go on. */
const CLOCK_STEP_MS_MIN = 1000;
const CLOCK_SETTLE_MS = 100;

/** One recovering host: receivers, journals and views of its VMs, and their retirement. */
export class RecoveringHost extends SimHost {
  readonly disk = new SimDisk();
  readonly #recoveries = new Map<string, SimRecovery>();
  readonly #retirements = new Map<string, SimRetirement>();
  readonly #views = new Map<string, CheckpointView>();
  readonly #opening = new Set<string>();
  readonly #closing = new Set<string>();
  readonly #pinning = new Map<string, ViewSpec>();
  readonly pins: SimPins = new SimPins(this);
  /** These survive the process: the state file. */
  readonly #entries = new Map<string, ViewEntry>();
  readonly retiredIds = new Map<string, number>();
  /** As {@link RecoveringHost.changeVolumes} was told last. */
  readonly #volumes = new Map<string, readonly number[]>();
  readonly #plans = new Map<string, RetirementPlan>();
  readonly takeover: SimTakeover;
  #nextConnection = 1;
  isRetirementPaused = false;
  #ages: RunningClock | undefined;
  /** What the monotonic clock by which checkpoints age has made up. */
  monotonicJumpMs = 0;
  /** Protections whose journal has wrong bytes on the medium: what lies behind them may be lost, loudly. */
  readonly rotted = new Set<string>();
  /** Those of them where the oracle does not know the right ones. */
  readonly unknown = new Set<string>();
  /** Those with a sector somewhere that could not be read. */
  readonly unreadable = new Set<string>();

  constructor(name: string, around: Surroundings, readonly options: RecoveringOptions, readonly watcher: RecoveryWatcher) {
    super(name, around, options.peerNames.filter((peer) => peer !== name));
    this.takeover = new SimTakeover(this, options.vms, options.owners);
    for (const plan of options.retirements) this.#plans.set(plan.config.vpgId, plan);
  }

  /** The time by which checkpoints age here. */
  ageNowMs(): number {
    const reading = { monotonicMs: this.nowMs + this.monotonicJumpMs, wallMs: this.wallMs };
    this.#ages ??= new RunningClock(reading, { stepMsMin: CLOCK_STEP_MS_MIN, settleMs: CLOCK_SETTLE_MS });
    return this.#ages.read(reading);
  }

  get areAgesInDoubt(): boolean {
    return this.#ages?.doubt !== undefined;
  }

  get recoveries(): readonly SimRecovery[] {
    return [...this.#recoveries.values()];
  }

  recovery(vpgId: string, vmId: string): SimRecovery | undefined {
    return this.#recoveries.get(keyOf(vpgId, vmId));
  }

  get areJournalsReady(): boolean {
    return this.isAlive && this.recoveries.every(({ journal }) => journal !== undefined);
  }

  protected started(): void {
    this.pins.load();
    for (const vm of this.takeover.atStart()) this.begin(vm);
    for (const plan of this.#plans.values()) if (this.#recovers(plan.config.vpgId)) this.#newRetirement(plan);
    this.after(LIST_MS, () => this.#tick());
  }

  #hooks(): RecoveryHooks {
    return {
      acknowledged: (key: string, durableSeq: number) => this.watcher.acknowledged(key, durableSeq),
      opened: (recovery: SimRecovery) => {
        this.pins.attach(recovery);
        this.watcher.journalOpened(this, recovery);
      },
      pendingBytes: () => this.recoveries.reduce((sum, { receiver }) => sum + receiver.status().pendingBytes, 0),
      broke: (recovery: SimRecovery) => this.watcher.journalBroke(recovery),
      refused: (key: string, reply: RefusedReply) => this.watcher.refused(key, reply),
      hasView: (key: string) => this.views.some((view) => keyOf(view.vpgId, view.vmId) === key),
    };
  }

  // ---- what it recovers

  begin(vm: RecoveredVm): SimRecovery {
    const key = keyOf(vm.vpgId, vm.vmId);
    this.takeover.checkAlone(key);
    const recovery = new SimRecovery({ ...vm, volumeBytes: this.#volumes.get(key) ?? vm.volumeBytes }, { host: this, around: this.around, disk: this.disk }, this.options, this.#hooks());
    this.#recoveries.set(key, recovery);
    return recovery;
  }

  /** All its files are closed when it resolves. */
  async end(recovery: SimRecovery): Promise<void> {
    const { life } = this;
    await recovery.end();
    if (this.life !== life) return;
    this.#recoveries.delete(recovery.key);
    if (!this.#recovers(recovery.vm.vpgId)) this.#endRetirement(recovery.vm.vpgId);
  }

  async release(key: string, moveNumber: number): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    if (this.views.some((view) => keyOf(view.vpgId, view.vmId) === key)) throw new Error('a view is open');
    await this.takeover.release(key, moveNumber);
  }

  async takeOver(order: MoveOrder, plan: RetirementPlan | undefined): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    await this.takeover.takeOver(order);
    if (plan !== undefined) this.#configure(plan);
  }

  /** undefined: nothing of this VPG is recovered here. */
  async configure(vpgId: string, plan: RetirementPlan | undefined): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    await this.stateSaved();
    if (plan === undefined) {
      this.#plans.delete(vpgId);
      this.#endRetirement(vpgId);
    } else this.#configure(plan);
  }

  #configure(plan: RetirementPlan): void {
    const { vpgId } = plan.config;
    if (this.around.plant?.flag !== 'editVolatile') this.#plans.set(vpgId, plan);
    const known = this.#retirements.get(vpgId);
    if (known !== undefined) known.configure(plan);
    else if (this.#recovers(vpgId)) this.#newRetirement(plan);
  }

  #newRetirement(plan: RetirementPlan): void {
    const retirement = new SimRetirement(plan, this);
    this.#retirements.set(plan.config.vpgId, retirement);
    for (const peer of this.upPeers) retirement.take({ type: 'peerUp', vraId: peer });
  }

  #endRetirement(vpgId: string): void {
    this.#retirements.get(vpgId)?.close();
    this.#retirements.delete(vpgId);
  }

  #recovers(vpgId: string): boolean {
    return this.recoveries.some(({ vm }) => vm.vpgId === vpgId);
  }

  wait(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, () => {
      this.around.world.touch();
      resolve();
    }));
  }

  protected crashed(isPowerLoss: boolean): void {
    for (const recovery of this.#recoveries.values()) recovery.over();
    this.#ages = undefined;
    this.#recoveries.clear();
    this.#retirements.clear();
    this.#views.clear();
    this.#opening.clear();
    this.#closing.clear();
    this.#pinning.clear();
    if (isPowerLoss) this.disk.losePower(this.around.world.random);
  }

  #tick(): void {
    this.ageNowMs(); // as the product does each second, whether somebody asks or not: both clocks that step between two looks are time that has passed
    for (const recovery of this.recoveries) recovery.tick();
    for (const entry of this.#entries.values()) if (!this.#views.has(entry.spec.viewId)) this.#reopen(entry);
    if (!this.isRetirementPaused) for (const retirement of this.#retirements.values()) retirement.report();
    this.after(LIST_MS, () => this.#tick());
  }

  /** Answered when its mirrors are as long, and it is remembered: then a stream may open with these volumes. May be repeated. */
  async changeVolumes(vpgId: string, vmId: string, volumeBytes: readonly number[]): Promise<void> {
    this.around.world.touch();
    this.#journalOf({ vpgId, vmId });
    const { life } = this;
    this.recovery(vpgId, vmId)?.changeVolumes(volumeBytes);
    await this.stateSaved();
    if (this.life === life) this.#volumes.set(keyOf(vpgId, vmId), volumeBytes);
  }

  // ---- views

  view(viewId: string): CheckpointView | undefined {
    return this.#views.get(viewId);
  }

  /** What pins a checkpoint: views that are remembered, and those that are being opened. */
  get views(): readonly ViewSpec[] {
    return [...[...this.#entries.values()].map(({ spec }) => spec), ...this.#pinning.values()];
  }

  /** By views and by name. */
  needed(vpgId: string): { readonly name: string; readonly checkpointId: number }[] {
    const views = this.views.map(({ viewId: name, ...spec }) => ({ ...spec, name }));
    return [...views, ...this.pins.list].filter((one) => one.vpgId === vpgId);
  }

  canPin({ vpgId, checkpointId }: { readonly vpgId: string; readonly checkpointId: number }): boolean {
    return this.#retirements.get(vpgId)?.canPin(checkpointId) !== false;
  }

  /** Answered when the checkpoint is pinned, the disks are there, and the view is remembered. */
  async openView(spec: ViewSpec): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    this.#assertNoneUnderWay(spec.viewId);
    if (this.#entries.has(spec.viewId)) {
      if (!this.#views.has(spec.viewId)) throw new Error('being opened again');
      return;
    }
    if (!this.canPin(spec)) throw new Error('being retired');
    const life = this.life;
    // From before the first wait on: a retirement that asks meanwhile is told.
    this.#pinning.set(spec.viewId, spec);
    try {
      await this.#openView(spec);
      await this.stateSaved();
      if (this.isAlive && this.life === life) this.#entries.set(spec.viewId, { spec, isPromoting: false });
    } finally {
      if (this.life === life) this.#pinning.delete(spec.viewId);
    }
  }

  async #openView(spec: ViewSpec): Promise<void> {
    const journal = this.#journalOf(spec);
    const life = this.life;
    const recovery = this.recovery(spec.vpgId, spec.vmId);
    const scratchRoomBytes = recovery?.vm.space && ((bytes: number) => recovery.scratchRoomBytes(bytes));
    const view = await journal.openView({ checkpointId: spec.checkpointId, scratchFolder: scratchFolder(spec), ...(scratchRoomBytes && { scratchRoomBytes }) });
    if (this.isAlive && this.life === life) this.#views.set(spec.viewId, view);
  }

  #reopen(entry: ViewEntry): void {
    const { viewId, vpgId, vmId } = entry.spec;
    if (this.#opening.has(viewId) || this.#closing.has(viewId) || this.recovery(vpgId, vmId)?.journal === undefined) return;
    this.#opening.add(viewId);
    this.around.world.touch();
    const life = this.life;
    void this.#openView(entry.spec).then(
      () => {
        if (this.life !== life) return;
        this.#opening.delete(viewId);
        if (entry.isPromoting) this.#promote(viewId);
      },
      (error: unknown) => {
        if (this.life !== life) return;
        this.#opening.delete(viewId);
        if (/JOURNAL_CHECKPOINT|not held/.test(String(error)) && !this.rotted.has(keyOf(vpgId, vmId))) this.around.world.fail(new Violation('gone', `view ${viewId} cannot be opened again: ${String(error)}`));
      },
    );
  }

  async closeView(viewId: string): Promise<void> {
    if (this.isPaused) await this.running();
    if (!this.isAlive) throw new Error('no process');
    this.around.world.touch();
    this.#assertNoneUnderWay(viewId);
    if (!this.#entries.has(viewId)) return;
    const { life } = this;
    this.#closing.add(viewId);
    try {
      const view = this.#views.get(viewId);
      await view?.close();
      await view?.dropScratch();
      if (this.life !== life) throw new Error('the process has ended');
      this.#views.delete(viewId);
      await this.stateSaved();
      this.#entries.delete(viewId);
    } finally {
      if (this.life === life) this.#closing.delete(viewId);
    }
  }

  /** A VRA opens and closes views one change at a time. */
  #assertNoneUnderWay(viewId: string): void {
    if (this.#opening.has(viewId) || this.#pinning.has(viewId) || this.#closing.has(viewId)) throw new Error('being opened or closed');
  }

  /** Remembered first: after a restart promotion goes on by itself. */
  async promoteView(viewId: string): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    const entry = this.#entries.get(viewId);
    if (entry === undefined || !this.#views.has(viewId)) throw new Error(`no view ${viewId}`);
    await this.stateSaved();
    entry.isPromoting = true;
    this.#promote(viewId);
  }

  #promote(viewId: string): void {
    const life = this.life;
    this.around.world.touch();
    void this.#views.get(viewId)?.promote().catch(() => {
      if (this.isAlive && this.life === life) this.after(200, () => this.#promote(viewId));
    });
  }

  stateSaved(): Promise<void> {
    return new Promise((resolve) => this.after(this.around.world.random.below(STATE_FILE_MS_MAX), () => {
      this.around.world.touch();
      resolve();
    }));
  }

  #journalOf({ vpgId, vmId }: { readonly vpgId: string; readonly vmId: string }): JournalFile {
    const journal = this.recovery(vpgId, vmId)?.journal;
    if (journal === undefined) throw new Error(`the journal of ${vmId} is not open`);
    return journal;
  }

  // ---- ownership

  async reserveEpoch(vpgId: string, vmId: string, epoch: number): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    if (this.around.plant?.flag === 'epochVolatile') return;
    await this.#journalOf({ vpgId, vmId }).reserveEpoch(epoch);
  }

  async commitEpoch(vpgId: string, vmId: string, epoch: number): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    this.#journalOf({ vpgId, vmId });
    await this.recovery(vpgId, vmId)?.commitEpoch(epoch);
  }

  async burnEpoch(vpgId: string, vmId: string, epoch: number): Promise<void> {
    if (this.isPaused) await this.running();
    this.around.world.touch();
    if (this.around.plant?.flag === 'epochNotBurned') return;
    await this.#journalOf({ vpgId, vmId }).burnEpoch(epoch);
  }

  // ---- streams

  protected acceptData(socket: SimSocket): void {
    greet(socket, this, { onReady: () => undefined, onFrame: (header, body) => this.#frame(socket, header, body) });
    socket.onClose = () => {
      for (const recovery of this.recoveries) for (const connection of recovery.connectionsOf(socket)) recovery.connectionLost(connection);
    };
  }

  #frame(socket: SimSocket, header: FrameHeader, body: Uint8Array): void {
    if (!this.isAlive) return;
    if (header.kind === FrameKind.open) {
      const request = decodeOpen(body);
      const recovery = this.recovery(request.vpgId, request.vmId);
      if ((recovery === undefined || recovery.isOver) && this.options.owners !== undefined) return this.#refuseUnknown(socket, header);
      if (recovery === undefined) throw new Violation('protocol', `open of an unknown protection ${request.vpgId}/${request.vmId}`);
      const connection = this.#nextConnection;
      this.#nextConnection += 1;
      return recovery.open({ connection, stream: header.stream, socket }, request);
    }
    for (const recovery of this.recoveries) {
      const connection = recovery.connectionOf(socket, header.stream);
      if (connection === undefined) continue;
      if (header.kind === FrameKind.records) recovery.frame(connection, header, body);
      else if (header.kind === FrameKind.hashRequest) recovery.hashRequested(connection, body);
      else if (header.kind === FrameKind.closeStream) recovery.connectionLost(connection);
      return;
    }
  }

  #refuseUnknown(socket: SimSocket, { stream }: FrameHeader): void {
    socket.send(concat(encodeFrame({ kind: FrameKind.refused, stream }, [encodeRefused({ code: 'unknown', message: 'this VRA does not recover that VM' })].flat(), crc32c)));
  }

  // ---- retirement

  protected peerUp(name: string): void {
    for (const retirement of this.#retirements.values()) retirement.take({ type: 'peerUp', vraId: name });
  }

  protected peerLost(name: string): void {
    for (const retirement of this.#retirements.values()) retirement.take({ type: 'peerLost', vraId: name });
  }

  protected controlCame(fromName: string, message: ControlMessage): void {
    if (message.type === 'retirement') this.#retirements.get(message.vpgId)?.take({ type: 'message', fromVraId: fromName, message });
  }

  protected override reportCame(fromName: string, report: HeldReport): void {
    this.#retirements.get(report.vpgId)?.reportCame(fromName, report);
  }
}

export const scratchFolder = ({ vpgId, vmId, viewId }: ViewSpec): string => `${keyOf(vpgId, vmId)}/scratch-${viewId}`;
