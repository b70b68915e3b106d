import { randomUUID } from 'node:crypto';
import { ProtocolError } from '@tidemark/base';
import {
  decodeAck, decodeOpened, decodeRefused, encodeFrame, encodeHashRequest, encodeOpen, FrameKind,
  type CheckpointMarker, type CheckpointSeal, type FrameHeader,
} from '@tidemark/frame';
import { crc32c, type Link } from '@tidemark/link';
import { Sender, SESSION_MARK, type BudgetShare, type SenderOptions, type SenderStatus, type SyncCompare, type SyncRead } from '@tidemark/replication';
import type { CaptureSink } from '@tidemark/splitter';
import { payloadPool } from '@tidemark/sys';
import type { ActivityLogFile } from './activity-log-file.js';
import { DeltaCompare } from './delta-compare.js';
import { WritesAtMarkers } from './disk-fingerprint.js';
import { EngineError } from './engine-error.js';
import { FramePacker } from './frame-packer.js';
import type { GuestVm } from './guest-vm.js';
import { hashExtent } from './hash-extent.js';
import { MarkerAges } from './marker-ages.js';
import type { OutboundStream } from './outbound.js';
import { RateMeter } from './rate.js';
import { StreamActivity } from './stream-activity.js';
import { StreamLosses } from './stream-losses.js';
import type { StreamPeer, StreamSurroundings } from './stream-surroundings.js';
import { readForSync } from './sync-source.js';
import { protectionKey, type Logger, type ProtectionSpec } from './types.js';
import { VolumeMap } from './volume-map.js';

/** Parts of the memory that a stream is sure of, by the priority of its VPG. */
const BUDGET_WEIGHT: Record<ProtectionSpec['priority'], number> = { low: 1, medium: 2, high: 4 };
const REOPEN_MS_MIN = 100;
const REOPEN_MS_MAX = 2000;
const PAUSED_TEXT = 'paused by a user: writes are kept here, and sent when it goes on';

export interface SendingRates {
  readonly sentBytes: number;
  readonly bytesPerSecond: number;
  readonly writesPerSecond: number;
  readonly syncBytesPerSecond: number;
}

/** One protection's stream: the sender engine with its VM's disks on one side and a link on the other. */
export class SendingStream implements OutboundStream {
  readonly key: string;
  readonly sender: Sender;
  readonly #sink: CaptureSink;
  #map: VolumeMap;
  readonly #activity: StreamActivity;
  #link: Link | undefined;
  #streamId = 0;
  #readsInFlight = 0;
  #reopenMs = REOPEN_MS_MIN;
  #reopenAtMs = 0;
  #isRefused = false;
  #sentBytes = 0;
  readonly #byteRate = new RateMeter();
  readonly #writeRate = new RateMeter();
  readonly #syncRate = new RateMeter();
  readonly #share: BudgetShare;
  readonly #markerAges = new MarkerAges();
  readonly #writesAtMarkers = new WritesAtMarkers();
  readonly #compares: DeltaCompare;
  #isClosed = false;
  #isBroken = false;
  /** There is more to send than the credit allows: the next ack lets it go on. */
  #isHeldBack = false;
  readonly guest: GuestVm;
  readonly losses: StreamLosses;
  #peer: StreamPeer;
  readonly #packer: FramePacker;
  private readonly log: Logger;

  constructor(
    private current: ProtectionSpec,
    private readonly around: StreamSurroundings,
  ) {
    const { guest, peer, budget, log } = around;
    this.guest = guest;
    this.#peer = peer;
    this.log = log;
    const spec = this.current;
    this.#share = budget.share({ weight: BUDGET_WEIGHT[spec.priority], giveWay: () => this.#guarded(() => this.sender.giveWay()) });
    this.key = protectionKey(spec);
    this.losses = new StreamLosses(this.key, log);
    this.#map = new VolumeMap(spec, guest);
    const sessionId = `${around.vraId}${SESSION_MARK}${randomUUID()}`;
    const earlier = around.activity?.earlier();
    const basis = this.#basisOf(spec);
    this.sender = new Sender({
      vpgId: spec.vpgId,
      vmId: spec.vmId,
      epoch: spec.epoch,
      sessionId,
      volumeSizesBytes: this.#map.sizesBytes,
      budget: this.#share,
      ...(spec.tempVolumes && { tempVolumes: spec.tempVolumes }),
      fence: guest.splitter,
      ...(earlier && { earlier }),
      ...(basis && { basis }),
      memory: payloadPool,
    });
    this.#packer = this.#makePacker();
    this.#compares = this.#makeCompares();
    this.#activity = new StreamActivity({
      key: this.key, sender: this.sender, sessionId, guest, file: around.activity, periodMs: around.activityPeriodMs, log, nowMs: () => performance.now(),
      slotOf: (volume) => this.#map.slotOf(volume), work: () => this.work(0),
    });
    this.#sink = this.#makeSink();
    guest.addSink(this.key, this.#sink);
  }

  /** Asked before this stream captures: what is written from then on it knows itself. */
  #basisOf({ basisId = '' }: ProtectionSpec): SenderOptions['basis'] {
    const extents = this.guest.takeChanges(basisId)?.extents(this.#map.sizesBytes, (volume) => this.#map.slotOf(volume));
    return extents && { basisId, extents };
  }

  #makePacker(): FramePacker {
    return new FramePacker({
      codecs: this.around.codecs,
      send: (chunks) => this.#send(chunks),
      packed: (savedBytes) => {
        this.around.outbound.saved(this, savedBytes);
        if (!this.#isClosed) this.work(0);
      },
      onProblem: (error) => this.log.error({ stream: this.key, error: String(error) }, 'compression failed: the frame is sent as it is'),
    });
  }

  get peer(): StreamPeer {
    return this.#peer;
  }

  get memory(): Pick<BudgetShare, 'usedBytes' | 'guaranteedBytes'> {
    return this.#share;
  }

  get priority(): ProtectionSpec['priority'] {
    return this.spec.priority;
  }

  /** There is, or may be, something to send. */
  work(queuedBytes: number): void {
    this.around.outbound.work(this, queuedBytes);
  }

  get spec(): ProtectionSpec {
    return this.current;
  }

  /** What may change under an open stream. A pause closes it; its end opens it again, with the queue or with what the bitmap has by then. */
  update(spec: ProtectionSpec): void {
    const wasPaused = this.#isPaused;
    this.current = spec;
    if (this.#isPaused === wasPaused) return;
    this.log.info({ stream: this.key, isPaused: this.#isPaused }, 'replication is paused, or goes on');
    this.#guarded(() => (wasPaused ? this.#open() : this.#closeAtPeer()));
  }

  get #isPaused(): boolean {
    return this.current.isPaused === true;
  }

  /** Another VRA has taken over the journal: the same stream goes on there, with the queue, or with what the bitmap has by then. */
  retarget(spec: ProtectionSpec, peer: StreamPeer): void {
    this.log.info({ stream: this.key, from: this.spec.recoveringVra.vraId, to: spec.recoveringVra.vraId }, 'the recovery has moved to another VRA');
    this.current = spec;
    this.#guarded(() => this.#closeAtPeer());
    this.#link = undefined;
    this.#reopenMs = REOPEN_MS_MIN;
    this.#peer.compares.forget(this);
    this.#peer = peer;
  }

  #closeAtPeer(): void {
    this.#closeOnLink();
    this.#streamId = 0;
    this.peer.forgetStream(this);
    this.#compares.abort();
    this.#packer.clear();
    this.sender.linkDown();
  }

  #makeCompares(): DeltaCompare {
    return new DeltaCompare({
      ask: (compare) => void this.#link?.send(encodeFrame({ kind: FrameKind.hashRequest, stream: this.#streamId }, [encodeHashRequest(compare)], crc32c)),
      hash: (compare) => hashExtent(this.around.hashPool, this.#protectedVolume(compare), compare),
      verdict: (compareId, equal) => this.#compared(() => this.sender.compared(compareId, equal)),
      ended: (count) => this.peer.compares.give(count),
      failed: ({ compareId, ...extent }, error) => {
        this.log.warn({ stream: this.key, ...extent, error: String(error) }, 'the protected volume cannot be read for the comparison');
        this.#compared(() => this.sender.compareFailed(compareId));
      },
    });
  }

  #compared(act: () => void): void {
    if (this.#isClosed) return;
    this.#guarded(act);
    this.work(0);
  }

  #protectedVolume({ volume }: Pick<SyncCompare, 'volume'>): ReturnType<GuestVm['file']> {
    return this.guest.file(this.#map.slotOf(volume));
  }

  #makeSink(): CaptureSink {
    return {
      capture: (write) => {
        const captured = this.#map.mapped(write);
        if (!captured || this.sender.isLeftOut(captured.volume)) return;
        this.#activity.captured(captured.volume, captured.offset, captured.length);
        this.#guarded(() => this.sender.capture(captured));
        this.work(captured.length);
      },
      captureFailed: (write) => {
        const failed = this.#map.mapped(write);
        if (!failed) return;
        this.#guarded(() => this.sender.captureFailed(failed));
        this.work(0);
      },
    };
  }

  /**
   * A failing sender takes its own protection down, loudly, and neither a guest nor another stream: it is given up, and a new session copies
   * everything. What the peer did wrong is not its failure.
   */
  #guarded(act: () => void): void {
    if (this.#isBroken) return;
    try {
      act();
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      this.#isBroken = true;
      this.log.error({ stream: this.key, error: error instanceof Error ? error.stack : String(error) }, 'the sender failed: this is a bug; the stream begins anew');
      setImmediate(() => this.around.onBroken(error));
    }
  }

  /** See {@link Sender.placeMarker}. */
  placeMarker(marker: CheckpointMarker): boolean {
    if (this.#isBroken || !this.sender.placeMarker(marker)) return false;
    this.#markerAges.placed(marker.checkpointId, performance.now());
    this.#writesAtMarkers.placed(marker.checkpointId, this.sender.status().writeCount);
    return true;
  }

  /** Throws VRA_NOT_SETTLED unless the recovery site has everything and nothing was captured behind that marker. */
  checkSettled(checkpointId: number): void {
    const { state, writeCount, lagBytes } = this.status();
    const isSettled = this.#writesAtMarkers.at(checkpointId) === writeCount && state === 'replicating' && lagBytes === 0;
    if (!isSettled) throw new EngineError('VRA_NOT_SETTLED', `VM ${this.spec.vmId} has written since checkpoint ${String(checkpointId)}, or it is not known that it has not`);
  }

  /** See {@link Sender.forceSync}. */
  forceSync(): void {
    this.#guarded(() => this.sender.forceSync());
    this.work(0);
  }

  /** See {@link Sender.placeSeal}. */
  placeSeal(seal: CheckpointSeal): boolean {
    return !this.#isBroken && this.sender.placeSeal(seal);
  }

  close(): void {
    this.#isClosed = true;
    this.peer.compares.forget(this);
    this.#compares.abort();
    this.guest.removeSink(this.key);
    this.#closeOnLink();
    this.#link = undefined;
    this.#packer.clear();
    if (this.#isBroken) this.#share.close();
    else this.sender.close();
  }

  linkUp(link: Link): void {
    this.#link = link;
    this.#reopenAtMs = 0;
    this.#guarded(() => this.#open());
  }

  linkDown(): void {
    this.#link = undefined;
    this.#packer.clear();
    this.#compares.abort();
    this.#guarded(() => this.sender.linkDown());
  }

  /** False: the volumes are not what they were with some added, grown or removed; only a new stream could take them. */
  changeVolumes(spec: ProtectionSpec): boolean {
    const map = new VolumeMap(spec, this.guest);
    if (!this.#map.canBecome(map)) return false;
    this.current = spec;
    this.#closeOnLink();
    this.#compares.abort();
    this.#guarded(() => {
      this.sender.changeVolumes(map.sizesBytes);
      this.#map = map;
      this.#open();
    });
    return true;
  }

  #closeOnLink(): void {
    if (this.#streamId > 0) this.#link?.send(encodeFrame({ kind: FrameKind.closeStream, stream: this.#streamId }, [], crc32c));
  }

  /** Every second or so: opens again what was refused or closed, reads again what could not be read. */
  tick(nowMs: number): void {
    this.#guarded(() => {
      this.sender.retrySyncReads();
      if (this.#link && this.sender.wantsOpen && nowMs >= this.#reopenAtMs) this.#open();
      this.#activity.tick(nowMs);
    });
    this.work(0);
  }

  /** The guest's disk in this slot may have forgotten what was not flushed: what may be concerned is read and sent again. */
  suspect(slot: number): void {
    const volume = this.#map.volumeOf(slot);
    if (volume === undefined) return;
    const extents = this.#activity.suspects(volume, this.#map.sizesBytes[volume] ?? 0);
    this.#guarded(() => this.sender.suspect(extents, 'the server of a protected volume was away'));
    this.work(0);
  }

  /** The activity log that stands for the volumes as they are now. */
  useActivity(file: ActivityLogFile | undefined): void {
    this.#activity.use(file);
  }

  #open(): void {
    if (!this.#link || this.#isPaused || !this.sender.wantsOpen) return;
    this.#streamId = this.peer.numberStream(this);
    this.#packer.clear();
    this.#compares.abort();
    const body = encodeOpen(this.sender.openRequest());
    this.#link.send(encodeFrame({ kind: FrameKind.open, stream: this.#streamId, epoch: this.spec.epoch }, [body], crc32c));
  }

  /** A frame of the other end for this stream. Throws ProtocolError for what it may not send. */
  frame(header: FrameHeader, body: Uint8Array): void {
    const wasPlain = this.sender.isPlain;
    this.#guarded(() => this.#frame(header, body));
    // An ack that lets nothing go on must not send what is being gathered.
    if (header.kind !== FrameKind.ack || this.#isHeldBack || !wasPlain) this.work(0);
  }

  #frame(header: FrameHeader, body: Uint8Array): void {
    switch (header.kind) {
      case FrameKind.opened: {
        const reply = decodeOpened(body);
        this.#reopenMs = REOPEN_MS_MIN;
        this.#isRefused = false;
        this.sender.opened(reply);
        this.losses.opened(this.sender.status(), Date.now());
        this.#activity.opened();
        this.around.onNumberSeen(reply.newestCheckpointId ?? 0);
        this.log.info({ stream: this.key, ...reply, state: this.sender.status().state }, 'stream opened');
        break;
      }
      case FrameKind.refused: {
        const reply = decodeRefused(body);
        if (!this.#isRefused) this.log.warn({ stream: this.key, ...reply }, 'stream refused');
        this.#isRefused = true;
        this.sender.refused(reply);
        this.#backOff();
        break;
      }
      case FrameKind.hashReply:
        this.#compares.reply(body);
        break;
      case FrameKind.closeStream:
        this.sender.linkDown();
        this.#backOff();
        break;
      case FrameKind.ack:
        this.sender.acked({ durableSeq: header.lastSeq, creditBytes: decodeAck(body) });
        break;
      default:
        this.log.warn({ stream: this.key, kind: header.kind }, 'frame of a kind that a recovering VRA does not send');
    }
  }

  #backOff(): void {
    this.#reopenAtMs = performance.now() + this.#reopenMs;
    this.#reopenMs = Math.min(2 * this.#reopenMs, REOPEN_MS_MAX);
    setTimeout(() => this.tick(performance.now()), this.#reopenAtMs - performance.now() + 1).unref();
  }

  /** See {@link OutboundStream}. A frame that is given to a codec worker counts with its raw bytes until it is packed. */
  sendNext(limits: { readonly rawBytesMax: number; readonly bytesPerSecond: number }): number {
    let bytes = 0;
    this.#guarded(() => (bytes = this.#sendNext(limits)));
    return bytes;
  }

  #sendNext({ rawBytesMax, bytesPerSecond }: { readonly rawBytesMax: number; readonly bytesPerSecond: number }): number {
    if (this.#activity.isHolding()) return 0;
    this.#startCompares();
    this.#startSyncReads();
    const link = this.#link;
    if (!link || this.#isClosed || !this.#packer.hasRoom) return 0;
    const next = this.sender.nextFrame(rawBytesMax);
    this.#isHeldBack = !next && this.sender.unsentBytes > 0;
    if (!next) return 0;
    const frame = { ...next, records: this.#markerAges.aged(next.records, { nowMs: performance.now(), roundTripMs: link.roundTripMs ?? 0 }) };
    const { isCompressed } = this.spec;
    const isBacklogged = isCompressed && this.sender.unsentBytes >= rawBytesMax;
    this.#packer.submit(this.#streamId, frame, { isCompressed, agreement: link.agreement, isBacklogged, bytesPerSecond });
    this.#startSyncReads();
    return frame.rawBytes;
  }

  #send(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.#sentBytes += chunk.byteLength;
    if (this.#link?.send(chunks) === false) this.peer.linkIsFull();
  }

  #startCompares(): void {
    while (this.#link && this.sender.canCompare && this.peer.compares.tryTake(this)) {
      const compare = this.sender.nextCompare();
      if (!compare) return this.peer.compares.give(1);
      this.#compares.start(compare);
    }
  }

  #startSyncReads(): void {
    for (let read = this.sender.nextSyncRead(); read; read = this.sender.nextSyncRead()) {
      this.#readsInFlight += 1;
      void this.#syncRead(read).finally(() => {
        this.#readsInFlight -= 1;
        if (!this.#isClosed) this.work(0);
      });
    }
  }

  async #syncRead({ readId, volume, offset, length }: SyncRead): Promise<void> {
    const memory = payloadPool.take(length);
    payloadPool.retain(memory);
    let isDone = false;
    try {
      const bytes = await readForSync(this.#protectedVolume({ volume }), offset, memory);
      isDone = true;
      if (!this.#isClosed) this.#guarded(() => this.sender.syncReadDone(readId, bytes));
    } catch (error) {
      if (isDone) throw error;
      this.log.warn({ stream: this.key, volume, offset, length, error: String(error) }, 'the protected volume cannot be read for the sync');
      if (!this.#isClosed) this.#guarded(() => this.sender.syncReadFailed(readId));
      return; // a read that failed may still write into the memory: it is the collector's
    }
    payloadPool.release(memory); // what was queued is held by the queue
  }

  status(): SenderStatus {
    const status = this.sender.status();
    return this.#isPaused ? { ...status, state: 'paused', detail: PAUSED_TEXT } : status;
  }

  rates(nowMs: number): SendingRates {
    const status = this.sender.status();
    const syncedBytes = status.sync ? status.sync.totalBytes - status.sync.remainingBytes : 0;
    return {
      sentBytes: this.#sentBytes,
      bytesPerSecond: this.#byteRate.sample(status.writtenBytes, nowMs),
      writesPerSecond: this.#writeRate.sample(status.writeCount, nowMs),
      syncBytesPerSecond: this.#syncRate.sample(syncedBytes, nowMs),
    };
  }
}
