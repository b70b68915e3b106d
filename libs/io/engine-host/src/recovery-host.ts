import { randomUUID } from 'node:crypto';
import { unreachable } from '@tidemark/base';
import type { BlockFile } from '@tidemark/block-file';
import {
  decodeHashRequest, decodeRecords, encodeAck, encodeFrame, encodeHashReply, encodeOpened, encodeRefused, FrameKind, type FrameHeader, type OpenRequest,
  type StreamRecord,
} from '@tidemark/frame';
import type { HeldCheckpoint, JournalState } from '@tidemark/journal';
import { JournalFile, type JournalFileStats, type ReadCache } from '@tidemark/journal-file';
import { crc32c, decompressBody, type CodecPool } from '@tidemark/link';
import { MemoryVolume } from '@tidemark/volume';
import { Receiver, type BudgetShare, type MemoryBudget, type ReceiverEffect } from '@tidemark/replication';
import { payloadPool } from '@tidemark/sys';
import type { DatastoreSpace } from './datastore-space.js';
import { fingerprintOf } from './disk-fingerprint.js';
import type { AgeClock } from './age-clock.js';
import { EngineError } from './engine-error.js';
import { CheckpointPins } from './checkpoint-pins.js';
import { JournalOwner } from './journal-owner.js';
import { JournalRoom } from './journal-room.js';
import { FrameIntake, type TakenFrame } from './frame-intake.js';
import { HeadHasher } from './head-hasher.js';
import type { HashPool } from './hash-pool.js';
import { MirrorSet, volumeChangeError, wishesOf } from './mirror-set.js';
import { creditBytesFor, segmentBytesFor, UNLIMITED, type RecoveryLimits } from './space-limits.js';
import { protectionKey, type Logger, type RecoverySpec, type RecoveryVolumeSpec } from './types.js';

/** Where a stream's frames go back: one opening of it on one connection. */
export interface StreamReply {
  readonly connection: number;
  readonly streamId: number;
  send(chunks: readonly Uint8Array[]): void;
  /** Refused or closed: frames that still come for it mean nothing. */
  ended(): void;
  /** What came on this connection is against the specification: it must end. */
  fail(error: unknown): void;
}

export interface RecoveryHooks {
  /** Of this VRA: journals carry the name of the one they belong to. */
  readonly vraId: string;
  readonly log: Logger;
  readonly ages: AgeClock;
  readonly codecs: CodecPool;
  readonly space: DatastoreSpace;
  readonly hashPool: HashPool;
  /** What all views of this VRA keep of what they have read. */
  readonly readCache: ReadCache;
  /** Memory for what is received and not durable. */
  readonly budget: MemoryBudget;
}

/** Openings of one stream that wait for the journal at a time: each is a durable record, and an honest sender has one. */
const OPENINGS_MAX = 4;

/** One VM of one VPG at the recovering VRA: its receiver engine, its journal and its mirror volumes. */
export class RecoveryHost {
  readonly key: string;
  readonly #receiver: Receiver;
  readonly #share: BudgetShare;
  readonly #hasher: HeadHasher;
  readonly #mirrors = new MirrorSet();
  readonly #replies = new Map<number, StreamReply>();
  #openedMs = 0;
  #journal: JournalFile | undefined;
  #listInstance: string = randomUUID();
  #body: Uint8Array = new Uint8Array(0);
  readonly pins: CheckpointPins;
  readonly #intake: FrameIntake;
  readonly #room: JournalRoom = new JournalRoom({
    limits: () => this.limits, journalBytes: () => this.journal.journalBytes, pendingBytes: () => this.#receiver.status().pendingBytes, datastoreRoomBytes: () => this.hooks.space.roomBytes,
  });
  #receivedBytes = 0;
  #openingCount = 0;
  #receivedRawBytes = 0;
  #isClosed = false;

  private constructor(
    public spec: RecoverySpec,
    private readonly hooks: RecoveryHooks,
    epoch: number,
  ) {
    this.key = protectionKey(spec);
    this.pins = new CheckpointPins(spec.journalFolder, this.key, hooks.log);
    this.#intake = new FrameIntake({
      codecs: hooks.codecs,
      take: (frame, raw) => this.#take(frame, raw),
      failed: (connection, error) => this.#replies.get(connection)?.fail(error),
    });
    this.#hasher = new HeadHasher({
      pool: hooks.hashPool,
      openHead: () => this.journal.openHead(),
      durableSeq: () => this.stats.durableSeq,
      problem: (request, error) => hooks.log.warn({ protection: this.key, ...request, error: String(error) }, 'the head cannot be read: its blocks count as different'),
    });
    this.#share = hooks.budget.share();
    this.#receiver = new Receiver({
      vpgId: spec.vpgId,
      vmId: spec.vmId,
      epoch,
      creditBytesMax: creditBytesFor(spec.limits?.journalHardBytes ?? null),
      budget: this.#share,
      volumeSizesBytes: wishesOf(spec.volumes).map(({ sizeBytes }) => sizeBytes),
      isPreseeded: spec.volumes.some(({ isPreseeded }) => isPreseeded === true),
    });
  }

  /** Opens (or makes) mirrors and journal; the first `knownCount` volumes have been here before, and are not made. Streams are taken from then on. */
  static async open(spec: RecoverySpec, hooks: RecoveryHooks, { knownCount = 0 } = {}): Promise<RecoveryHost> {
    const host = new RecoveryHost(spec, hooks, spec.epoch);
    try {
      const owner = await JournalOwner.look(spec, hooks.vraId);
      // A journal that has an owner was opened before, with all its mirrors: also by a VRA that has lost its state and does not know this recovery any more.
      const isKnownByFiles = owner.isTakingOver || (!owner.isNew && knownCount === 0);
      await host.#mirrors.open(spec.volumes, { knownCount: isKnownByFiles ? spec.volumes.length : knownCount, isNew: owner.isNew });
      await owner.claim();
      await host.#proveBasis();
      await host.#mirrors.makePrivate(spec.volumes);
      await host.pins.load();
      await host.#openJournal();
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  /** After the files were locked. A journal that has taken anything says so by its last session, and no sender uses the basis any more. */
  async #proveBasis(): Promise<void> {
    const { basis, volumes } = this.spec;
    if (!basis) return;
    const found = await Promise.all(volumes.map(({ mirrorPath }) => fingerprintOf(mirrorPath)));
    if (found.every((fingerprint, index) => fingerprint !== '' && fingerprint === basis.fingerprints[index])) this.#receiver.proveBasis(basis.basisId);
  }

  async #openJournal({ isIndexDistrusted = false } = {}): Promise<void> {
    this.#listInstance = randomUUID();
    const journal = await JournalFile.open({
      folder: this.spec.journalFolder,
      identity: { vpgId: this.spec.vpgId, vmId: this.spec.vmId },
      volumes: this.#mirrors.asVolumes(this.spec.volumes),
      epoch: this.spec.epoch,
      clocks: { monotonicMs: () => this.hooks.ages.nowMs(), wallClockMs: this.hooks.ages.clocks.wallClockMs },
      crc32c,
      decompress: decompressBody,
      isIndexDistrusted,
      readCache: this.hooks.readCache,
      segmentBytes: segmentBytesFor(this.limits.journalHardBytes),
      spaceGuard: () => this.#room.bytes,
      beforeChange: () => JournalOwner.assertOwned(this.spec, this.hooks.vraId),
      onDurable: (seq) => this.#step((effects) => this.#receiver.durable(seq, effects)),
      onCheckpointsChanged: () => undefined, // the ZVM reads the change number in the status and asks
      onState: (state) => this.#journalState(state),
      onIndexFailed: (error) => this.hooks.log.warn({ protection: this.key, error: String(error) }, 'index of the journal cannot be written; it is tried again'),
      onIndexDamaged: (path) => this.hooks.log.error({ protection: this.key, path }, 'an index file of the journal does not read back as it was written: the disk has rotted; it is made again from its segments'),
    });
    this.#journal = journal;
    this.#openedMs = this.hooks.ages.nowMs();
    this.pins.attach(journal);
    const { epoch, state } = journal.stats();
    // What was put and no stream has opened with yet is only offered.
    this.#receiver.beginVolumes(journal.volumes.map(({ sizeBytes }) => sizeBytes));
    this.#step((effects) => this.#receiver.setEpoch(epoch, effects));
    this.#journalState(state);
  }

  /** New with every opening of the journal: change numbers of its checkpoint list count from there. */
  get listInstance(): string {
    return this.#listInstance;
  }

  /** Of the age clock: what arrived before it did so before this opening, and the journal does not know how long ago. */
  get journalOpenedMs(): number {
    return this.#openedMs;
  }

  get journal(): JournalFile {
    if (!this.#journal) throw new Error('the journal is not open');
    return this.#journal;
  }

  get stats(): JournalFileStats {
    return this.journal.stats();
  }

  get receivedBytes(): { readonly raw: number; readonly onWire: number } {
    return { raw: this.#receivedRawBytes, onWire: this.#receivedBytes };
  }

  get memory(): Pick<BudgetShare, 'usedBytes' | 'guaranteedBytes'> {
    return this.#share;
  }

  get isReceiving(): boolean {
    return this.#receiver.status().state === 'open';
  }

  get limits(): RecoveryLimits {
    return this.spec.limits ?? UNLIMITED;
  }

  /** What stands in the way of more frames, if something does: for the status of a `full` journal. */
  get isAtHardLimit(): boolean {
    return this.#room.isAtHardLimit;
  }

  /** The checkpoint that should become the oldest, for the journal to keep below its hard limit; undefined: no need, or nothing but the newest is left. */
  wantedOldest(): HeldCheckpoint | undefined {
    const bytes = this.#room.wantedBytes(this.stats.state.phase === 'full');
    if (bytes === 0) return undefined;
    this.journal.freeCutOff(bytes);
    return this.journal.checkpointThatFrees(bytes);
  }

  /** A thinning that fails is one that the next look finds again. */
  async thin(checkpointIds: readonly number[]): Promise<void> {
    try {
      await this.journal.thin(checkpointIds);
    } catch (error) {
      this.hooks.log.warn({ protection: this.key, error: String(error) }, 'checkpoints could not be thinned');
    }
  }

  /** Stream position up to which checkpoints are thinned; 0: they are not, or none is old enough. */
  get thinnedSeq(): number {
    const { thinning } = this.spec;
    if (!thinning) return 0;
    const beforeMs = this.hooks.ages.nowMs() - thinning.keepAllMs;
    return this.journal.oldestCheckpoints(({ arrivedMs }) => arrivedMs < beforeMs).at(-1)?.markerSeq ?? 0;
  }

  /** What a view's guest may still write; asked before every write. */
  scratchRoomBytes(scratchBytes: number): number {
    const { scratchHardBytes } = this.limits;
    const room = scratchHardBytes === null ? Infinity : Math.max(0, scratchHardBytes - scratchBytes);
    return Math.min(room, this.hooks.space.roomBytes);
  }

  held(): readonly HeldCheckpoint[] {
    return this.journal.checkpoints();
  }

  /** A stream asks to be opened. The receiver decides; what it answers goes through `reply`. */
  open(reply: StreamReply, request: OpenRequest): void {
    if (this.#openingCount >= OPENINGS_MAX) {
      const refusal = encodeRefused({ code: 'notReady', message: 'this stream is being opened over and over' });
      reply.send(encodeFrame({ kind: FrameKind.refused, stream: reply.streamId }, [refusal], crc32c));
      reply.ended();
      return;
    }
    this.#replies.set(reply.connection, reply);
    this.#step((effects) => this.#receiver.open(reply.connection, request, effects));
  }

  /** A records frame. Throws ProtocolError for bytes that the specification does not allow: the connection ends. */
  frame(connection: number, header: FrameHeader, body: Uint8Array): void {
    this.#intake.push({ connection, header, body });
  }

  #take({ connection, header, body }: TakenFrame, raw: Uint8Array): void {
    if (this.#isClosed) return;
    const records = decodeRecords(header, raw, this.#receiver.volumeSizesBytes);
    this.#receivedBytes += header.bodyBytes;
    this.#receivedRawBytes += header.rawBytes;
    this.#body = body;
    this.#step((effects) => this.#receiver.frame(connection, header, records, effects));
  }

  /** Digests of a piece of the head. Throws ProtocolError for what may not be asked. */
  hashRequest(connection: number, body: Uint8Array): void {
    const status = this.#receiver.status();
    if (connection !== status.connection || status.state !== 'open') return;
    const request = decodeHashRequest(body, this.#receiver.volumeSizesBytes);
    this.#hasher.request(request, (reply) => this.#sendFrame(connection, { kind: FrameKind.hashReply }, encodeHashReply(reply)));
  }

  connectionLost(connection: number): void {
    this.#replies.delete(connection);
    this.#intake.forget(connection);
    this.#receiver.connectionLost(connection);
  }

  async reserveEpoch(epoch: number): Promise<void> {
    await this.journal.reserveEpoch(epoch);
  }

  /** From here on the old history is closed: nothing of an older epoch is taken. */
  async commitEpoch(epoch: number): Promise<void> {
    await this.journal.commitEpoch(epoch);
    // A promotion begins only when nobody else reads from the journal.
    await this.#hasher.stop();
  }

  async burnEpoch(epoch: number): Promise<void> {
    await this.journal.burnEpoch(epoch);
  }

  #journalState(state: JournalState): void {
    if (this.#isClosed) return;
    if (state.phase !== 'open') this.hooks.log.warn({ protection: this.key, ...state }, 'journal state');
    this.#step((effects) => {
      switch (state.phase) {
        case 'open':
          this.#room.opened();
          return this.#receiver.journalState('ready', effects);
        case 'full':
          this.#room.becameFull();
          this.#receiver.journalState('full', effects);
          return this.#receiver.appendsLost(effects);
        case 'broken':
          return this.#receiver.journalState('broken', effects);
        case 'ended':
          // The first word that the old side hears is who owns its VMs now, not that something has ended.
          this.#receiver.setEpoch(this.journal.stats().epoch, effects);
          return this.#receiver.end(effects);
        default:
          return unreachable(state.phase);
      }
    });
  }

  /** After a while there may be space again: the journal finds out by itself with the next frame. */
  tick(nowMs: number): void {
    if (this.#isClosed) return;
    this.#hasher.tick(nowMs);
    this.#step((effects) => this.#receiver.tick(effects));
    if (this.#journal?.stats().state.phase !== 'full') return;
    if (this.#room.canResume) this.#journal.resume();
    else this.#journal.freeCutOff(Infinity);
  }

  /** Its files must be opened anew: damage was found in what it holds, or not even a new generation could be begun. */
  get needsReopening(): boolean {
    return this.#journal !== undefined && !this.#isClosed && (this.#journal.isDead || this.#journal.damage !== undefined);
  }

  /** Only while no view is open. The scan ends the journal before the damage, and a new generation goes on from there. */
  async reopenJournal(): Promise<void> {
    if (this.#isClosed) return; // another VRA has taken it meanwhile
    await this.#journal?.close();
    await this.#openJournal({ isIndexDistrusted: true });
    // What the sender was told to be durable may be gone: it opens its stream anew and finds out.
    this.#step((effects) => this.#receiver.appendsLost(effects));
  }

  #step(act: (effects: ReceiverEffect[]) => void): void {
    const effects: ReceiverEffect[] = [];
    act(effects);
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: ReceiverEffect): void {
    switch (effect.kind) {
      case 'append':
        this.#append(effect.header, effect.records);
        // Into the journal or, before there is a base, into the mirrors.
        return this.hooks.space.charge(Math.max(effect.header.bodyBytes, this.stats.isBaseComplete ? 0 : effect.header.rawBytes));
      case 'sendAck': {
        const fields = { kind: FrameKind.ack, lastSeq: effect.durableSeq } as const;
        return this.#send(effect.connection, fields, encodeAck(effect.creditBytes));
      }
      case 'sendOpened':
        return this.#send(effect.connection, { kind: FrameKind.opened }, encodeOpened(effect.reply));
      case 'sendRefused':
        return this.#send(effect.connection, { kind: FrameKind.refused }, encodeRefused(effect.reply));
      case 'closeStream':
        return this.#send(effect.connection, { kind: FrameKind.closeStream }, undefined);
      case 'beginIncarnation':
        return this.#beginIncarnation(effect);
      default:
        return unreachable(effect);
    }
  }

  #append(header: FrameHeader, records: readonly StreamRecord[]): void {
    const body = this.#body;
    payloadPool.retain(body);
    this.#room.append(header.rawBytes, () => this.journal.append(header, body, records, () => payloadPool.release(body)));
  }

  #send(connection: number, fields: { readonly kind: FrameKind; readonly lastSeq?: number }, body: Uint8Array | undefined): void {
    const reply = this.#replies.get(connection);
    if (!reply) return;
    this.#sendFrame(connection, fields, body ? [body] : []);
    if (fields.kind !== FrameKind.refused && fields.kind !== FrameKind.closeStream) return;
    this.#replies.delete(connection);
    reply.ended();
  }

  #sendFrame(connection: number, fields: { readonly kind: FrameKind; readonly lastSeq?: number }, body: readonly Uint8Array[]): void {
    const reply = this.#replies.get(connection);
    reply?.send(encodeFrame({ ...fields, stream: reply.streamId }, body, crc32c));
  }

  /** A stream that opens with the new list brings it into force, durably: its frames, and checkpoints, are of that list. */
  async #withVolumes(sizesBytes: readonly number[]): Promise<void> {
    const isInForce = this.journal.volumes.every(({ sizeBytes }, index) => sizesBytes[index] === sizeBytes) && this.journal.volumes.length === sizesBytes.length;
    if (!isInForce) await this.journal.changeVolumes(this.#mirrors.asVolumes(this.spec.volumes));
  }

  #beginIncarnation(effect: Extract<ReceiverEffect, { kind: 'beginIncarnation' }>): void {
    const { openId, sessionId, epoch, ackedSeq } = effect;
    this.#hasher.reset();
    this.#openingCount += 1;
    const beginning = this.#withVolumes(effect.volumeSizesBytes).then(async () => await this.journal.beginIncarnation({ sessionId, epoch }));
    void beginning.finally(() => (this.#openingCount -= 1)).then(
      (begun) => {
        if (begun.durableSeq < ackedSeq) {
          this.hooks.log.error({ protection: this.key, durableSeq: begun.durableSeq, ackedSeq }, 'ACKNOWLEDGED WRITES ARE MISSING from this journal: everything is copied again');
        }
        this.#step((effects) => this.#receiver.incarnationBegan({ openId, isBegun: true, newestCheckpointId: this.journal.newestCheckpoint?.checkpointId ?? 0, ...begun }, effects));
      },
      (error: unknown) => {
        this.#step((effects) => this.#receiver.incarnationBegan({ openId, isBegun: false, message: String(error) }, effects));
      },
    );
  }

  /** After promotion the recovered VM has the volume: it is not closed here any more. */
  takeMirror(index: number): BlockFile {
    return this.#mirrors.take(index);
  }

  giveBackMirror(index: number): void {
    this.#mirrors.giveBack(index);
  }

  /** Sizes of this checkpoint in place of later ones, for disks that have grown since; undefined: none has. */
  sizesAt(checkpointId: number): readonly RecoveryVolumeSpec[] | undefined {
    const then = this.journal.volumesOf(checkpointId);
    const isGrown = ({ sizeBytes }: RecoveryVolumeSpec, index: number): boolean => sizeBytes > (then[index]?.sizeBytes ?? 0) && (then[index]?.sizeBytes ?? 0) > 0;
    if (!this.spec.volumes.some(isGrown)) return undefined;
    return this.spec.volumes.map((volume, index) => (isGrown(volume, index) ? { ...volume, sizeBytes: then[index]?.sizeBytes ?? 0 } : volume));
  }

  /** Cuts the disks of a promoted view to their size at its checkpoint, durably; may be repeated. Their sizes are durable already: a shorter file than they say would not open. */
  async cutTo(checkpointId: number): Promise<void> {
    for (const [index, { sizeBytes }] of this.journal.volumesOf(checkpointId).entries()) if (sizeBytes > 0) await this.#mirrors.shrink(index, sizeBytes);
  }

  /**
   * Volumes were added, grown or removed: their mirrors are made ready, and a stream may open with the new list from now on (one that is open goes on with the
   * old). Throws VRA_CONFLICT for what cannot become of the present list. Repeat it after a failure.
   */
  async changeVolumes(volumes: readonly RecoveryVolumeSpec[]): Promise<void> {
    const reason = volumeChangeError(this.spec.volumes, volumes);
    if (reason !== undefined) throw new EngineError('VRA_CONFLICT', reason);
    await this.#mirrors.extend(volumes);
    this.spec = { ...this.spec, volumes };
    this.#receiver.offerVolumes(wishesOf(volumes).map(({ sizeBytes }) => sizeBytes));
  }

  /** Deletes mirrors of removed volumes that no held checkpoint has any more. */
  async dropUnneededMirrors(): Promise<void> {
    for (const [index, volume] of this.spec.volumes.entries()) {
      if (this.#isClosed || volume.isRemoved !== true || !this.#mirrors.has(index)) continue;
      if (this.stats.state.phase !== 'open' || this.journal.needsVolume(index)) continue;
      this.hooks.log.info({ protection: this.key, diskId: volume.diskId }, 'no checkpoint has this removed volume any more: its mirror is deleted');
      const volumes = this.#mirrors.asVolumes(this.spec.volumes);
      volumes[index] = { diskId: volume.diskId, sizeBytes: 0, mirror: new MemoryVolume({ sizeBytes: 0 }) };
      await this.journal.changeVolumes(volumes);
      await this.#mirrors.drop(index, volume);
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#hasher.close();
    await this.#journal?.close();
    await this.#mirrors.close();
    this.#receiver.close();
  }

  /** All files are closed and the stream's connection is told, which finds out where to go on from its own side: nothing of what it holds is given up. */
  async release(): Promise<void> {
    this.#step((effects) => this.#receiver.appendsLost(effects));
    await this.close();
  }

  /** Why the recovery cannot go to another VRA now; undefined: it can. */
  get releaseError(): EngineError | undefined {
    const { reservedEpoch, isEnded } = this.stats;
    if (reservedEpoch !== null) return new EngineError('VRA_CONFLICT', 'a failover of this VM is under way: commit it or roll it back first');
    return isEnded ? new EngineError('VRA_CONFLICT', 'a failover of this VM was committed: its disks are not a recovery any more') : undefined;
  }

  /** Nothing is taken any more, and all files are closed: they may be deleted. */
  async end(): Promise<void> {
    this.#step((effects) => this.#receiver.end(effects));
    await this.close();
  }
}
