import { zstdCompressSync } from 'node:zlib';
import {
  decodeAck, decodeOpened, decodeRefused, encodeFrame, encodeOpen, encodeRecordsBody, encodeRecordsFrame, FrameCodec, FrameFeature, FrameKind, type Agreement, type FrameHeader,
} from '@tidemark/frame';
import { crc32c } from '@tidemark/link';
import { Sender, type BudgetShare, type OutgoingFrame, type SenderOptions, type SyncCompare, type SyncRead, type VolumeExtent } from '@tidemark/replication';
import { StreamActivity, type ActivityLogFile, type VolumeMap } from '@tidemark/engine-host/activity';
import type { CaptureSink } from '@tidemark/splitter';
import type { Capture } from './capture.js';
import type { SimSocket } from './network.js';
import type { GuestVm } from './guest-vm.js';
import { ACTIVITY_SCALE, earlierOf, volumeMapOf } from './sim-activity.js';
import { SimCompares } from './sim-compare.js';
import { concat, type SimHost, type Surroundings } from './sim-host.js';
import { keyOf, type ProtectionPlan } from './topology.js';
import { Violation } from './world.js';

export interface StreamOptions {
  readonly host: SimHost;
  readonly around: Surroundings;
  readonly sessionId: string;
  readonly share: BudgetShare;
  readonly frameBytesMax: number;
  readonly syncReadMsMax: number;
  readonly isCompressed: boolean;
  /** Its log as the process before left it, or a new one; undefined: none is kept. */
  readonly activity: ActivityLogFile | undefined;
  readonly activityPeriodMs: number;
  readErrorChance(): number;
}

const BUFFERED_BYTES_MAX = 64 * 1024;

/** One protection's stream: the real sender, with the VM's disks on one side and a connection on the other. */
export class SimStream {
  readonly key: string;
  readonly sender: Sender;
  #socket: SimSocket | undefined;
  /** On it: the peer can take it. */
  #isCompressed = false;
  /** On the open connection; undefined: none. */
  #number: number | undefined;
  #isClosed = false;
  recoveringHost: string;
  /** Of the opening that is open. */
  #compares: SimCompares;
  readonly #activity: StreamActivity | undefined;
  #map: VolumeMap;

  constructor(public plan: ProtectionPlan, readonly capture: Capture, private readonly options: StreamOptions) {
    const { vpgId, vm, epoch } = plan;
    this.key = keyOf(vpgId, vm.vmId);
    this.recoveringHost = plan.recoveringHost;
    const { sessionId, share } = options;
    const isFenced = options.around.plant?.flag !== 'fenceMissing';
    const earlier = earlierOf(options.activity);
    this.sender = new Sender({
      vpgId, vmId: vm.vmId, epoch, sessionId, volumeSizesBytes: plan.volumeBytes, budget: share, ...(isFenced ? { fence: capture.splitter } : {}), ...(earlier && { earlier }), ...takeBasis(vm),
    });
    this.#map = volumeMapOf(plan);
    this.#compares = new SimCompares(this.sender);
    this.#activity = options.activity && this.#keepActivity(options.activity);
    capture.addSink(this.key, this.#makeSink());
  }

  #keepActivity(file: ActivityLogFile): StreamActivity {
    const { host, sessionId, activityPeriodMs } = this.options;
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    return new StreamActivity({
      key: this.key, sender: this.sender, sessionId, file, periodMs: activityPeriodMs, log, nowMs: () => host.nowMs,
      guest: { splitter: this.capture.splitter, file: (volume) => ({ flush: () => this.capture.flushed(volume) }) },
      slotOf: (volume) => volume, work: () => this.pump(),
    });
  }

  /** What is written to volumes that the stream does not have yet is passed over: they are dirty when it gets them. */
  #makeSink(): CaptureSink {
    return {
      capture: (write) => {
        const captured = this.#map.mapped(write);
        if (captured === undefined) return;
        this.#activity?.captured(captured.volume, captured.offset * ACTIVITY_SCALE, captured.length * ACTIVITY_SCALE);
        this.sender.capture(captured);
      },
      captureFailed: (write) => {
        const failed = this.#map.mapped(write);
        if (failed !== undefined) this.sender.captureFailed(failed);
      },
    };
  }

  /** Volumes were added, grown or removed: the stream is closed, and opened anew with them. */
  changeVolumes(plan: ProtectionPlan): void {
    const map = volumeMapOf(plan);
    if (!this.#map.canBecome(map)) throw new Violation('protocol', `${this.key}: its volumes cannot become those of a newer document`);
    this.plan = plan;
    this.#closeOnLink();
    this.sender.changeVolumes(map.sizesBytes);
    this.#map = map;
    this.#number = undefined;
  }

  /** The log that stands for the volumes as they are now. */
  useActivity(file: ActivityLogFile | undefined): void {
    this.#activity?.use(file);
  }

  #closeOnLink(): void {
    if (this.#number !== undefined) this.#socket?.send(concat(encodeFrame({ kind: FrameKind.closeStream, stream: this.#number }, [], crc32c)));
  }

  /** Now and then. */
  tick(): void {
    if (this.#activity === undefined) return;
    this.options.around.world.touch();
    this.#activity.tick(this.options.host.nowMs);
  }

  get #isHolding(): boolean {
    if (this.#activity?.isHolding() !== true) return false;
    this.options.around.world.touch();
    return true;
  }

  get number(): number | undefined {
    return this.#number;
  }

  close(): void {
    this.#isClosed = true;
    this.capture.removeSink(this.key);
    this.#closeOnLink();
    this.#socket = undefined;
    this.sender.close();
  }

  /** The same stream, with its session and queue, is opened at another VRA. */
  goTo(recoveringHost: string): void {
    if (recoveringHost === this.recoveringHost) return;
    this.recoveringHost = recoveringHost;
    const [socket, number] = [this.#socket, this.#number];
    if (number !== undefined) socket?.send(concat(encodeFrame({ kind: FrameKind.closeStream, stream: number }, [], crc32c)));
    this.#socket = undefined;
    if (number !== undefined) this.#ended(() => this.sender.linkDown());
  }

  /** Opens on this connection, if the sender wants to. `number` has not been used on it before. */
  open({ socket, agreement }: { readonly socket: SimSocket; readonly agreement: Agreement }, number: number): boolean {
    if (!this.sender.wantsOpen) return false;
    this.#socket = socket;
    this.#isCompressed = this.options.isCompressed && (agreement.features & FrameFeature.zstd) !== 0;
    this.#number = number;
    this.#compares = new SimCompares(this.sender);
    socket.send(concat(encodeFrame({ kind: FrameKind.open, stream: number, epoch: this.plan.epoch }, [encodeOpen(this.sender.openRequest())], crc32c)));
    return true;
  }

  /** The connection is gone. */
  lost(socket: SimSocket): void {
    if (this.#socket !== socket || this.#number === undefined) return;
    this.#ended(() => this.sender.linkDown());
  }

  frame(header: FrameHeader, body: Uint8Array): void {
    const { sender } = this;
    if (header.kind === FrameKind.opened) this.#openedBy(decodeOpened(body));
    else if (header.kind === FrameKind.hashReply) this.#compares.replied(body);
    else if (header.kind === FrameKind.ack) sender.acked({ durableSeq: header.lastSeq, creditBytes: decodeAck(body) });
    else if (header.kind === FrameKind.refused) this.#ended(() => sender.refused(decodeRefused(body)));
    else if (header.kind === FrameKind.closeStream) this.#ended(() => sender.linkDown());
    const status = sender.status();
    if (status.lostAcknowledgedCount > 0 && !this.options.around.world.isMediumRotted) throw new Violation('lost', `${this.key}: ${status.detail}`);
    this.pump();
  }

  #openedBy(reply: Parameters<Sender['opened']>[0]): void {
    this.sender.opened(reply);
    if (this.#activity === undefined) return;
    this.options.around.world.touch();
    this.#activity.opened();
  }

  #ended(tell: () => void): void {
    this.#number = undefined;
    tell();
  }

  pump(): void {
    const socket = this.#socket;
    if (this.#isClosed || this.#isHolding) return;
    if (socket === undefined || this.#number === undefined) return;
    for (let compare = this.sender.nextCompare(); compare !== undefined; compare = this.sender.nextCompare()) {
      socket.send(concat(encodeFrame({ kind: FrameKind.hashRequest, stream: this.#number }, [this.#compares.begin(compare)], crc32c)));
      this.#compareLocal(compare, this.#compares);
    }
    for (let read = this.sender.nextSyncRead(); read !== undefined; read = this.sender.nextSyncRead()) this.#syncRead(read);
    while (socket.bufferedBytes < BUFFERED_BYTES_MAX) {
      const frame = this.sender.nextFrame(this.options.frameBytesMax);
      if (frame === undefined) return;
      socket.send(concat(this.#encode(frame, this.#number)));
    }
  }

  #encode(frame: OutgoingFrame, stream: number): Uint8Array[] {
    const { incarnation, epoch, firstSeq, lastSeq, records, rawBytes } = frame;
    if (!this.#isCompressed) return encodeRecordsFrame({ stream, incarnation, epoch, firstSeq }, records, crc32c);
    const packed = zstdCompressSync(concat(encodeRecordsBody(records)));
    if (packed.byteLength >= rawBytes) return encodeRecordsFrame({ stream, incarnation, epoch, firstSeq }, records, crc32c);
    const fields = { kind: FrameKind.records, stream, incarnation, epoch, firstSeq, lastSeq, count: records.length, codec: FrameCodec.zstd, rawBytes };
    return encodeFrame(fields, [packed], crc32c);
  }

  #compareLocal(compare: SyncCompare, compares: SimCompares): void {
    const { host, around, syncReadMsMax } = this.options;
    const { random } = around.world;
    host.after(random.below(syncReadMsMax), () => {
      if (this.#isClosed) return;
      const bytes = this.plan.vm.readDisk(compare.volume, compare.offset, compare.offset + compare.length);
      compares.read(compare, random.chance(this.options.readErrorChance()) ? undefined : bytes);
      this.pump();
    });
  }

  #syncRead({ readId, volume, offset, length }: SyncRead): void {
    const { host, around, syncReadMsMax } = this.options;
    const { random } = around.world;
    const ioMs = random.below(syncReadMsMax);
    let bytes: Uint8Array | undefined;
    host.after(ioMs * random.unit(), () => (bytes = this.plan.vm.readDisk(volume, offset, offset + length)));
    host.after(ioMs, () => {
      if (this.#isClosed) return;
      if (bytes === undefined || random.chance(this.options.readErrorChance())) this.sender.syncReadFailed(readId);
      else this.sender.syncReadDone(readId, bytes.every((byte) => byte === 0) ? 'zeroes' : bytes);
      this.pump();
    });
  }
}

/** Whoever takes it captures from now on. */
function takeBasis(vm: GuestVm): Pick<SenderOptions, 'basis'> {
  const { changes } = vm;
  if (changes === undefined) return {};
  vm.changes = undefined;
  const extents: VolumeExtent[] = [];
  for (const [volume, bitmap] of changes.bitmaps.entries()) {
    for (let run = bitmap.nextRun(0); run !== undefined; run = bitmap.nextRun(run.end)) extents.push({ volume, start: run.start, end: run.end });
  }
  return { basis: { basisId: changes.basisId, extents } };
}
