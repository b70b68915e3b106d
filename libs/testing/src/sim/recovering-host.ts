import { unreachable } from '@tidemark/base';
import { Retirement, type AgedCheckpoint, type ControlMessage, type RetirementConfig, type RetirementEffect, type RetirementEvent } from '@tidemark/checkpoint';
import { decodeOpen, decodeRecords, encodeAck, encodeFrame, encodeOpened, encodeRefused, FrameKind, type FrameHeader } from '@tidemark/frame';
import type { HeldCheckpoint, JournalState } from '@tidemark/journal';
import { crc32c } from '@tidemark/link';
import { Receiver, type ReceiverEffect } from '@tidemark/replication';
import { SimDisk } from './disk.js';
import type { SimSocket } from './network.js';
import { concat, readFrames, SimHost, type Surroundings } from './sim-host.js';
import { hashReplyOf } from './sim-compare.js';
import { SimJournal } from './sim-journal.js';
import { Violation } from './world.js';

export interface RecoveredVm {
  readonly vmId: string;
  readonly volumeBytes: readonly number[];
}

export interface RecoveringOptions {
  readonly vpgId: string;
  readonly epoch: number;
  readonly vms: readonly RecoveredVm[];
  readonly segmentBytes: number;
  readonly creditBytesMax: number;
  readonly retirement: RetirementConfig;
}

/** What the checkers hear of this host. */
export interface RecoveryWatcher {
  acknowledged(vmId: string, durableSeq: number): void;
  mayApply(vraId: string, checkpointId: number): void;
  journalOpened(host: RecoveringHost, vmId: string): void;
}

interface Stream {
  readonly connection: number;
  readonly stream: number;
  readonly vmId: string;
  readonly socket: SimSocket;
}

interface Protection {
  readonly vm: RecoveredVm;
  readonly receiver: Receiver;
  readonly journal: SimJournal;
}

const LIST_MS = 400;
/** Reading and hashing a piece of the head. */
const HASH_MS_MAX = 8;

/** One recovering host: receivers and journals of its VMs, retirement, views. */
export class RecoveringHost extends SimHost {
  readonly disk = new SimDisk();
  readonly protections = new Map<string, Protection>();
  #streams = new Map<number, Stream>();
  #nextConnection = 1;
  readonly #upPeers = new Set<string>();
  readonly #views = new Map<string, number>();
  #retirement: Retirement | undefined;
  /** Frame body of the `append` effect being carried out. */
  #body: Uint8Array = new Uint8Array();
  isRetirementPaused = false;

  constructor(name: string, around: Surroundings, private readonly options: RecoveringOptions, private readonly watcher: RecoveryWatcher) {
    super(name, around, options.retirement.recoverers.map((member) => member.vraId).filter((vraId) => vraId !== name));
  }

  get vmIds(): readonly string[] {
    return this.options.vms.map((vm) => vm.vmId);
  }

  held(vmId: string): readonly HeldCheckpoint[] {
    return this.protections.get(vmId)?.journal.engine.checkpoints ?? [];
  }

  journal(vmId: string): SimJournal | undefined {
    const journal = this.protections.get(vmId)?.journal;
    return journal?.isReady === true ? journal : undefined;
  }

  get areJournalsReady(): boolean {
    return this.isAlive && this.options.vms.every((vm) => this.journal(vm.vmId) !== undefined);
  }

  /** A view of every own VM at this checkpoint: all pinned, or none. */
  openView(key: string, checkpointId: number): boolean {
    if (!this.areJournalsReady || this.#retirement?.canPin(checkpointId, this.nowMs) !== true) return false;
    const before = this.#digest();
    const pinned = this.vmIds.filter((vmId) => this.journal(vmId)?.pin(key, checkpointId) === true);
    const isOpen = pinned.length === this.vmIds.length;
    if (!isOpen) for (const vmId of pinned) this.journal(vmId)?.unpin(key);
    if (this.#digest() !== before) throw new Violation(`${this.name}: opening a view changed journal or mirror`);
    return isOpen;
  }

  #digest(): string {
    return this.vmIds.map((vmId) => this.journal(vmId)?.digest()).join(' ');
  }

  closeView(key: string): void {
    for (const vmId of this.vmIds) this.journal(vmId)?.unpin(key);
  }

  /** Raw bytes received and not durable: more than the credit plus one frame is a peer out of control. */
  pendingBytes(vmId: string): number {
    return this.protections.get(vmId)?.receiver.status().pendingBytes ?? 0;
  }

  /** The datastore has space again. */
  resumeJournals(): void {
    for (const { journal } of this.protections.values()) if (journal.engine.state.phase === 'full') journal.resume();
  }

  protected started(): void {
    for (const vm of this.options.vms) this.protections.set(vm.vmId, this.#open(vm));
  }

  protected crashed(isPowerLoss: boolean): void {
    this.protections.clear();
    this.#streams.clear();
    this.#retirement = undefined;
    this.#upPeers.clear();
    this.#views.clear();
    if (isPowerLoss) this.disk.losePower(this.around.world.random);
  }

  #open(vm: RecoveredVm): Protection {
    const { vpgId, epoch, segmentBytes, creditBytesMax } = this.options;
    const { vmId, volumeBytes } = vm;
    const receiver = new Receiver({ vpgId, vmId, epoch, volumeSizesBytes: volumeBytes, creditBytesMax });
    const journal = new SimJournal({ host: this, around: this.around, disk: this.disk }, vmId, { vpgId, epoch, volumeBytes, segmentBytes }, {
      onDurable: (seq) => this.#receive(receiver, (effects) => receiver.durable(seq, effects)),
      onState: (state) => this.#journalState(receiver, state),
      onReady: () => this.#journalReady(vmId, receiver, journal),
    });
    return { vm, receiver, journal };
  }

  #journalReady(vmId: string, receiver: Receiver, journal: SimJournal): void {
    this.watcher.journalOpened(this, vmId);
    this.#journalState(receiver, journal.engine.state);
    if (this.#retirement === undefined && this.areJournalsReady) this.#startRetirement();
  }

  #journalState(receiver: Receiver, state: JournalState): void {
    this.#receive(receiver, (effects) => {
      switch (state.phase) {
        case 'open': return receiver.journalState('ready', effects);
        case 'full':
          receiver.journalState('full', effects);
          return receiver.appendsLost(effects);
        case 'broken': return receiver.journalState('broken', effects);
        case 'ended': return receiver.end(effects);
        default: return unreachable(state.phase);
      }
    });
  }

  // ---- streams

  protected acceptData(socket: SimSocket): void {
    readFrames(socket, (header, body) => this.#frame(socket, header, body));
    socket.onClose = () => {
      for (const stream of this.#streams.values()) {
        if (stream.socket !== socket) continue;
        this.#streams.delete(stream.connection);
        this.protections.get(stream.vmId)?.receiver.connectionLost(stream.connection);
      }
    };
  }

  #frame(socket: SimSocket, header: FrameHeader, body: Uint8Array): void {
    if (!this.isAlive) return;
    if (header.kind === FrameKind.open) return this.#openCame(socket, header, body);
    const stream = [...this.#streams.values()].find((one) => one.socket === socket && one.stream === header.stream);
    const protection = stream && this.protections.get(stream.vmId);
    if (stream === undefined || protection === undefined) return;
    if (header.kind === FrameKind.hashRequest) return this.#hashRequested(stream, protection, body);
    if (header.kind !== FrameKind.records) return;
    const records = decodeRecords(header, body, protection.vm.volumeBytes);
    this.#body = body;
    this.#receive(protection.receiver, (effects) => protection.receiver.frame(stream.connection, header, records, effects));
  }

  #hashRequested({ connection }: Stream, { journal, vm }: Protection, body: Uint8Array): void {
    this.after(this.around.world.random.below(HASH_MS_MAX), () => {
      const stream = this.#streams.get(connection);
      if (stream === undefined || !journal.isReady) return;
      stream.socket.send(concat(encodeFrame({ kind: FrameKind.hashReply, stream: stream.stream }, hashReplyOf(journal, body, vm.volumeBytes), crc32c)));
    });
  }

  #openCame(socket: SimSocket, header: FrameHeader, body: Uint8Array): void {
    const request = decodeOpen(body);
    const protection = this.protections.get(request.vmId);
    if (protection === undefined) throw new Violation(`open of an unknown VM ${request.vmId}`);
    const connection = this.#nextConnection;
    this.#nextConnection += 1;
    this.#streams.set(connection, { connection, stream: header.stream, vmId: request.vmId, socket });
    this.#receive(protection.receiver, (effects) => protection.receiver.open(connection, request, effects));
  }

  #receive(receiver: Receiver, act: (effects: ReceiverEffect[]) => void): void {
    const effects: ReceiverEffect[] = [];
    act(effects);
    for (const effect of effects) this.#carryOut(receiver, effect);
  }

  #carryOut(receiver: Receiver, effect: ReceiverEffect): void {
    const protection = [...this.protections.values()].find((one) => one.receiver === receiver);
    if (protection === undefined) return;
    const { journal, vm } = protection;
    switch (effect.kind) {
      case 'append': {
        journal.append(effect.header, this.#body, effect.records);
        if (this.around.plant?.isAckedOnArrival === true) this.#receive(receiver, (more) => receiver.durable(effect.header.lastSeq, more));
        return;
      }
      case 'sendAck':
        this.watcher.acknowledged(vm.vmId, effect.durableSeq);
        return this.#send(effect.connection, { kind: FrameKind.ack, lastSeq: effect.durableSeq }, encodeAck(effect.creditBytes));
      case 'sendOpened':
        return this.#send(effect.connection, { kind: FrameKind.opened }, encodeOpened(effect.reply));
      case 'sendRefused':
        this.#send(effect.connection, { kind: FrameKind.refused }, encodeRefused(effect.reply));
        this.#streams.delete(effect.connection);
        return;
      case 'closeStream':
        this.#send(effect.connection, { kind: FrameKind.closeStream }, undefined);
        this.#streams.delete(effect.connection);
        return;
      case 'beginIncarnation':
        journal.command({ type: 'beginIncarnation', sessionId: effect.sessionId, epoch: effect.epoch }, (begun, error) => {
          const { openId } = effect;
          const result = begun === undefined ? { openId, isBegun: false as const, message: String(error) } : { openId, isBegun: true as const, ...begun };
          this.#receive(receiver, (effects) => receiver.incarnationBegan(result, effects));
        });
        return;
      default: return unreachable(effect);
    }
  }

  #send(connection: number, fields: { kind: FrameKind; lastSeq?: number }, body: Uint8Array | undefined): void {
    const stream = this.#streams.get(connection);
    stream?.socket.send(concat(encodeFrame({ ...fields, stream: stream.stream }, body === undefined ? [] : [body], crc32c)));
  }

  // ---- retirement

  #startRetirement(): void {
    const retiredId = Math.min(...this.vmIds.map((vmId) => this.#retiredIdOf(vmId)));
    this.#retirement = new Retirement({ selfVraId: this.name, retiredId });
    this.#retire({ type: 'configured', config: this.options.retirement });
    for (const peer of this.#upPeers) this.#retire({ type: 'peerUp', vraId: peer });
    this.after(LIST_MS, () => this.#list());
  }

  #retiredIdOf(vmId: string): number {
    const engine = this.journal(vmId)?.engine;
    return engine?.checkpoints.find((checkpoint) => checkpoint.markerSeq === engine.durable.retiredSeq)?.checkpointId ?? 0;
  }

  #list(): void {
    if (!this.isRetirementPaused) this.#retire({ type: 'listed', checkpoints: this.#listed() });
    this.after(LIST_MS, () => this.#list());
  }

  /** What the journals of this host agree on; the other recoverers are asked. */
  #listed(): AgedCheckpoint[] {
    const [first = [], ...others] = this.vmIds.map((vmId) => this.held(vmId));
    return first
      .filter(({ checkpointId }) => others.every((held) => held.some((other) => other.checkpointId === checkpointId)))
      .map(({ checkpointId, arrivedMs, marker }) => ({ checkpointId, ageMs: this.nowMs - arrivedMs + marker.ageMs }));
  }

  #retire(event: RetirementEvent extends infer T ? (T extends RetirementEvent ? Omit<T, 'nowMs'> : never) : never): void {
    const effects: RetirementEffect[] = [];
    this.#retirement?.step({ ...event, nowMs: this.nowMs } as RetirementEvent, effects);
    for (const effect of effects) this.#carryOutRetirement(effect);
  }

  #carryOutRetirement(effect: RetirementEffect): void {
    switch (effect.type) {
      case 'send': return this.sendControl(effect.vraId, effect.message);
      case 'askPins': {
        const { checkpointId } = effect;
        const reason = this.#pinnedReason(checkpointId);
        return this.#retire({ type: 'pinsAnswered', checkpointId, isFree: reason === undefined, reason: reason ?? '' });
      }
      case 'makeRetired':
        if (this.around.plant?.isApplyHasty === true) this.#makeRetired(effect.checkpointId, () => this.#allowApply(effect.checkpointId));
        else this.#makeRetired(effect.checkpointId, () => undefined);
        return;
      case 'allowApply': return this.#allowApply(effect.checkpointId);
      case 'wakeAt': return this.after((effect.atMs - this.nowMs) / this.clockRate, () => this.#retire({ type: 'tick' }));
      default: return unreachable(effect);
    }
  }

  /** For the checkers and for `askPins`. */
  viewOpened(key: string, checkpointId: number): void {
    this.#views.set(key, checkpointId);
  }

  viewClosed(key: string): void {
    this.#views.delete(key);
  }

  #pinnedReason(checkpointId: number): string | undefined {
    for (const vmId of this.vmIds) {
      if (!this.held(vmId).some((held) => held.checkpointId === checkpointId)) return `the journal of ${vmId} does not hold it`;
    }
    for (const pinned of this.#views.values()) if (pinned < checkpointId) return `checkpoint ${pinned} is in use`;
    return undefined;
  }

  #makeRetired(checkpointId: number, then: () => void): void {
    let waiting = this.vmIds.length;
    let failure = '';
    for (const vmId of this.vmIds) {
      const journal = this.journal(vmId);
      const answered = (_result: unknown, error: Error | undefined): void => {
        waiting -= 1;
        if (error !== undefined) failure = error.message;
        if (waiting > 0) return;
        this.#retire({ type: 'retired', checkpointId, isDurable: failure === '', reason: failure });
        if (failure === '') then();
      };
      if (journal === undefined) answered(undefined, new Error('the journal is not open'));
      else journal.command({ type: 'retire', checkpointId }, answered);
    }
  }

  #allowApply(checkpointId: number): void {
    this.watcher.mayApply(this.name, checkpointId);
    for (const vmId of this.vmIds) this.journal(vmId)?.command({ type: 'allowApply', checkpointId }, () => undefined);
  }

  protected peerUp(name: string): void {
    this.#upPeers.add(name);
    this.#retire({ type: 'peerUp', vraId: name });
  }

  protected peerLost(name: string): void {
    this.#upPeers.delete(name);
    this.#retire({ type: 'peerLost', vraId: name });
  }

  protected controlCame(fromName: string, message: ControlMessage): void {
    if (message.type === 'retirement') this.#retire({ type: 'message', fromVraId: fromName, message });
  }
}
