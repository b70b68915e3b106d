import { assert, type Crc32c, type MonotonicMs, unreachable, type WallClockMs } from '@tidemark/base';
import { type FrameHeader, GENERATION_SESSION, type StreamRecord } from '@tidemark/frame';
import { ApplyJobs } from './apply-jobs.js';
import { commandError } from './command-rules.js';
import { CommitLog, controlRecord } from './commit-log.js';
import {
  encodeEpoch, encodePromotion, encodeRetirement, encodeSession, encodeThin, encodeVolumes, isMarked, marked, THIN_MAX, unmarked, type JournalSnapshot,
} from './control-bodies.js';
import { DirectWriter } from './direct-writer.js';
import type { DurableState } from './durable-state.js';
import { JournalError } from './journal-error.js';
import { JournalRecordKind } from './layout.js';
import { JournalWriter, type PendingRecord } from './journal-writer.js';
import { Pins } from './pins.js';
import type { RecoveredJournal } from './recovery.js';
import { SegmentSwap } from './segment-swap.js';
import { orderError, phaseError, recordsError } from './rules.js';
import type {
  HeldCheckpoint, IncarnationBegun, JournalCommand, JournalCompletion, JournalEffect, JournalEvent, JournalIdentity, JournalPhase,
  JournalState, ListingPage, ListingQuestion, StorageFailure,
} from './types.js';
import { type SegmentWrites, WriteCollector, type WriteColumns } from './segment-writes.js';
import { copyingIn, isSameSet, routeOf, volumesAfter, type JournalVolumeState, type VolumeWish } from './volume-set.js';

export interface JournalOptions {
  readonly identity: JournalIdentity;
  /** Of a journal that does not exist yet, by the volume index of records. */
  readonly volumes: readonly VolumeWish[];
  readonly segmentBytes: number;
  /** 8 random bytes for a journal that does not exist yet. */
  readonly freshSalt: Uint8Array;
  readonly crc32c: Crc32c;
  readonly clocks: { readonly monotonicMs: MonotonicMs; readonly wallClockMs: WallClockMs };
}

type CommandType<T extends JournalCommand['type']> = Extract<JournalCommand, { readonly type: T }>;

/**
 * The journal of one protection. Synchronous: `step` changes its state and appends effects that the caller carries out, in order; each file
 * or mirror effect is answered by one completion event. Nothing is announced (`durable`, `answered`, checkpoints) before the sync behind it succeeded.
 */
export class Journal {
  readonly #options: JournalOptions;
  readonly #state: DurableState;
  readonly #log: CommitLog;
  readonly #direct: DirectWriter;
  readonly #apply: ApplyJobs;
  readonly #pins = new Pins();
  readonly swap: SegmentSwap;
  readonly #recovered: RecoveredJournal;
  /** What the state will be when all that was taken in is durable: the next frame and command are checked against it. */
  #tail: JournalSnapshot;
  /** The first frame of an incarnation has not come yet: the only place where a gap in the numbers is legal. */
  #isFirstFrame = false;
  #phase: JournalPhase = 'open';
  /** Frames may be taken again when so many records of generations are durable. */
  #awaitedGeneration = 0;
  #reason = '';
  #announcedSeq: number;
  #announcedChange: number;
  /** Adds to a record's clock to get this process's monotonic time. */
  readonly #clockOffsetMs: number;

  constructor(options: JournalOptions, recovered: RecoveredJournal) {
    this.#options = options;
    this.#recovered = recovered;
    this.#state = recovered.state;
    this.#state.beginWith(options.volumes);
    this.#tail = this.#state.snapshot;
    this.#clockOffsetMs = options.clocks.monotonicMs() - this.#state.clockMs;
    this.#announcedSeq = this.#tail.lastSeq;
    this.#announcedChange = this.#state.ledger.lastChange;
    const { identity, crc32c, segmentBytes } = options;
    const writer = new JournalWriter({ identity, crc32c, salt: recovered.salt ?? options.freshSalt });
    const owner = {
      becameDurable: (effects: JournalEffect[]): void => this.#announce(effects),
      storageFailed: (reason: StorageFailure, detail: string, effects: JournalEffect[]): void => this.#storageFailed(reason, detail, effects),
      wasCutBack: (effects: JournalEffect[]): void => this.#cutBack(effects),
    };
    this.#log = new CommitLog({ state: this.#state, writer, segmentBytes, times: () => this.#times(), owner }, recovered);
    this.#direct = new DirectWriter(this.#log);
    this.#apply = new ApplyJobs({ state: this.#state, log: this.#log, pins: this.#pins, tail: () => this.#tail });
    this.swap = new SegmentSwap({ state: this.#state, apply: this.#apply, phase: () => this.state });
    if (this.#tail.isEnded) this.#phase = 'ended';
    if (this.#tail.brokenReason !== null) this.#setBroken(this.#tail.brokenReason);
  }

  /** The first effects: what the scan found is made durable, or the first segment is made. Call once, before `step`. */
  start(effects: JournalEffect[]): void {
    this.#log.start(this.#recovered, effects);
  }

  /** Running time of the journal, ms: goes on where the last process stopped. */
  get clockMs(): number {
    return this.#times().clockMs;
  }

  get state(): JournalState {
    return { phase: this.#phase, reason: this.#reason };
  }

  /** False while the start, a repair or a new segment is under way. */
  get isSettled(): boolean {
    return this.#log.isSettled;
  }

  /** What is durable. */
  get durable(): JournalSnapshot {
    return this.#state.snapshot;
  }

  get segments(): DurableState['segments'] {
    return this.#state.segments;
  }

  /** Index of what no index file on disk has yet, oldest first; the last one is that of the open segment. */
  get unindexed(): readonly SegmentWrites[] {
    return this.#state.writes;
  }

  /** The index of this sealed segment is durable on disk. */
  segmentIndexed(segment: number): void {
    this.#state.dropWrites(segment);
  }

  /** Held checkpoints, oldest first. */
  get checkpoints(): readonly HeldCheckpoint[] {
    return this.#state.ledger.held.map((checkpoint) => this.#onThisClock(checkpoint));
  }

  get oldestCheckpoint(): HeldCheckpoint | undefined {
    const { oldest } = this.#state.ledger;
    return oldest && this.#onThisClock(oldest);
  }

  /** The first ones of {@link checkpoints}, up to the first that is not wanted: there may be 10^5, and they are asked for all the time. */
  oldestCheckpoints(isWanted: (checkpoint: HeldCheckpoint) => boolean): readonly HeldCheckpoint[] {
    const wanted: HeldCheckpoint[] = [];
    for (const held of this.#state.ledger.held) {
      const checkpoint = this.#onThisClock(held);
      if (!isWanted(checkpoint)) break;
      wanted.push(checkpoint);
    }
    return wanted;
  }

  get newestCheckpoint(): HeldCheckpoint | undefined {
    const { newest } = this.#state.ledger;
    return newest && this.#onThisClock(newest);
  }

  newestCheckpoints(countMax: number): readonly HeldCheckpoint[] {
    return this.#state.ledger.held.slice(-countMax).map((checkpoint) => this.#onThisClock(checkpoint));
  }

  checkpointsFrom(checkpointId: number, countMax: number): readonly HeldCheckpoint[] {
    return this.#state.ledger.from(checkpointId, countMax).map((checkpoint) => this.#onThisClock(checkpoint));
  }

  /** Of the segment files, what is cut off included. */
  get journalBytes(): number {
    return this.#state.fileBytes;
  }

  /**
   * The checkpoint that must become the oldest for `bytes` to be freed, of what is cut off and of whole segments; if none is new enough, the newest, which is
   * never given up. undefined: retiring would free nothing.
   */
  checkpointThatFrees(bytes: number): HeldCheckpoint | undefined {
    const { cutOff, segments, ledger } = this.#state;
    // These go before anything that can be shown.
    let missingBytes = bytes - cutOff.fileBytes;
    let lastSeq: number | undefined;
    for (const { segment, bytes: segmentBytes, lastSeq: end } of segments) {
      if (missingBytes <= 0 || segment === this.#log.currentSegment) break;
      missingBytes -= segmentBytes + cutOff.endOf(segment);
      lastSeq = end;
    }
    const found = ledger.held.find(({ markerSeq }) => markerSeq > (lastSeq ?? 0)) ?? ledger.newest;
    return lastSeq === undefined || found === undefined || found === ledger.oldest ? undefined : this.#onThisClock(found);
  }

  get lastChange(): number {
    return this.#state.ledger.lastChange;
  }

  checkpoint(checkpointId: number): HeldCheckpoint | undefined {
    const found = this.#state.ledger.find(checkpointId);
    return found === undefined ? undefined : this.#onThisClock(found);
  }

  listing(question: ListingQuestion): ListingPage {
    const page = this.#state.ledger.listing(question);
    return { ...page, held: page.held.map((checkpoint) => this.#onThisClock(checkpoint)) };
  }

  /** The writes of one volume that an image of everything below stream position `beforeSeq` takes from the journal, as long as no segment was given to index files. */
  writesBefore(beforeSeq: number, volume: number): WriteColumns {
    const collector = new WriteCollector({ volume, start: 0, end: Infinity, afterSeq: this.#state.snapshot.appliedSeq, beforeSeq });
    for (const writes of this.#state.writes) for (const { pages } of writes.runs(beforeSeq)) for (const page of pages) collector.take(page);
    return collector.columns();
  }

  /** Why the head cannot be pinned now; undefined: it can. */
  get headError(): JournalError | undefined {
    if (this.#tail.promotion === null) return undefined;
    return new JournalError('JOURNAL_ENDED', `the mirrors belong to the promotion of checkpoint ${this.#tail.promotion.checkpointId}`);
  }

  /** The volumes of an image at this position: those of then, in the sizes of then. */
  volumesAt(seq: number): readonly JournalVolumeState[] {
    return this.#state.volumesAt(seq);
  }

  /** False: removed, and no checkpoint that is held has it. */
  needsVolume(index: number): boolean {
    return this.#state.needsVolume(index);
  }

  /** Why this checkpoint cannot be pinned now; undefined: it can. */
  pinError(checkpointId: number): JournalError | undefined {
    const checkpoint = this.#state.ledger.find(checkpointId);
    const isRetiring = checkpoint !== undefined && checkpoint.markerSeq < this.#tail.retiredSeq;
    const isPromoting = this.#tail.promotion !== null && this.#tail.promotion.checkpointId !== checkpointId;
    if (checkpoint !== undefined && !isRetiring && !isPromoting) return undefined;
    return new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${checkpointId} is not held by the journal`);
  }

  /** Why this frame cannot be appended now; undefined: it can. The records' decoding is the caller's. */
  frameError(header: FrameHeader, records: readonly StreamRecord[]): JournalError | undefined {
    return this.#phaseError() ?? orderError(header, this.#tail, this.#isFirstFrame) ?? recordsError(header, records, this.#tail.volumes);
  }

  step(event: JournalEvent, effects: JournalEffect[]): void {
    switch (event.type) {
      case 'append':
        return this.#append(event, effects);
      case 'resume':
        return this.#resume(effects);
      case 'reopen':
        return this.#reopen(effects);
      case 'guardReached':
        if (this.#phase === 'open') this.#log.fail('noSpace', event.detail, effects);
        return;
      case 'pin': {
        assert(this.pinError(event.checkpointId) === undefined, 'pinError was asked first');
        const markerSeq = this.#state.ledger.find(event.checkpointId)?.markerSeq ?? 0;
        return this.#pins.add(event.key, { markerSeq, checkpointId: event.checkpointId, isReading: event.isReading });
      }
      case 'pinHead':
        assert(this.headError === undefined, 'headError was asked first');
        // Checkpoints up to the head may be retired and applied, later ones not: what their apply writes into the mirrors is not covered there.
        return this.#pins.add(event.key, { markerSeq: this.#state.snapshot.lastSeq + 1, checkpointId: undefined, isReading: true });
      case 'unpin':
        this.#pins.remove(event.key);
        return this.#apply.freeSegments(effects);
      case 'freeCutOff':
        return this.#apply.freeCutOff(event.bytes, effects);
      case 'mirrorReplayed':
        return this.#apply.replayed(event, effects);
      case 'mirrorWritten':
        return this.#direct.mirrorDone(event.type, effects);
      case 'mirrorSynced':
        return event.owner === 'direct' ? this.#direct.mirrorDone(event.type, effects) : this.#apply.mirrorSynced(effects);
      case 'mirrorFailed':
        return this.#mirrorFailed(event, effects);
      case 'segmentRemoved':
      case 'segmentRemoveFailed':
        return this.#apply.segmentRemoved(event.type === 'segmentRemoved', effects);
      case 'appended':
      case 'appendFailed':
      case 'synced':
      case 'syncFailed':
      case 'segmentCreated':
      case 'segmentCreateFailed':
      case 'truncated':
      case 'truncateFailed':
        return this.#log.complete(event, effects);
      default:
        return this.#command(event, effects);
    }
  }

  #command(command: JournalCommand, effects: JournalEffect[]): void {
    const error = commandError(command, {
      state: this.state, tail: this.#tail, ledger: this.#state.ledger, pins: this.#pins, apply: this.#apply, isDead: this.#log.isDead,
    });
    if (error !== undefined) {
      effects.push({ type: 'refused', request: command.request, error });
      return;
    }
    switch (command.type) {
      case 'beginIncarnation':
        return this.#beginIncarnation(command, effects);
      case 'changeVolumes':
        return this.#changeVolumes(command, effects);
      case 'reserveEpoch':
        return this.#epochStep(command, { reservedEpoch: command.epoch, highestEpoch: Math.max(command.epoch, this.#tail.highestEpoch) }, effects);
      case 'commitEpoch':
        return this.#epochStep(command, { epoch: command.epoch, reservedEpoch: null, isEnded: true }, effects);
      case 'burnEpoch':
        return this.#epochStep(command, { reservedEpoch: null, highestEpoch: Math.max(command.epoch, this.#tail.highestEpoch) }, effects);
      case 'retire':
        return this.#retire(command, effects);
      case 'thin':
        return this.#thin(command, effects);
      case 'allowApply':
        return this.#apply.allow(command, effects);
      case 'startPromotion':
        // A mirror effect of an apply that is under way must not land on top of what promotion writes.
        return this.#apply.whenIdle((then) => this.#promotionStep(command, { checkpointId: command.checkpointId, isDone: false }, then), effects);
      case 'finishPromotion':
        return this.#promotionStep(command, { checkpointId: command.checkpointId, isDone: true }, effects);
      default:
        return unreachable(command);
    }
  }

  #phaseError(): JournalError | undefined {
    return phaseError(this.state, this.#tail);
  }

  #append({ header, body, records, onSettled }: Extract<JournalEvent, { readonly type: 'append' }>, effects: JournalEffect[]): void {
    const error = this.frameError(header, records);
    assert(error === undefined, `frameError was asked first: ${error?.message ?? ''}`);
    const route = routeOf(header, records, this.#tail);
    const record: PendingRecord = {
      kind: JournalRecordKind.frame, epoch: header.epoch, incarnation: header.incarnation, firstSeq: header.firstSeq, lastSeq: header.lastSeq,
      body, frame: header, records, settle: onSettled,
    };
    this.#isFirstFrame = false;
    const { syncAfter: sync, isBaseComplete, volumes } = route;
    const sessionId = sync === 'needed' ? this.#tail.sessionId : unmarked(this.#tail.sessionId);
    this.#tail = { ...this.#tail, sessionId, lastSeq: header.lastSeq, sync, isBaseComplete, volumes };
    this.#direct.push({ record, route }, effects);
  }

  #beginIncarnation({ request, sessionId }: CommandType<'beginIncarnation'>, effects: JournalEffect[]): void {
    const before = this.#tail.sessionId;
    const lastSessionId = isMarked(before) ? GENERATION_SESSION : before;
    const incarnation = this.#tail.incarnation + 1;
    const sync = sessionId === before ? this.#tail.sync : 'needed';
    this.#tail = { ...this.#tail, incarnation, sessionId: isMarked(before) ? marked(sessionId) : sessionId, sync };
    this.#isFirstFrame = true;
    this.#control(JournalRecordKind.incarnation, encodeSession(sessionId), request, effects, () => {
      const { lastSeq, isBaseComplete, volumes } = this.#state.snapshot;
      return { incarnation, durableSeq: lastSeq, lastSessionId, isBaseComplete, copyingVolumes: copyingIn(volumes) };
    });
  }

  /** From here on frames are of this set; no checkpoint is held before a sync has ended. Until then what is added goes straight into its mirror. */
  #changeVolumes({ request, volumes }: CommandType<'changeVolumes'>, effects: JournalEffect[]): void {
    if (isSameSet(this.#tail.volumes, volumes) && isSameSet(this.#state.snapshot.volumes, volumes)) {
      effects.push({ type: 'answered', request, answer: undefined });
      return;
    }
    this.#tail = { ...this.#tail, volumes: volumesAfter(this.#tail.volumes, volumes, this.#tail.isBaseComplete), sync: 'needed' };
    this.#control(JournalRecordKind.volumes, encodeVolumes(volumes), request, effects);
  }

  /** Written again when it is repeated: what is answered must be durable, and the first one may not be yet. */
  #epochStep(command: CommandType<'reserveEpoch' | 'commitEpoch' | 'burnEpoch'>, change: Partial<JournalSnapshot>, effects: JournalEffect[]): void {
    const kinds = {
      reserveEpoch: JournalRecordKind.epochReserve, commitEpoch: JournalRecordKind.epochCommit, burnEpoch: JournalRecordKind.epochBurn,
    } as const;
    this.#tail = { ...this.#tail, ...change };
    this.#control(kinds[command.type], encodeEpoch(command.epoch), command.request, effects);
  }

  /** The oldest one names what the mirrors may roll forward to, the newest what can be recovered now: neither is ever thinned. */
  #thin({ request, checkpointIds }: CommandType<'thin'>, effects: JournalEffect[]): void {
    const { oldest, newest } = this.#state.ledger;
    const isKept = (id: number): boolean => id === oldest?.checkpointId || id === newest?.checkpointId || this.#pins.isPinned(id);
    const dropped = checkpointIds.filter((id) => !isKept(id) && this.#state.ledger.find(id) !== undefined).slice(0, THIN_MAX);
    if (dropped.length === 0) effects.push({ type: 'answered', request, answer: undefined });
    else this.#control(JournalRecordKind.thin, encodeThin(dropped), request, effects);
  }

  #retire({ request, checkpointId }: CommandType<'retire'>, effects: JournalEffect[]): void {
    const markerSeq = this.#state.ledger.find(checkpointId)?.markerSeq ?? 0;
    this.#tail = { ...this.#tail, retiredSeq: Math.max(markerSeq, this.#tail.retiredSeq) };
    this.#control(JournalRecordKind.retire, encodeRetirement({ checkpointId, markerSeq }), request, effects);
  }

  #promotionStep(command: CommandType<'startPromotion' | 'finishPromotion'>, promotion: NonNullable<JournalSnapshot['promotion']>, effects: JournalEffect[]): void {
    const kind = promotion.isDone ? JournalRecordKind.promotionEnd : JournalRecordKind.promotionStart;
    if (this.#state.snapshot.promotion?.isDone === true) {
      effects.push({ type: 'answered', request: command.request, answer: undefined });
      return;
    }
    this.#tail = { ...this.#tail, promotion };
    this.#control(kind, encodePromotion(command.checkpointId), command.request, effects);
  }

  /** Writes a control record behind everything taken in before it; answers when it is durable. */
  #control(kind: JournalRecordKind, body: Uint8Array, request: number, effects: JournalEffect[], answer?: () => IncarnationBegun): void {
    const record = controlRecord(kind, body, this.#tail, (outcome) => {
      if (outcome === 'durable') this.#settled.push({ type: 'answered', request, answer: answer?.() });
      else this.#settled.push({ type: 'refused', request, error: lostError(outcome, this.#reason) });
    });
    this.#direct.push({ record, route: undefined }, effects);
    this.#drain(effects);
  }

  /** Answers of records that were settled inside the log: given out behind `durable`, which they may rely on. */
  readonly #settled: JournalEffect[] = [];

  #drain(effects: JournalEffect[]): void {
    effects.push(...this.#settled.splice(0));
  }

  /** A full mirror only stops an apply; any other failure, and every one during the base copy, stops the journal. */
  #mirrorFailed({ owner, reason, detail }: Extract<JournalCompletion, { type: 'mirrorFailed' }>, effects: JournalEffect[]): void {
    const stopsJournal = owner === 'direct' && this.#direct.mirrorFailed(effects);
    if (owner === 'apply') this.#apply.mirrorFailed(reason, detail, effects);
    if (stopsJournal || reason === 'io') this.#log.fail(reason, `mirror volume: ${detail}`, effects);
  }

  #announce(effects: JournalEffect[]): void {
    const { lastSeq, isEnded } = this.#state.snapshot;
    if (lastSeq > this.#announcedSeq) {
      this.#announcedSeq = lastSeq;
      effects.push({ type: 'durable', seq: lastSeq });
    }
    if (this.lastChange !== this.#announcedChange) {
      this.#announcedChange = this.lastChange;
      effects.push({ type: 'checkpointsChanged', lastChange: this.lastChange });
    }
    if (isEnded && this.#phase !== 'ended' && this.#phase !== 'broken') this.#setPhase('ended', 'a failover was committed', effects);
    this.#drain(effects);
    this.#apply.recordsDurable(effects);
  }

  #storageFailed(reason: StorageFailure, detail: string, effects: JournalEffect[]): void {
    if (reason === 'io') {
      this.#awaitedGeneration = this.#state.generationCount + 1;
      this.#setBroken(detail);
      effects.push({ type: 'stateChanged', state: this.state });
    } else if (this.#phase === 'open') {
      this.#setPhase('full', detail, effects);
    }
  }

  /** Everything that was not durable is gone: what was built on it is refused. */
  #cutBack(effects: JournalEffect[]): void {
    this.#direct.discard(this.#phase === 'broken' ? 'failed' : 'full');
    this.#tail = this.#state.snapshot;
    // The frames that are gone must not turn into a legal gap.
    this.#isFirstFrame = false;
    this.#drain(effects);
    this.#apply.wasCutBack(effects);
  }

  /** The record of the new generation is durable; what is under way before it is settled. */
  get canReopen(): boolean {
    return this.#phase === 'broken' && !this.#log.isDead && this.#log.isSettled && this.#state.generationCount >= this.#awaitedGeneration;
  }

  /** Not even a new generation could be begun: only opening the files anew can help. */
  get isDead(): boolean {
    return this.#log.isDead;
  }

  #reopen(effects: JournalEffect[]): void {
    assert(this.canReopen, 'the new generation is durable');
    const { sync, sessionId, lastSeq, isBaseComplete, brokenReason } = this.#state.snapshot;
    this.#tail = { ...this.#tail, sync, sessionId, lastSeq, isBaseComplete, brokenReason };
    this.#isFirstFrame = false;
    this.#setPhase(this.#tail.isEnded ? 'ended' : 'open', '', effects);
  }

  #resume(effects: JournalEffect[]): void {
    if (this.#phase === 'full') this.#setPhase(this.#state.snapshot.isEnded ? 'ended' : 'open', '', effects);
    this.#log.resume(effects);
  }

  #setPhase(phase: JournalPhase, reason: string, effects: JournalEffect[]): void {
    this.#phase = phase;
    this.#reason = reason;
    effects.push({ type: 'stateChanged', state: this.state });
  }

  #setBroken(reason: string): void {
    this.#phase = 'broken';
    this.#reason = reason;
  }

  #times(): { readonly clockMs: number; readonly atMs: number } {
    const { clocks } = this.#options;
    return { clockMs: Math.max(0, clocks.monotonicMs() - this.#clockOffsetMs), atMs: clocks.wallClockMs() };
  }

  #onThisClock(checkpoint: HeldCheckpoint): HeldCheckpoint {
    return { ...checkpoint, arrivedMs: checkpoint.arrivedMs + this.#clockOffsetMs };
  }
}

const lostError = (outcome: 'full' | 'failed', reason: string): JournalError =>
  outcome === 'full' ? new JournalError('JOURNAL_FULL', reason) : new JournalError('JOURNAL_IO', reason);
