import { randomBytes } from 'node:crypto';
import { assert, GiB, KiB, MiB } from '@tidemark/base';
import type { FrameHeader, StreamRecord } from '@tidemark/frame';
import {
  type HeldCheckpoint, INDEX_NUMBER_MAX, type IncarnationBegun, Journal, type JournalCommand, type JournalEffect, type ListingPage, type ListingQuestion, JournalError,
  type JournalEvent, type JournalVolumeState, recordBytes, type RecoveredJournal, SEGMENT_BYTES_DEFAULT, type SegmentCheck, type VolumeWish,
} from '@tidemark/journal';
import { CheckpointView } from './checkpoint-view.js';
import { type CompactionOptions, type CompactionResult, Compactor } from './compactor.js';
import { compressBody, crc32c as defaultCrc32c, decompressBody } from './defaults.js';
import { EffectRunner } from './effect-runner.js';
import { FrameReader } from './frame-reader.js';
import { HeadView } from './head-view.js';
import { JournalIndex } from './journal-index.js';
import { statsOf } from './journal-stats.js';
import { Mirrors } from './mirrors.js';
import { nodeFiles } from './node-files.js';
import { openScratch } from './open-scratch.js';
import { ReadCache } from './read-cache.js';
import { scan } from './scan.js';
import { SegmentChecker } from './segment-check.js';
import { SegmentFiles } from './segment-files.js';
import type { JournalFileOptions, JournalFileStats, JournalVolume, OpenViewOptions } from './types.js';
import { type ImageSource, ViewVolume } from './view-volume.js';
import { WriteGate } from './write-gate.js';

type WithoutRequest<T> = T extends JournalCommand ? Omit<T, 'request'> : never;

const CACHE_BYTES_DEFAULT = 32 * MiB;
const OWN_CACHE_BYTES = 48 * MiB;
/** A shorter segment would hold little more than its own beginning; the index takes places below 4 GiB. */
const SEGMENT_BYTES_MIN = 4 * KiB;
const SEGMENT_BYTES_MAX = 2 * GiB;

/** The journal of one protection on real files. All rules are the engine's (`Journal`); this class carries out what it says. */
export class JournalFile {
  readonly #options: JournalFileOptions;
  readonly #segments: SegmentFiles;
  readonly #reader: FrameReader;
  readonly #journal: Journal;
  readonly #index: JournalIndex;
  readonly #runner: EffectRunner;
  readonly #compactor: Compactor;
  readonly #checker: SegmentChecker;
  readonly #views = new Set<CheckpointView | HeadView>();
  #volumes: readonly JournalVolume[];
  #effects: JournalEffect[] = [];
  #isDraining = false;
  #lastRequest = 0;
  #isClosed = false;
  #settledWaiters: (() => void)[] = [];
  #isReopening = false;
  /** Until {@link open} returns, when no index spared the reading: what is there was read a moment ago. */
  #isJustScanned: boolean;
  #damage: SegmentCheck | undefined;

  /** What the scan found: for the log. Empty when all was in order. */
  readonly tornTail: string;

  private constructor(options: JournalFileOptions, parts: { segments: SegmentFiles; index: JournalIndex; readCache: ReadCache; recovered: RecoveredJournal; salt: Uint8Array }) {
    const { salt } = parts;
    this.#index = parts.index;
    this.#isJustScanned = !parts.index.hasSpared;
    this.#options = options;
    this.#volumes = options.volumes;
    this.#segments = parts.segments;
    this.tornTail = parts.recovered.tornTail ?? '';
    const { crc32c = defaultCrc32c, decompress = decompressBody, files = nodeFiles } = options;
    this.#journal = new Journal(
      {
        identity: options.identity,
        volumes: options.volumes.map(wishOf),
        segmentBytes: options.segmentBytes ?? SEGMENT_BYTES_DEFAULT,
        freshSalt: salt,
        crc32c,
        clocks: options.clocks,
      },
      parts.recovered,
    );
    this.#reader = new FrameReader({
      segments: parts.segments,
      salt: () => parts.recovered.salt ?? salt,
      crc32c,
      decompress,
      cache: parts.readCache.share(options.cacheBytesMax ?? CACHE_BYTES_DEFAULT),
    });
    const mirrors = new Mirrors(() => this.#volumes);
    const around = { journal: this.#journal, segments: parts.segments, index: parts.index, reader: this.#reader, files, crc32c };
    this.#compactor = new Compactor({
      ...around, decompress, compress: compressBody, identity: options.identity, roomBytes: options.spaceGuard ?? (() => Infinity),
      act: (act) => this.#act(act), failed: (detail) => this.distrust({ isWhole: false, detail, lastSeq: 0 }),
    });
    this.#checker = new SegmentChecker({ ...around, compactor: this.#compactor, isClosed: () => this.#isClosed });
    this.#runner = new EffectRunner({ segments: parts.segments, mirrors, reader: this.#reader, listeners: options, completed: (event) => this.#step(event) });
  }

  /**
   * Opens the journal in `folder`, or makes one. A torn tail is cut; corruption of acknowledged bytes leaves the journal `broken` with the
   * checkpoints before it readable. When this returns, everything found is durable. Throws JOURNAL_IDENTITY for another protection's folder,
   * JOURNAL_VERSION for what another version of the program has written there; nothing of that is changed then.
   */
  static async open(options: JournalFileOptions): Promise<JournalFile> {
    const { segmentBytes = SEGMENT_BYTES_DEFAULT, folder, files = nodeFiles, crc32c = defaultCrc32c } = options;
    assert(segmentBytes >= SEGMENT_BYTES_MIN && segmentBytes <= SEGMENT_BYTES_MAX, `segments of ${segmentBytes} bytes: ${SEGMENT_BYTES_MIN} to ${SEGMENT_BYTES_MAX} are possible`);
    assert(options.volumes.every(({ sizeBytes }) => sizeBytes <= INDEX_NUMBER_MAX), 'volumes of at most 256 TiB');
    const segments = new SegmentFiles(folder, files);
    const readCache = options.readCache ?? new ReadCache(OWN_CACHE_BYTES);
    const index = new JournalIndex({ folder, files, crc32c, cache: readCache, onFailed: options.onIndexFailed ?? (() => undefined), onDamaged: options.onIndexDamaged ?? (() => undefined) });
    try {
      const salt = randomBytes(8);
      const recovered = await scan(options, { segments, index, salt });
      await options.beforeChange?.();
      const file = new JournalFile(options, { segments, index, readCache, recovered, salt });
      file.#act((effects) => file.#journal.start(effects));
      await file.#settled();
      file.#isJustScanned = !index.hasSpared && file.#journal.state.phase === 'broken' && !file.#isReopening;
      return file;
    } catch (error) {
      await index.close();
      await segments.closeAll();
      throw error;
    }
  }

  /** Numbers a new incarnation, durable with its session before this resolves. Frames of older ones are refused from the call on. */
  async beginIncarnation({ sessionId, epoch }: { readonly sessionId: string; readonly epoch: number }): Promise<IncarnationBegun> {
    const begun = await this.#request({ type: 'beginIncarnation', sessionId, epoch });
    assert(begun !== undefined, 'an incarnation is answered with its facts');
    return begun;
  }

  /**
   * Takes a frame as received; `body` and `records` (its decoded table) are handed over. `onDurable` says when it may be acknowledged. Throws
   * JOURNAL_FENCED or JOURNAL_ORDER for a frame that must not come; in a full, broken or ended journal, which `onState` has
   * announced, the frame is dropped: it was never acknowledged, so the sender still has it. `onWritten`: the bytes are durable, and their memory
   * is the caller's again; not called for a frame that was dropped.
   */
  append(header: FrameHeader, body: Uint8Array, records: readonly StreamRecord[], onWritten?: () => void): void {
    if (this.#isClosed) throw closedError();
    const error = this.#journal.frameError(header, records);
    if (error !== undefined) {
      if (error.code === 'JOURNAL_FENCED' || error.code === 'JOURNAL_ORDER') throw error;
      return;
    }
    const spaceBytes = this.#options.spaceGuard?.() ?? Infinity;
    if (spaceBytes < recordBytes(header.bodyBytes)) {
      this.#step({ type: 'guardReached', detail: `the journal may take ${Math.floor(spaceBytes)} more bytes, a frame of ${header.bodyBytes} has come` });
      return;
    }
    this.#step({ type: 'append', header, body, records, onSettled: (outcome) => (outcome === 'durable' ? onWritten?.() : undefined) });
  }

  /** Space may be there again: a full journal takes frames again and finds out. */
  resume(): void {
    this.#step({ type: 'resume' });
  }

  /** Held checkpoints, oldest first. */
  checkpoints(): readonly HeldCheckpoint[] {
    return this.#journal.checkpoints;
  }

  /** The first ones of {@link checkpoints}, up to the first that is not wanted, at a cost of those only. */
  oldestCheckpoints(isWanted: (checkpoint: HeldCheckpoint) => boolean): readonly HeldCheckpoint[] {
    return this.#journal.oldestCheckpoints(isWanted);
  }

  /** The newest `countMax` of {@link checkpoints}. */
  newestCheckpoints(countMax: number): readonly HeldCheckpoint[] {
    return this.#journal.newestCheckpoints(countMax);
  }

  /** Those with an id of at least `checkpointId`, oldest first, `countMax` at most, at a cost of those only. */
  checkpointsFrom(checkpointId: number, countMax: number): readonly HeldCheckpoint[] {
    return this.#journal.checkpointsFrom(checkpointId, countMax);
  }

  /** Running time of the journal, ms: what its records carry. Goes on where the last process stopped. */
  get clockMs(): number {
    return this.#journal.clockMs;
  }

  /** Bytes of the segment files, with what a break has left of them ({@link freeCutOff}). */
  get journalBytes(): number {
    return this.#journal.journalBytes;
  }

  /** Removes files that a later generation has cut off, which show nothing any more, until `bytes` are free or none is left; in the background. Without this they go with the history before them. */
  freeCutOff(bytes: number): void {
    if (!this.#isClosed) this.#step({ type: 'freeCutOff', bytes });
  }

  /** The checkpoint that must become the oldest for `bytes` to be freed, as far as what is cut off is not enough, or the newest; undefined: no need, or that is the oldest already. */
  checkpointThatFrees(bytes: number): HeldCheckpoint | undefined {
    return this.#journal.checkpointThatFrees(bytes);
  }

  holds(checkpointId: number): boolean {
    return this.#journal.checkpoint(checkpointId) !== undefined;
  }

  get oldestCheckpoint(): HeldCheckpoint | undefined {
    return this.#journal.oldestCheckpoint;
  }

  get newestCheckpoint(): HeldCheckpoint | undefined {
    return this.#journal.newestCheckpoint;
  }

  get lastChange(): number {
    return this.#journal.lastChange;
  }

  /** Numbers start anew with every open. */
  listing(question: ListingQuestion): ListingPage {
    return this.#journal.listing(question);
  }

  /** Keeps the checkpoint from being retired until `unpin` with the same key. Throws JOURNAL_CHECKPOINT when it is not held. Lasts until close only. */
  pin(checkpointId: number, key: string): void {
    const error = this.#journal.pinError(checkpointId);
    if (error !== undefined) throw error;
    this.#step({ type: 'pin', key, checkpointId, isReading: false });
  }

  unpin(key: string): void {
    this.#step({ type: 'unpin', key });
  }

  /** Durably drops every checkpoint older than this one, which becomes the oldest. Rejects with JOURNAL_PINNED while an older one is in use. */
  async retire(checkpointId: number): Promise<void> {
    await this.#request({ type: 'retire', checkpointId });
  }

  /** Durably drops these checkpoints (those that are not held, pinned ones, the oldest and the newest are passed over); their writes stay. */
  async thin(checkpointIds: readonly number[]): Promise<void> {
    await this.#request({ type: 'thin', checkpointIds });
  }

  /** To be called when everyone of the VPG has this retirement durable. Resolves when the mirrors hold the image of this checkpoint durably. */
  async allowApply(checkpointId: number): Promise<void> {
    await this.#request({ type: 'allowApply', checkpointId });
  }

  /**
   * The volumes from here on, with their mirrors, by volume index; a removed one has 0 bytes and keeps its mirror for as long as {@link needsVolume} says
   * (then one of 0 bytes stands for it). Durable when it resolves; rejects with JOURNAL_ORDER for what cannot become of the present set. Mirrors must be as long as this
   * says before.
   */
  async changeVolumes(volumes: readonly JournalVolume[]): Promise<void> {
    this.#volumes = volumes;
    await this.#request({ type: 'changeVolumes', volumes: volumes.map(wishOf) });
  }

  /** The volumes now in force, by index; 0 bytes: removed. */
  get volumes(): readonly JournalVolumeState[] {
    return this.#journal.durable.volumes;
  }

  /** The volumes that a held checkpoint has. Throws JOURNAL_CHECKPOINT. */
  volumesOf(checkpointId: number): readonly JournalVolumeState[] {
    const checkpoint = this.#journal.checkpoint(checkpointId);
    if (checkpoint === undefined) throw new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${checkpointId} is not held by the journal`);
    return this.#journal.volumesAt(checkpoint.markerSeq);
  }

  /** False: the volume is removed, and no checkpoint that is held has it: its mirror may go. */
  needsVolume(index: number): boolean {
    return this.#journal.needsVolume(index);
  }

  #volumesAt(seq: number): readonly JournalVolume[] {
    const sizes = this.#journal.volumesAt(seq);
    return this.#volumes.map(({ mirror }, index) => ({ sizeBytes: sizes[index]?.sizeBytes ?? 0, mirror }));
  }

  async reserveEpoch(epoch: number): Promise<void> {
    await this.#request({ type: 'reserveEpoch', epoch });
  }

  /** The reserved epoch becomes the current one and the history is closed. Idempotent. */
  async commitEpoch(epoch: number): Promise<void> {
    await this.#twice({ type: 'commitEpoch', epoch });
  }

  /** The reserved number is given up and never used again. Idempotent. */
  async burnEpoch(epoch: number): Promise<void> {
    await this.#twice({ type: 'burnEpoch', epoch });
  }

  /** Again, behind the durable first: whichever of the two a bit turns in, the other says it. */
  async #twice(step: { readonly type: 'commitEpoch' | 'burnEpoch'; readonly epoch: number }): Promise<void> {
    await this.#request(step);
    await this.#request(step);
  }

  /** The disks at a held checkpoint. Pins it until the view is closed. */
  async openView({ checkpointId, scratchFolder, scratchRoomBytes }: OpenViewOptions): Promise<CheckpointView> {
    await this.#compactor.installed();
    if (this.#isClosed) throw closedError();
    const checkpoint = this.#journal.checkpoint(checkpointId);
    const error = this.#journal.pinError(checkpointId);
    if (checkpoint === undefined || error !== undefined) throw error ?? new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${checkpointId} is not held`);
    const key = `view ${(this.#lastRequest += 1)}`;
    this.#step({ type: 'pin', key, checkpointId, isReading: true });
    const release = (): void => {
      this.#left();
      this.#step({ type: 'unpin', key });
    };
    const { appliedSeq } = this.#journal.durable;
    this.#index.enter();
    try {
      const isPromoted = this.#journal.durable.promotion?.isDone ?? false;
      const scratch = isPromoted || scratchFolder === undefined ? undefined : await openScratch(this.#options, { folder: scratchFolder, volumeCount: this.#volumes.length, roomBytes: scratchRoomBytes });
      const view: CheckpointView = new CheckpointView({
        checkpoint,
        volumes: this.#volumesAt(checkpoint.markerSeq).map(({ sizeBytes, mirror }, volume) => ({
          sizeBytes,
          mirror,
          base: isPromoted ? undefined : this.#imageOf(volume, { afterSeq: appliedSeq, beforeSeq: checkpoint.markerSeq }),
        })),
        isReadOnly: scratchFolder === undefined,
        reader: this.#reader,
        scratch,
        isPromotionBegun: this.#journal.durable.promotion !== null,
        startPromotion: async () => void (await this.#request({ type: 'startPromotion', checkpointId })),
        finishPromotion: async () => void (await this.#request({ type: 'finishPromotion', checkpointId })),
        onReleased: () => {
          this.#views.delete(view);
          release();
        },
      });
      // A promoted one needs nothing of the journal, which may be removed under it.
      if (isPromoted) release();
      else this.#views.add(view);
      return view;
    } catch (cause) {
      release();
      throw cause;
    }
  }

  #imageOf(volume: number, seqs: { readonly afterSeq: number; readonly beforeSeq: number }): ImageSource {
    return { image: (start, end) => this.#index.image({ volume, start, end, ...seqs }) };
  }

  /**
   * A read-only image of mirrors and journal up to the durable position of now; no checkpoint is needed. Until it is closed no segment is freed, and
   * nothing that is retired or written later shows. (Of a base that is not complete yet the mirrors are all there is, and they change.)
   * Rejects with JOURNAL_ENDED once a promotion has begun.
   */
  async openHead(): Promise<HeadView> {
    await this.#compactor.installed();
    if (this.#isClosed) throw closedError();
    const error = this.#journal.headError;
    if (error !== undefined) throw error;
    const key = `head ${(this.#lastRequest += 1)}`;
    this.#step({ type: 'pinHead', key });
    const { lastSeq, appliedSeq } = this.#journal.durable;
    this.#index.enter();
    const gate = new WriteGate(() => true);
    const head: HeadView = new HeadView({
      seq: lastSeq,
      volumes: this.#volumesAt(lastSeq + 1).map(({ sizeBytes, mirror }, index) => {
        const base = this.#imageOf(index, { afterSeq: appliedSeq, beforeSeq: lastSeq + 1 });
        return new ViewVolume({ index, sizeBytes, mirror, base, isReadOnly: true, reader: this.#reader, scratch: undefined, gate });
      }),
      onClosed: () => {
        this.#views.delete(head);
        this.#left();
        this.#step({ type: 'unpin', key });
      },
    });
    this.#views.add(head);
    return head;
  }

  /** A view reads no more. */
  #left(): void {
    this.#index.leave();
    if (this.#views.size === 0) this.#reader.forget();
  }

  stats(): JournalFileStats {
    return statsOf(this.#journal, this.#index, this.#compactor);
  }

  /** Ends what is under way, closes views and files. Everything not durable by then is as after a crash. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const view of [...this.#views]) await view.close();
    await this.#compactor.close();
    while (this.#runner.work.size > 0) await Promise.all(this.#runner.work);
    this.#runner.refuseAll(closedError());
    await this.#index.close();
    await this.#segments.closeAll();
  }

  /** Closes and deletes the journal with its folder. The mirrors are not touched. */
  async remove(): Promise<void> {
    await this.close();
    await this.#segments.removeAll();
  }

  async #request(command: WithoutRequest<JournalCommand>): Promise<IncarnationBegun | undefined> {
    if (this.#isClosed) throw closedError();
    this.#lastRequest += 1;
    const request = this.#lastRequest;
    return await new Promise((resolve, reject) => {
      this.#runner.expect(request, { resolve, reject });
      this.#step({ ...command, request });
    });
  }

  #step(event: JournalEvent): void {
    this.#act((effects) => this.#journal.step(event, effects));
  }

  /** Effects of nested steps (a callback that appends) queue behind those that are being carried out. */
  #act(act: (effects: JournalEffect[]) => void): void {
    act(this.#effects);
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      for (let effect = this.#effects.shift(); effect !== undefined; effect = this.#effects.shift()) this.#runner.carryOut(effect);
    } finally {
      this.#isDraining = false;
    }
    this.#index.kick();
    if (this.#journal.isSettled) for (const waiter of this.#settledWaiters.splice(0)) waiter();
    if (this.#journal.canReopen && !this.#isReopening && !this.#isClosed && this.damage === undefined) this.#startReopening();
  }

  /** A new generation takes frames when all that the older ones hold has been read back; what the opening scan has just read need not be. */
  #startReopening(): void {
    this.#isReopening = true;
    const reading = this.#isJustScanned ? Promise.resolve(undefined) : this.#checker.verifyAll();
    this.#isJustScanned = false;
    const running = reading.then((damage) => {
      this.#runner.work.delete(running);
      this.#isReopening = false;
      this.#damage = damage;
      if (damage === undefined && this.#journal.canReopen) this.#step({ type: 'reopen' });
      else if (damage !== undefined) this.#options.onState({ phase: 'broken', reason: damage.detail });
    });
    this.#runner.work.add(running);
  }

  /** What a reading of older bytes found broken; the journal stays as it is: opening it anew ends it before the damage. */
  get damage(): SegmentCheck | undefined {
    return this.#damage;
  }

  /** Somebody read a segment back and found damage: see {@link damage}. */
  distrust(check: SegmentCheck): void {
    this.#damage = check;
  }

  /** Neither frames nor control records are taken any more, whatever happens to the disk: only opening anew can help. */
  get isDead(): boolean {
    return this.#journal.isDead;
  }

  /** Reads back and checks the durable part of one segment; undefined: it is gone, or the journal is closed. */
  async verifySegment(segment: number): Promise<SegmentCheck | undefined> {
    return await this.#checker.verify(segment);
  }

  /**
   * Rewrites sealed segments that end below `beforeSeq` without the versions that no checkpoint shows any more since it was thinned. The same call twice is one.
   * Throws what reading and writing give: the journal goes on as it was.
   */
  async compact(options: CompactionOptions): Promise<CompactionResult> {
    if (this.#isClosed) throw closedError();
    return await this.#compactor.run(options);
  }

  /** Numbers, sizes and ends of the segments that count, oldest first; the last one is being written. */
  get segments(): readonly { readonly segment: number; readonly bytes: number; readonly lastSeq: number }[] {
    return this.#journal.segments;
  }

  async #settled(): Promise<void> {
    if (!this.#journal.isSettled) await new Promise<void>((resolve) => this.#settledWaiters.push(resolve));
  }
}

const wishOf = ({ diskId, sizeBytes }: JournalVolume): VolumeWish => ({ diskId: diskId ?? '', sizeBytes });

const closedError = (): JournalError => new JournalError('JOURNAL_CLOSED', 'the journal is closed');
