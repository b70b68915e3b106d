import { unreachable } from '@tidemark/base';
import type { BarrierConfig, ControlMessage, TermVote } from '@tidemark/checkpoint';
import { decodeAck, decodeOpened, decodeRefused, encodeFrame, encodeOpen, encodeRecordsFrame, FrameKind, type CheckpointMarker, type CheckpointSeal, type FrameHeader } from '@tidemark/frame';
import { crc32c } from '@tidemark/link';
import { MemoryBudget, Sender, type SyncCompare, type SyncRead } from '@tidemark/replication';
import { Splitter, type GuestRead, type GuestWrite, type SplitterEffect } from '@tidemark/splitter';
import type { GuestVm, KnownWrite } from './guest-vm.js';
import type { SimSocket } from './network.js';
import { SimBarrier } from './sim-barrier.js';
import { SimCompares } from './sim-compare.js';
import { concat, readFrames, SimHost, type Surroundings } from './sim-host.js';
import { Violation } from './world.js';

export interface ProtectingOptions {
  readonly vpgId: string;
  readonly epoch: number;
  readonly barrier: BarrierConfig;
  readonly vms: readonly { readonly vm: GuestVm; readonly recoveringHost: string }[];
  readonly budgetBytes: number;
  readonly frameBytesMax: number;
  /** Longest local I/O, ms. */
  readonly ioMsMax: number;
  readonly holdBoundMs: number;
}

interface PendingWrite {
  readonly known: KnownWrite;
  readonly onCompleted: () => void;
  readonly onAborted: () => void;
  isStarted: boolean;
}

interface PendingRead {
  readonly read: GuestRead;
  readonly onRead: (writeId: number) => void;
  readonly onAborted: () => void;
}

/** Capture and stream of one VM. */
interface Capture {
  readonly vm: GuestVm;
  readonly recoveringHost: string;
  readonly splitter: Splitter;
  readonly sender: Sender;
  readonly writes: Map<number, PendingWrite>;
  readonly reads: Map<number, PendingRead>;
  /** Of the stream that is open. */
  compares: SimCompares;
  /** On the open connection; undefined: none. */
  stream: number | undefined;
}

interface DataLink {
  readonly to: string;
  socket: SimSocket | undefined;
  nextStream: number;
}

const REOPEN_MS = 100;
const TICK_MS = 60;
const BUFFERED_BYTES_MAX = 64 * 1024;
const SYNC_RETRY_MS = 500;

/** One protecting host: splitters, senders and the barrier of its VMs. Its disks outlive its process. */
export class ProtectingHost extends SimHost {
  #captures = new Map<string, Capture>();
  #links = new Map<string, DataLink>();
  #budget = new MemoryBudget(1);
  #barrier: SimBarrier | undefined;
  /** Survives the process. */
  #vote: TermVote | null = null;
  #session = 0;
  /** Chances of an I/O error, set by the swarm. */
  readErrorChance = 0;
  writeErrorChance = 0;
  refuseConfirmChance = 0;

  constructor(name: string, around: Surroundings, private readonly options: ProtectingOptions) {
    super(name, around, options.barrier.members.map((member) => member.vraId).filter((vraId) => vraId !== name));
  }

  sender(vmId: string): Sender | undefined {
    return this.#captures.get(vmId)?.sender;
  }

  get barrier(): SimBarrier | undefined {
    return this.#barrier;
  }

  get budget(): MemoryBudget {
    return this.#budget;
  }

  protected started(): void {
    this.#session += 1;
    this.#budget = new MemoryBudget(this.options.budgetBytes);
    for (const { vm, recoveringHost } of this.options.vms) {
      vm.captureRestarts();
      this.#captures.set(vm.vmId, this.#newCapture(vm, recoveringHost));
      this.#links.set(recoveringHost, { to: recoveringHost, socket: undefined, nextStream: 1 });
    }
    for (const link of this.#links.values()) this.#dial(link);
    this.#barrier = this.#newBarrier();
    this.#barrier?.take({ type: 'configured', config: this.options.barrier });
    this.after(TICK_MS, () => this.#tick(1));
  }

  /** What was under way may have reached the disk, in part, and is never captured; the guest's requests fail. */
  protected crashed(): void {
    const { random } = this.around.world;
    for (const { vm, writes, reads } of this.#captures.values()) {
      for (const { known, onAborted, isStarted } of writes.values()) {
        if (isStarted && known.capturedIndex === undefined && random.chance(0.7)) {
          vm.putOnDisk(known.write, random.chance(0.5) ? known.write.length : known.write.length - (known.write.length % 1024));
          vm.becomesBase(known);
        }
        onAborted();
      }
      for (const { onAborted } of reads.values()) onAborted();
    }
    this.#captures = new Map();
    this.#links = new Map();
    this.#barrier = undefined;
  }

  protected acceptData(socket: SimSocket): void {
    socket.close();
  }

  #newCapture(vm: GuestVm, recoveringHost: string): Capture {
    const { vpgId, epoch } = this.options;
    const splitter = new Splitter();
    const sender = new Sender({
      vpgId, vmId: vm.vmId, epoch, sessionId: `${this.name}-${this.#session}`, volumeSizesBytes: vm.volumeBytes, budget: this.#budget.share(),
      ...(this.around.plant?.isFenceMissing === true ? {} : { fence: splitter }),
    });
    const capture: Capture = { vm, recoveringHost, splitter, sender, writes: new Map(), reads: new Map(), compares: new SimCompares(sender), stream: undefined };
    splitter.addSink('truth', {
      capture: (write) => this.#knownOf(capture, write, (known) => vm.wasCaptured(known, this.around.world.nowMs)),
      captureFailed: (write) => vm.captureFailed(write),
    });
    const isEarly = this.around.plant?.isCapturedEarly === true;
    splitter.addSink(vpgKey(vpgId), isEarly ? { capture: () => undefined, captureFailed: () => undefined } : sender);
    return capture;
  }

  #knownOf(capture: Capture, write: GuestWrite, found: (known: KnownWrite) => void): void {
    for (const { known } of capture.writes.values()) if (known.write === write) return found(known);
    throw new Violation('a write was captured that nobody issued');
  }

  // ---- guest I/O

  write(vmId: string, known: KnownWrite, ends: Pick<PendingWrite, 'onCompleted' | 'onAborted'>): void {
    const capture = this.#captures.get(vmId);
    if (capture === undefined) return ends.onAborted();
    const effects: SplitterEffect[] = [];
    const writeId = capture.splitter.submitWrite(known.write, effects);
    capture.writes.set(writeId, { known, isStarted: false, ...ends });
    if (this.around.plant?.isCapturedEarly === true) capture.sender.capture(known.write);
    this.#split(capture, effects);
  }

  read(vmId: string, read: GuestRead, ends: Pick<PendingRead, 'onRead' | 'onAborted'>): void {
    const capture = this.#captures.get(vmId);
    if (capture === undefined) return ends.onAborted();
    if (this.around.plant?.areReadsUnheld === true) return ends.onRead(capture.vm.writeIdAt(read.volume, read.offset));
    const effects: SplitterEffect[] = [];
    const readId = capture.splitter.submitRead(read, effects);
    capture.reads.set(readId, { read, ...ends });
    this.#split(capture, effects);
  }

  #split(capture: Capture, effects: SplitterEffect[]): void {
    for (const effect of effects) {
      switch (effect.kind) {
        case 'writeLocal': this.#writeLocal(capture, effect.writeId); break;
        case 'startRead': this.#readLocal(capture, effect.readId); break;
        case 'complete': this.#completed(capture, effect.writeId); break;
        default: unreachable(effect);
      }
    }
    this.#pump(capture);
  }

  /** The bytes reach the disk in two halves, some time before the end is reported: a sync may read between. */
  #writeLocal(capture: Capture, writeId: number): void {
    const pending = capture.writes.get(writeId);
    if (pending === undefined) throw new Violation('local write of an unknown request');
    pending.isStarted = true;
    const { random } = this.around.world;
    const { vm } = capture;
    const { write } = pending.known;
    const ioMs = random.below(this.options.ioMsMax);
    const isOk = !random.chance(this.writeErrorChance);
    this.after(ioMs * 0.3, () => vm.putOnDisk(write, Math.floor(write.length / 1024) * 512));
    if (isOk) this.after(ioMs * 0.6, () => vm.putOnDisk(write));
    this.after(ioMs, () => {
      const effects: SplitterEffect[] = [];
      capture.splitter.localWriteDone(writeId, isOk, effects);
      if (!isOk) {
        capture.writes.delete(writeId);
        pending.onAborted();
      }
      this.#split(capture, effects.filter((effect) => !(effect.kind === 'complete' && effect.writeId === writeId && !isOk)));
    });
  }

  #readLocal(capture: Capture, readId: number): void {
    this.after(this.around.world.random.below(this.options.ioMsMax), () => {
      const pending = capture.reads.get(readId);
      if (pending === undefined) return;
      capture.reads.delete(readId);
      const writeId = capture.vm.writeIdAt(pending.read.volume, pending.read.offset);
      const effects: SplitterEffect[] = [];
      capture.splitter.readDone(readId, effects);
      this.#split(capture, effects);
      pending.onRead(writeId);
    });
  }

  #completed(capture: Capture, writeId: number): void {
    const pending = capture.writes.get(writeId);
    if (pending === undefined) throw new Violation('completion of an unknown request');
    capture.writes.delete(writeId);
    const { world } = this.around;
    const heldMs = world.nowMs - pending.known.capturedAtMs;
    if (heldMs > this.options.holdBoundMs / this.clockRate + 1) throw new Violation(`a guest write was held for ${heldMs.toFixed(1)} ms`);
    pending.known.completedAtMs = world.nowMs;
    pending.onCompleted();
  }

  // ---- streams

  #dial(link: DataLink): void {
    this.around.network.dial(this, link.to, 'data', (socket) => {
      if (!this.isAlive || this.#links.get(link.to) !== link) socket?.close();
      else if (socket === undefined) this.after(REOPEN_MS, () => this.#dial(link));
      else this.#connected(link, socket);
    });
  }

  #connected(link: DataLink, socket: SimSocket): void {
    link.socket = socket;
    readFrames(socket, (header, body) => {
      if (this.isAlive && link.socket === socket) this.#frame(link, header, body);
    });
    socket.onClose = () => {
      if (!this.isAlive || link.socket !== socket) return;
      link.socket = undefined;
      for (const capture of this.#capturesTo(link)) {
        if (capture.stream !== undefined) this.#streamEnded(capture, () => capture.sender.linkDown());
      }
      this.after(REOPEN_MS, () => this.#dial(link));
    };
    this.#openStreams(link);
  }

  #capturesTo(link: DataLink): Capture[] {
    return [...this.#captures.values()].filter((capture) => capture.recoveringHost === link.to);
  }

  #openStreams(link: DataLink): void {
    const { socket } = link;
    if (socket === undefined) return;
    for (const capture of this.#capturesTo(link)) {
      if (!capture.sender.wantsOpen) continue;
      capture.stream = link.nextStream;
      capture.compares = new SimCompares(capture.sender);
      link.nextStream += 1;
      socket.send(concat(encodeFrame({ kind: FrameKind.open, stream: capture.stream }, [encodeOpen(capture.sender.openRequest())], crc32c)));
    }
  }

  #streamEnded(capture: Capture, tell: () => void): void {
    capture.stream = undefined;
    tell();
  }

  #frame(link: DataLink, header: FrameHeader, body: Uint8Array): void {
    const capture = this.#capturesTo(link).find((one) => one.stream === header.stream);
    if (capture === undefined) return;
    const { sender } = capture;
    if (header.kind === FrameKind.opened) sender.opened(decodeOpened(body));
    else if (header.kind === FrameKind.hashReply) capture.compares.replied(body);
    else if (header.kind === FrameKind.ack) sender.acked({ durableSeq: header.lastSeq, creditBytes: decodeAck(body) });
    else if (header.kind === FrameKind.refused) this.#streamEnded(capture, () => sender.refused(decodeRefused(body)));
    else if (header.kind === FrameKind.closeStream) this.#streamEnded(capture, () => sender.linkDown());
    if (sender.status().lostAcknowledgedCount > 0) throw new Violation(`${capture.vm.vmId}: ${sender.status().detail}`);
    this.#pump(capture);
  }

  #tick(count: number): void {
    for (const link of this.#links.values()) this.#openStreams(link);
    for (const capture of this.#captures.values()) {
      if (count % Math.round(SYNC_RETRY_MS / TICK_MS) === 0) capture.sender.retrySyncReads();
      this.#pump(capture);
    }
    this.after(TICK_MS, () => this.#tick(count + 1));
  }

  #pump(capture: Capture): void {
    const socket = this.#links.get(capture.recoveringHost)?.socket;
    const { sender, stream } = capture;
    if (socket === undefined || stream === undefined) return;
    for (let compare = sender.nextCompare(); compare !== undefined; compare = sender.nextCompare()) {
      socket.send(concat(encodeFrame({ kind: FrameKind.hashRequest, stream }, [capture.compares.begin(compare)], crc32c)));
      this.#compareLocal(capture, capture.compares, compare);
    }
    for (let read = sender.nextSyncRead(); read !== undefined; read = sender.nextSyncRead()) this.#syncRead(capture, read);
    while (socket.bufferedBytes < BUFFERED_BYTES_MAX) {
      const frame = sender.nextFrame(this.options.frameBytesMax);
      if (frame === undefined) return;
      const { incarnation, epoch, firstSeq, records } = frame;
      socket.send(concat(encodeRecordsFrame({ stream, incarnation, epoch, firstSeq }, records, crc32c)));
    }
  }

  #compareLocal(capture: Capture, compares: SimCompares, compare: SyncCompare): void {
    const { random } = this.around.world;
    this.after(random.below(2 * this.options.ioMsMax), () => {
      const bytes = capture.vm.disks[compare.volume]?.slice(compare.offset, compare.offset + compare.length);
      compares.read(compare, random.chance(this.readErrorChance) ? undefined : bytes);
      this.#pump(capture);
    });
  }

  #syncRead(capture: Capture, { readId, volume, offset, length }: SyncRead): void {
    const { random } = this.around.world;
    const ioMs = random.below(2 * this.options.ioMsMax);
    let bytes: Uint8Array | undefined;
    this.after(ioMs * random.unit(), () => (bytes = capture.vm.disks[volume]?.slice(offset, offset + length)));
    this.after(ioMs, () => {
      if (bytes === undefined || random.chance(this.readErrorChance)) capture.sender.syncReadFailed(readId);
      else capture.sender.syncReadDone(readId, bytes.every((byte) => byte === 0) ? 'zeroes' : bytes);
      this.#pump(capture);
    });
  }

  // ---- barrier

  insertCheckpoint(tag: string): void {
    this.#barrier?.take({ type: 'insertRequested', requestId: this.around.world.random.int(1e9), tag, kind: 'tagged' });
  }

  #newBarrier(): SimBarrier {
    const holdBoundMs = this.around.plant?.isHoldUnbounded === true ? 400 : this.options.holdBoundMs;
    const key = vpgKey(this.options.vpgId);
    return new SimBarrier({
      host: this,
      around: this.around,
      hold: () => this.#eachSplitter((splitter, effects) => splitter.hold(key, effects)),
      release: () => this.#eachSplitter((splitter, effects) => splitter.release(key, effects)),
      placeMarkers: (marker, vmIds) => this.#placeMarkers(marker, vmIds),
      placeSeals: (seal) => this.#placeSeals(seal),
      confirmsCapture: () => !this.around.world.random.chance(this.refuseConfirmChance),
      storeVote: (vote) => (this.#vote = vote),
    }, { selfVraId: this.name, storedVote: this.#vote, holdBoundMs });
  }

  #eachSplitter(act: (splitter: Splitter, effects: SplitterEffect[]) => void): void {
    for (const capture of this.#captures.values()) {
      const effects: SplitterEffect[] = [];
      act(capture.splitter, effects);
      this.#split(capture, effects);
    }
  }

  #placeMarkers(marker: CheckpointMarker, vmIds: readonly string[]): string {
    const { checkpointId, atMs } = marker;
    let reason = '';
    for (const vmId of vmIds) {
      const capture = this.#captures.get(vmId);
      if (capture === undefined) throw new Violation(`marker for ${vmId}, which is not here`);
      if (capture.vm.markers.has(checkpointId)) throw new Violation(`checkpoint number ${checkpointId} was given twice`);
      if (!capture.sender.placeMarker(marker)) reason = `${vmId} is ${capture.sender.status().state}`;
      else capture.vm.markerPlaced(checkpointId, atMs);
      this.#pump(capture);
    }
    return reason;
  }

  #placeSeals(seal: CheckpointSeal): boolean {
    let isPlaced = true;
    for (const capture of this.#captures.values()) {
      if (!capture.sender.placeSeal(seal)) isPlaced = false;
      this.#pump(capture);
    }
    return isPlaced;
  }

  protected peerUp(name: string): void {
    this.#barrier?.take({ type: 'peerUp', vraId: name });
    this.#barrier?.take({ type: 'roundTripMeasured', vraId: name, roundTripMs: 1 });
  }

  protected peerLost(name: string): void {
    this.#barrier?.take({ type: 'peerLost', vraId: name });
  }

  protected controlCame(fromName: string, message: ControlMessage): void {
    if (message.type === 'barrier') this.#barrier?.take({ type: 'message', fromVraId: fromName, message });
  }
}

const vpgKey = (vpgId: string): string => `vpg:${vpgId}`;
