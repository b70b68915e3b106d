import { assert, ProtocolError } from '@tidemark/base';
import { encodeMarkerWithRoom, encodeSeal, encodeSyncStart, HASH_EXTENT_BYTES_MAX, isVolumeRecord, RecordType, type StreamRecord, type SyncKind } from '@tidemark/frame';
import type { CaptureSink, GuestWrite } from '@tidemark/splitter';
import { SyncWalk, type SyncCompare, type SyncRead } from '@tidemark/sync';
import type { MarkedExtent } from './activity-log.js';
import type { StreamPosition, StreamPositions } from './activity-keeper.js';
import { decideOpen, type SenderMode, type SenderPosition } from './open-decision.js';
import { SendQueue } from './send-queue.js';
import { nextLinkState, type LinkEvent, type LinkState } from './sender-states.js';
import { senderStatus } from './sender-status.js';
import { SYNC_YIELD_BYTES, SyncReads } from './sync-reads.js';
import { SyncTrigger } from './sync-trigger.js';
import type { CheckpointMarker, CheckpointSeal, OpenedReply, OpenRequest, OutgoingFrame, RefusedReply, SenderOptions, SenderStatus, StreamAck } from './types.js';

/** Comparisons under way: at 100 ms round trip 320 MB/s. Each is 8 KiB of digests on either side. */
export const SYNC_COMPARES_MAX = 32;

interface RunningSync {
  readonly kind: SyncKind;
  readonly reason: string;
  totalBytes: number;
  /** Its syncEnd; 0 until that is queued. The sync is over when it is durable. */
  endSeq: number;
  /** Position of the capture fence that must be passed before syncEnd; undefined: not asked for yet. */
  fence: number | undefined;
}

interface PlacedMarker {
  readonly checkpointId: number;
  readonly term: number;
  readonly seq: number;
}

/**
 * The protecting end of one stream: gives every captured write its writeSeq, keeps it until it is durable at the recovery site, and
 * falls back to a bitmap of what differs when memory ends. Never refuses a write and never waits.
 *
 * Invariant: a captured byte that is not durable remotely is in the queue, in the bitmap, or in a sync read whose result will be queued.
 */
export class Sender implements CaptureSink, StreamPositions {
  readonly #options: SenderOptions;
  readonly #queue: SendQueue;
  readonly #walk: SyncWalk;
  readonly #reads: SyncReads;
  #volumeSizesBytes: readonly number[];
  /** Temp data whose first copy is complete at the recovery site: what is written to them is passed over. */
  #leftOut: ReadonlySet<number> = new Set();
  #mode: SenderMode = 'tracking';
  #link: LinkState = 'down';
  #refusal: RefusedReply | undefined;
  #incarnation = 0;
  #ackedSeq = 0;
  #creditBytes = 0;
  #sync: RunningSync | undefined;
  #lastSyncEndSeq = 0;
  /** The newest marker, as long as a seal for it would count. */
  #marker: PlacedMarker | undefined;
  /** Unverified blocks may be compared with a head that holds the stream up to here: nothing was sent to them since. */
  #compareAtSeq = 0;
  #trackingReason: string = SyncTrigger.protectedVraRestarted;
  /** Everything may differ, until a sync has ended that began with everything marked. */
  #isEverythingDirty: boolean;
  #hasBeenOpened = false;
  /** What was captured is told from what is only suspected: not any more once everything was suspected, captured writes too. */
  #canNarrow = true;
  /** Queues that were dropped: a position from before says nothing any more. */
  #dropCount = 0;
  #lossDetail = '';
  #lostAcknowledgedCount = 0;
  #allSyncsBytes = 0;
  #writtenBytes = 0;
  #writeCount = 0;

  /** Everything counts as dirty until a sync has shown otherwise: a reply that got lost can then never make a sync too small. What is written ends the doubt. */
  constructor(options: SenderOptions) {
    this.#options = options;
    this.#volumeSizesBytes = options.volumeSizesBytes;
    this.#queue = new SendQueue(options.budget, options.memory);
    this.#walk = new SyncWalk(options.volumeSizesBytes);
    this.#reads = new SyncReads(options.budget, this.#walk, this.#queue);
    this.#walk.markUnverified();
    this.#isEverythingDirty = options.earlier === undefined;
  }

  /** Everything may differ from the recovery site: after a crash now, no log of marks would be enough. */
  get isEverythingDirty(): boolean {
    return this.#isEverythingDirty;
  }

  position(): StreamPosition | undefined {
    if (this.#mode !== 'streaming' || this.#sync !== undefined || this.#isEverythingDirty) return undefined;
    return { seq: this.#queue.lastSeq, dropCount: this.#dropCount };
  }

  isDurable(position: StreamPosition): boolean {
    return !this.isLost(position) && this.#ackedSeq >= position.seq;
  }

  isLost(position: StreamPosition): boolean {
    return position.dropCount !== this.#dropCount;
  }

  /** The protected volume may have forgotten writes to these extents that the recovery site holds: they are read and sent again. */
  suspect(extents: Iterable<MarkedExtent>, reason: string): void {
    for (const { volume, start, end } of extents) this.#walk.mark(volume, start, end);
    if (this.#mode === 'streaming' && !this.#walk.isDone) this.#startSync('bitmapSync', reason);
  }

  /** The volume's first copy is all that the recovery site gets: its writes need not be captured. */
  isLeftOut(volume: number): boolean {
    return this.#leftOut.has(volume);
  }

  capture(write: GuestWrite): void {
    if (this.#leftOut.has(write.volume)) return;
    this.#writeCount += 1;
    this.#writtenBytes += write.length;
    switch (this.#mode) {
      case 'streaming':
        if (!this.#push(write, write.offset, write.offset + write.length)) this.#overflow(write);
        return;
      case 'syncing':
        this.#captureInSync(write);
        return;
      case 'tracking':
        this.#walk.mark(write.volume, write.offset, write.offset + write.length);
    }
  }

  /** The range holds nobody knows what: it is read and sent again. */
  captureFailed(write: GuestWrite): void {
    if (this.#leftOut.has(write.volume)) return;
    this.#walk.mark(write.volume, write.offset, write.offset + write.length);
    if (this.#mode === 'streaming') this.#startSync('bitmapSync', SyncTrigger.protectedStorageError);
  }

  /**
   * Puts a checkpoint's marker behind everything captured so far. False, and nothing placed, when the stream is not a plain one (a sync
   * is under way or needed, refused, no memory): the checkpoint must be void.
   */
  placeMarker(marker: CheckpointMarker): boolean {
    if (this.#mode !== 'streaming' || this.#link === 'refused') return false;
    if (!this.#queue.tryPush(mark(RecordType.marker, encodeMarkerWithRoom(marker)))) return false;
    this.#marker = { checkpointId: marker.checkpointId, term: marker.term, seq: this.#queue.lastSeq };
    return true;
  }

  /** False, and nothing placed, when the marker is gone, is another one, or may lie in an older incarnation than the seal would. */
  placeSeal(seal: CheckpointSeal): boolean {
    const marker = this.#marker;
    if (marker?.checkpointId !== seal.checkpointId || marker.term !== seal.term) return false;
    this.#marker = undefined;
    return this.#queue.tryPush(mark(RecordType.seal, encodeSeal(seal)));
  }

  /** True when the host should send `open`: no stream is open or being opened, and asking (again) makes sense. The host keeps its backoff. */
  get wantsOpen(): boolean {
    return this.#link === 'down' || (this.#link === 'refused' && this.#refusal?.code !== 'fenced');
  }

  /** The body of `open`; the host sends it, on a stream number that this connection has not used before. */
  openRequest(): OpenRequest {
    this.#turnLink('openSent');
    const { vpgId, vmId, epoch, sessionId } = this.#options;
    return {
      vpgId, vmId, epoch, sessionId, volumes: this.#volumeSizesBytes,
      firstQueuedSeq: this.#queue.firstSeq, lastSeq: this.#queue.lastSeq, ackedSeq: this.#ackedSeq,
    };
  }

  /** Throws ProtocolError if no `open` is unanswered. */
  opened(reply: OpenedReply): void {
    this.#turnLink('opened');
    this.#refusal = undefined;
    this.#creditBytes = reply.creditBytes;
    const decision = decideOpen(this.#position(), reply);
    this.#incarnation = reply.incarnation;
    if (decision.kind === 'resume') {
      this.#forgetUpTo(reply.durableSeq);
      return;
    }
    this.#leaveOut(reply.isBaseComplete ? (reply.copyingVolumes ?? []) : 'all');
    this.#dropQueue(decision.reason);
    if (decision.blocks === 'all') this.#suspectAll();
    if (decision.blocks === 'suspects') this.#walk.restrictUnverified(this.#options.earlier?.suspects ?? []);
    if (decision.blocks === 'changed') this.#walk.restrictUnverified(this.#options.basis?.extents ?? []);
    if (!decision.isCompared) this.#walk.forgetUnverified();
    this.#compareAtSeq = reply.durableSeq;
    if (decision.blocks === 'suspects') this.#isEverythingDirty = false;
    // The first decision of a session leaves everything marked, unless it could be narrowed down.
    else if (decision.blocks === 'all' || !this.#hasBeenOpened) this.#isEverythingDirty = true;
    this.#hasBeenOpened = true;
    if (decision.isLoss) {
      this.#lostAcknowledgedCount += 1;
      this.#lossDetail = decision.reason;
    }
    this.#queue.reset(Math.max(this.#queue.lastSeq, reply.durableSeq) + 1);
    this.#ackedSeq = reply.durableSeq;
    this.#lastSyncEndSeq = 0;
    this.#startSync(decision.syncKind, decision.reason);
  }

  /** The answer to `open`, or the end of a stream that was open. */
  refused(reply: RefusedReply): void {
    this.#turnLink('refused');
    this.#refusal = reply;
    this.#loseStream();
    if (reply.code === 'fenced') this.#dropQueue(reply.message);
  }

  /** The connection, or this stream on it (`closeStream`), is gone. */
  linkDown(): void {
    this.#turnLink('lost');
    this.#loseStream();
  }

  /** Throws ProtocolError for an ack of what was not sent. One that was under way while the stream ended is passed over. */
  acked(ack: StreamAck): void {
    if (this.#link !== 'open') return;
    if (ack.durableSeq < this.#ackedSeq || ack.durableSeq > Math.max(this.#queue.sentSeq, this.#ackedSeq)) {
      throw new ProtocolError('PROTOCOL_ORDER', `ack of ${ack.durableSeq}, acknowledged ${this.#ackedSeq}, sent ${this.#queue.sentSeq}`);
    }
    this.#creditBytes = ack.creditBytes;
    this.#forgetUpTo(ack.durableSeq);
  }

  /**
   * Records for the next frame, at most `rawBytesMax` in all (one longer record goes alone), within the credit. Undefined: nothing to
   * send now; ask again after a capture, an ack or a sync read.
   */
  nextFrame(rawBytesMax: number): OutgoingFrame | undefined {
    if (this.#link !== 'open') return undefined;
    this.#endSyncIfDone();
    const creditLeft = this.#creditBytes - this.#queue.sentRawBytes;
    // A record longer than the whole window would never fit: it goes when nothing else is under way.
    const isAlone = this.#queue.sentRawBytes === 0 && this.#creditBytes > 0;
    const batch = this.#queue.send({ rawBytesMax, creditLeftBytes: creditLeft, isFirstFree: isAlone });
    if (batch === undefined) return undefined;
    const lastSeq = batch.firstSeq + batch.records.length - 1;
    return { incarnation: this.#incarnation, epoch: this.#options.epoch, lastSeq, ...batch };
  }

  /** A stream of captured writes and nothing else: an ack lets nothing go on but what the credit held back. (While syncing a comparison, a read, or the end may have its turn.) */
  get isPlain(): boolean {
    return this.#mode === 'streaming' && this.#sync === undefined;
  }

  /** Raw bytes that wait to be sent, whatever the credit. */
  get unsentBytes(): number {
    return this.#queue.unsentSyncBytes + this.#queue.unsentOtherBytes;
  }

  /** The next piece of the protected volume to read for a sync; undefined: none now. Reads may be under way together and end in any order. */
  nextSyncRead(): SyncRead | undefined {
    if (this.#mode !== 'syncing' || this.#link !== 'open') return undefined;
    const read = this.#reads.next();
    if (read !== undefined && this.#sync !== undefined) this.#sync.fence = undefined;
    return read;
  }

  /** What the piece holds, as long as asked for; 'zeroes' for a hole or a piece without a set bit. It is queued now, without what was overwritten meanwhile. */
  syncReadDone(readId: number, bytes: Uint8Array | 'zeroes'): void {
    this.#reads.release(readId);
    const done = this.#walk.readDone(readId);
    if (done === undefined) return;
    for (const { start, end } of done.parts) {
      const { volume } = done;
      const isQueued =
        bytes === 'zeroes'
          ? this.#queue.tryPushZeroes({ type: RecordType.syncZeroes, volume }, start, end)
          : this.#queue.tryPushBytes({ type: RecordType.syncWrite, volume }, start, bytes.subarray(start - done.extent.start, end - done.extent.start));
      assert(bytes === 'zeroes' || bytes.byteLength >= end - done.extent.start, 'a sync read returns what was asked for');
      if (!isQueued) this.#walk.mark(volume, start, end);
    }
  }

  /** The piece stays dirty and is passed over until {@link retrySyncReads} or a write to it. */
  syncReadFailed(readId: number): void {
    this.#reads.release(readId);
    this.#walk.readFailed(readId);
  }

  /**
   * The next piece to compare with the recovery side's head, which has to hold the stream up to `atSeq`; undefined: none now. The host hashes it
   * on both sides and reports the verdict. Several may be under way; those of a stream that ended are given up.
   */
  nextCompare(): (SyncCompare & { readonly atSeq: number }) | undefined {
    if (!this.canCompare) return undefined;
    const compare = this.#walk.nextCompare(HASH_EXTENT_BYTES_MAX);
    return compare && { ...compare, atSeq: this.#compareAtSeq };
  }

  /** There may be something for {@link nextCompare}; asked often, and cheap. */
  get canCompare(): boolean {
    const isOpen = this.#mode === 'syncing' && this.#link === 'open' && this.#ackedSeq >= this.#compareAtSeq;
    return isOpen && this.#walk.compareCount < SYNC_COMPARES_MAX && this.#walk.unverifiedBytes > 0;
  }

  /** `equal`: 1 for each block of the piece that is the same on both sides. Blocks that were written meanwhile are sent all the same. */
  compared(compareId: number, equal: Uint8Array): void {
    this.#walk.compareDone(compareId, equal);
  }

  /** The piece cannot be read here: as {@link syncReadFailed}. */
  compareFailed(compareId: number): void {
    this.#walk.compareFailed(compareId);
  }

  /** Tries pieces again that could not be read. For the host's timer, every few seconds. */
  retrySyncReads(): void {
    this.#walk.retry();
  }

  /**
   * Compares everything with the recovery side, on an operator's wish. Without a base everything is on its way there already, and nothing changes. While
   * disconnected it waits in the bitmap.
   */
  forceSync(reason: string = SyncTrigger.forceSync): void {
    if (this.#sync?.kind === 'initialSync' || this.#link === 'refused') return;
    this.#trackingReason = reason;
    this.#suspectAll();
    this.#isEverythingDirty = true;
    // What is queued or under way may still change the other side's blocks: they are compared when it is durable there.
    this.#compareAtSeq = this.#queue.lastSeq;
    if (this.#mode !== 'tracking') this.#startSync('deltaSync', reason);
  }

  #suspectAll(): void {
    this.#walk.markUnverified();
    this.#canNarrow = false;
  }

  status(): SenderStatus {
    const status = senderStatus({
      mode: this.#mode, link: this.#link, refusal: this.#refusal, creditBytes: this.#creditBytes, lossDetail: this.#lossDetail,
      sync: this.#sync, queue: this.#queue, walk: this.#walk,
      writtenBytes: this.#writtenBytes, writeCount: this.#writeCount, allSyncsBytes: this.#allSyncsBytes, ackedSeq: this.#ackedSeq,
      incarnation: this.#incarnation, lostAcknowledgedCount: this.#lostAcknowledgedCount,
    });
    if (this.#sync !== undefined && status.sync !== null) this.#sync.totalBytes = status.sync.totalBytes;
    return status;
  }

  /**
   * Volumes were added, grown or removed (0 bytes); no index changes its volume. What is new is dirty, what is gone is forgotten, the rest is as it was: the stream is
   * to be opened anew, and sends what its bitmap marks. The host closes the old one.
   */
  changeVolumes(sizesBytes: readonly number[]): void {
    this.#dropQueue(SyncTrigger.vpgChanged);
    this.#trackingReason = SyncTrigger.vpgChanged;
    this.linkDown();
    this.#walk.changeVolumes(sizesBytes);
    this.#volumeSizesBytes = sizesBytes;
  }

  /** Another protection needs its guaranteed memory: everything here goes into the bitmap. Called in the middle of the other's calls. */
  giveWay(): void {
    if (this.#mode === 'tracking') return;
    this.#dropQueue(SyncTrigger.protectedVraCongestion);
    this.#turnLink('queueDropped');
  }

  /** Gives the memory back. No other call may follow, but for reads that end late. */
  close(): void {
    this.#walk.abortReads();
    this.#reads.clear();
    this.#dropQueue('');
    this.#options.budget.close();
  }

  #turnLink(event: LinkEvent): void {
    this.#link = nextLinkState(this.#link, event);
  }

  #loseStream(): void {
    // A seal would go into another incarnation than this marker did.
    if (this.#marker !== undefined && this.#marker.seq <= this.#queue.sentSeq) this.#marker = undefined;
    this.#queue.unsend();
    this.#walk.abortCompares();
    this.#creditBytes = 0;
  }

  /** Temp data is left out once its first copy is complete; volumes in `copying` have none yet. */
  #leaveOut(copying: readonly number[] | 'all'): void {
    const { tempVolumes = [] } = this.#options;
    this.#leftOut = new Set(copying === 'all' ? [] : tempVolumes.filter((volume) => volume < this.#volumeSizesBytes.length && !copying.includes(volume)));
    this.#walk.leaveOut(this.#leftOut);
  }

  #position(): SenderPosition {
    return {
      sessionId: this.#options.sessionId,
      incarnation: this.#incarnation,
      mode: this.#mode,
      ackedSeq: this.#ackedSeq,
      firstQueuedSeq: this.#queue.firstSeq,
      lastSeq: this.#queue.lastSeq,
      isSyncStartQueuedFirst: this.#queue.oldest?.type === RecordType.syncStart,
      syncEndSeq: this.#lastSyncEndSeq,
      hasUnverified: this.#walk.unverifiedBytes > 0,
      trackingReason: this.#trackingReason,
      earlier: this.#canNarrow ? this.#options.earlier : undefined,
      basisId: this.#canNarrow ? this.#options.basis?.basisId : undefined,
    };
  }

  /** Queues `[start, end)` of a write; false if memory ended on the way. */
  #push({ volume, offset, payload }: GuestWrite, start: number, end: number): boolean {
    if (payload === undefined) return this.#queue.tryPushZeroes({ type: RecordType.zeroes, volume }, start, end);
    const part = end - start === payload.byteLength ? payload : payload.subarray(start - offset, end - offset);
    return this.#queue.tryPushBytes({ type: RecordType.write, volume }, start, part);
  }

  /** Parts on dirty blocks only leave the bit set; clean parts are streamed. Without memory they become dirty, or all does when nobody drains the queue. */
  #captureInSync(write: GuestWrite): void {
    const end = write.offset + write.length;
    this.#walk.overtake(write.volume, write.offset, end);
    for (let from = write.offset; from < end; ) {
      const part = this.#walk.nextCleanPart(write.volume, from, end);
      if (part === undefined) return;
      if (!this.#push(write, part.start, part.end)) {
        if (this.#link !== 'open') {
          this.#overflow(write);
          return;
        }
        this.#walk.mark(write.volume, part.start, part.end);
      }
      from = part.end;
    }
  }

  #overflow(write: GuestWrite): void {
    this.#dropQueue(this.#overflowReason());
    this.#walk.mark(write.volume, write.offset, write.offset + write.length);
    this.#turnLink('queueDropped');
  }

  #overflowReason(): SyncTrigger {
    if (this.#link !== 'open') return SyncTrigger.recoveryVraUnreachable;
    if (this.#creditBytes === 0) return SyncTrigger.recoveryStorageCongestion;
    // Little of the memory is this stream's: others took it.
    return this.#queue.volumeBytes < SYNC_YIELD_BYTES ? SyncTrigger.protectedVraCongestion : SyncTrigger.networkCongestion;
  }

  /** Everything that is not durable remotely goes into the bitmap, blocks of a sync that are queued or being read included. */
  #dropQueue(reason: string): void {
    for (const record of this.#queue.all()) {
      if (isVolumeRecord(record.type)) this.#walk.mark(record.volume, record.offset, record.offset + record.length);
    }
    this.#walk.abortReads();
    this.#walk.abortCompares();
    this.#dropCount += 1;
    this.#queue.reset(this.#queue.lastSeq + 1);
    this.#marker = undefined;
    this.#sync = undefined;
    if (this.#mode !== 'tracking') this.#trackingReason = reason;
    this.#mode = 'tracking';
  }

  #startSync(kind: SyncKind, reason: string): void {
    if (!this.#queue.tryPush(mark(RecordType.syncStart, encodeSyncStart({ kind, reason })))) {
      this.#dropQueue(reason);
      this.#turnLink('queueDropped');
      return;
    }
    this.#mode = 'syncing';
    this.#marker = undefined;
    this.#allSyncsBytes += this.#walk.dirtyBytes;
    this.#sync = { kind, reason, totalBytes: this.#walk.dirtyBytes, endSeq: 0, fence: undefined };
  }

  /**
   * A sync block may hold bytes of a write that is on the volume and not captured yet. Ending the sync before that capture would let a
   * marker stand between the two: the image would hold a later write without an earlier one.
   */
  #endSyncIfDone(): void {
    const sync = this.#sync;
    if (this.#mode !== 'syncing' || sync === undefined || !this.#walk.isDone) return;
    sync.fence ??= this.#options.fence?.fence();
    if (sync.fence !== undefined && this.#options.fence?.isPast(sync.fence) === false) return;
    if (!this.#queue.tryPush({ type: RecordType.syncEnd, volume: 0, offset: 0, length: 0, payload: undefined })) return;
    sync.endSeq = this.#queue.lastSeq;
    this.#lastSyncEndSeq = sync.endSeq;
    this.#mode = 'streaming';
  }

  #forgetUpTo(durableSeq: number): void {
    this.#queue.acknowledge(durableSeq);
    this.#ackedSeq = durableSeq;
    if (this.#mode === 'streaming' && this.#sync !== undefined && this.#sync.endSeq <= durableSeq) {
      this.#sync = undefined;
      this.#isEverythingDirty = false;
      this.#lossDetail = '';
      this.#leaveOut([]);
    }
  }
}

const mark = (type: RecordType, payload: Uint8Array): StreamRecord => ({ type, volume: 0, offset: 0, length: 0, payload });
