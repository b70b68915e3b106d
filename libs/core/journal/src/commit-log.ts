import { assert } from '@tidemark/base';
import { encodeReason, encodeSnapshot, type JournalSnapshot } from './control-bodies.js';
import type { DurableState } from './durable-state.js';
import { JournalRecordKind, SEGMENT_HEADER_BYTES } from './layout.js';
import type { JournalWriter, PendingRecord, WriterTimes, WrittenRecord } from './journal-writer.js';
import type { RecoveredJournal } from './recovery.js';
import type { JournalCompletion, JournalEffect, StorageFailure } from './types.js';

/**
 * `starting`: what the scan found is made durable. `ready`. `opening`: the next segment is being made. `failing`: waiting for append and sync to
 * come back before repair. `cutting`: back to the last durable record. `unmade`: not even the first segment could be made. `dead`: not even a new
 * generation can be written.
 */
type LogPhase = 'starting' | 'ready' | 'opening' | 'failing' | 'cutting' | 'unmade' | 'dead';

/** What the log tells its owner, after its own state has changed. */
export interface CommitLogOwner {
  /** Records became durable; the state has taken them in. */
  becameDurable(effects: JournalEffect[]): void;
  /** From now on nothing is durable that was not yet; frames must not be pushed any more. */
  storageFailed(reason: StorageFailure, detail: string, effects: JournalEffect[]): void;
  /** What was not durable has been settled and forgotten: the state is all there is. */
  wasCutBack(effects: JournalEffect[]): void;
}

/** A batch ends with the record that reaches this: bounds what one append holds in memory beyond its last frame. */
const BATCH_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Group commit: one append and one fdatasync in flight; what arrives meanwhile joins the next ones. A record is taken into the durable
 * state, and settled, only after a sync that was issued behind its append has succeeded.
 */
export class CommitLog {
  #phase: LogPhase = 'starting';
  #pending: PendingRecord[] = [];
  #inAppend: WrittenRecord[] = [];
  #appended: WrittenRecord[] = [];
  #inSync: WrittenRecord[] = [];
  #isAppending = false;
  #isSyncing = false;
  /** A segment is being made or cut. */
  #isFileBusy = false;
  /** No record of the newest generation is durable yet: if it fails as well, nothing is tried any more; opening the files anew, later, is. */
  #isUnproven = false;
  /** What the scan found may be in the page cache and nowhere else, until a sync of this process has succeeded. */
  #isFoundDurable = false;
  /** The segment being made begins a new generation, because of `#failure`. */
  #isNewGeneration = false;
  #failure: { reason: StorageFailure; detail: string } | undefined;
  #nextSegment: number;

  constructor(
    private readonly parts: {
      readonly state: DurableState;
      readonly writer: JournalWriter;
      readonly segmentBytes: number;
      readonly times: () => WriterTimes;
      readonly owner: CommitLogOwner;
    },
    recovered: RecoveredJournal,
  ) {
    this.#nextSegment = recovered.highestSegment + 1;
  }

  get isDead(): boolean {
    return this.#phase === 'dead';
  }

  /** False: what the scan has put together from records behind a break is not durable yet. */
  get isProven(): boolean {
    return !this.#isUnproven;
  }

  /** Nothing of start, repair or a segment's making is under way. */
  get isSettled(): boolean {
    return this.#phase === 'ready' || this.#phase === 'unmade' || this.#phase === 'dead';
  }

  get currentSegment(): number {
    return this.parts.writer.segment;
  }

  /** Makes the found state durable (what a killed process left in the page cache is not yet), or begins a journal or a generation. */
  start(recovered: RecoveredJournal, effects: JournalEffect[]): void {
    if (recovered.leftover !== undefined) effects.push({ type: 'removeSegment', segment: recovered.leftover });
    if (recovered.corruption !== undefined) return this.#failAtStart(recovered.corruption, recovered.salt !== undefined, effects);
    if (recovered.salt === undefined || recovered.cut?.bytes === 0) {
      this.#isFoundDurable = true;
      return this.#open(1, effects);
    }
    this.#resetWriter();
    const { segment, at } = this.parts.writer;
    if (recovered.cut === undefined) {
      this.#isSyncing = true;
      effects.push({ type: 'sync', segment });
    } else {
      assert(recovered.cut.segment === segment && recovered.cut.bytes === at, 'the torn tail follows the last record');
      this.#truncate(effects);
    }
  }

  /** Tries again to make the first segment of a journal, if a full disk prevented it. */
  resume(effects: JournalEffect[]): void {
    if (this.#phase === 'unmade') this.#open(1, effects);
  }

  push(record: PendingRecord, effects: JournalEffect[]): void {
    if (this.#phase === 'dead') {
      record.settle?.('failed');
      return;
    }
    this.#pending.push(record);
    this.resume(effects);
    this.#pump(effects);
  }

  /** As if an append had failed: for a full or failed mirror volume, and for the caller's space guard. */
  fail(reason: StorageFailure, detail: string, effects: JournalEffect[]): void {
    if (this.#phase === 'dead') return;
    const isWorse = this.#failure === undefined || (this.#failure.reason === 'noSpace' && reason === 'io');
    if (isWorse) {
      this.#failure = { reason, detail };
      this.parts.owner.storageFailed(reason, detail, effects);
    }
    if (this.#phase === 'ready' || this.#phase === 'starting') this.#phase = 'failing';
    this.#repairWhenIdle(effects);
  }

  complete(event: Exclude<JournalCompletion, { type: `mirror${string}` | `segmentRemove${string}` }>, effects: JournalEffect[]): void {
    switch (event.type) {
      case 'appended':
        return this.#appendDone(effects);
      case 'appendFailed':
        this.#isAppending = false;
        return this.fail(event.reason, event.detail, effects);
      case 'synced':
        return this.#syncDone(effects);
      case 'syncFailed':
        this.#isSyncing = false;
        return this.fail('io', event.detail, effects);
      case 'segmentCreated':
        return this.#created(effects);
      case 'segmentCreateFailed':
        return this.#createFailed(event.reason, event.detail, effects);
      case 'truncated':
        return this.#cutDone(effects);
      case 'truncateFailed':
        this.#isFileBusy = false;
        this.#phase = 'failing';
        return this.fail('io', event.detail, effects);
    }
  }

  #pump(effects: JournalEffect[]): void {
    if (this.#phase !== 'ready') return;
    if (this.#pending.length > 0 && !this.#isAppending) this.#appendOrRoll(effects);
    if (this.#appended.length > 0 && !this.#isSyncing) {
      this.#inSync = this.#appended;
      this.#appended = [];
      this.#isSyncing = true;
      effects.push({ type: 'sync', segment: this.parts.writer.segment });
    }
  }

  /** A new segment begins when all of the one before is durable: so a later segment proves that its forerunner had been complete. */
  #appendOrRoll(effects: JournalEffect[]): void {
    const { writer, segmentBytes } = this.parts;
    if (writer.at < segmentBytes && !this.#isToBeStoodFor) return this.#append(effects);
    if (this.#appended.length === 0 && !this.#isSyncing) this.#open(writer.generation, effects);
  }

  /** Nothing that is cut off may go before the first segment of the generation that did so is repeated by a second one: a full journal must not have to wait until that is long enough. */
  get #isToBeStoodFor(): boolean {
    const { writer, state } = this.parts;
    return writer.at > SEGMENT_HEADER_BYTES && state.cutOff.next !== undefined && state.segments.at(-1)?.generation !== state.segments.at(-2)?.generation;
  }

  #append(effects: JournalEffect[]): void {
    const { writer, state, segmentBytes } = this.parts;
    const { segment, at } = writer;
    const committed = { recordNo: state.recordNo, seq: state.snapshot.lastSeq };
    const times = this.parts.times();
    const chunks: Uint8Array[] = [];
    let taken = 0;
    // Whatever else happened, a segment begins with the state: the segments before it may be gone one day.
    const isFirst = at === SEGMENT_HEADER_BYTES;
    if (isFirst) this.#pending.unshift(controlRecord(JournalRecordKind.state, encodeSnapshot(state.snapshot), state.snapshot));
    for (const record of this.#pending) {
      // Nor may a segment hold nothing else, however short it is to be: the next one would begin with the state again.
      if (taken > (isFirst ? 1 : 0) && (writer.at >= segmentBytes || writer.at - at >= BATCH_BYTES_MAX)) break;
      const { chunks: bytes, written } = writer.write(record, committed, times);
      chunks.push(...bytes);
      this.#inAppend.push(written);
      taken += 1;
    }
    this.#pending = this.#pending.slice(taken);
    this.#isAppending = true;
    effects.push({ type: 'append', segment, at, chunks });
  }

  #appendDone(effects: JournalEffect[]): void {
    assert(this.#isAppending, 'an append in flight');
    this.#isAppending = false;
    this.#appended.push(...this.#inAppend);
    this.#inAppend = [];
    if (this.#failure !== undefined) return this.#repairWhenIdle(effects);
    this.#pump(effects);
  }

  #syncDone(effects: JournalEffect[]): void {
    assert(this.#isSyncing, 'a sync in flight');
    this.#isSyncing = false;
    this.#isFoundDurable = true;
    const durable = this.#inSync;
    this.#inSync = [];
    if (durable.length > 0) this.#isUnproven = false;
    for (const record of durable) this.parts.state.add(record);
    for (const record of durable) record.settle?.('durable');
    this.parts.owner.becameDurable(effects);
    if (this.#failure !== undefined) return this.#repairWhenIdle(effects);
    // The owner may have pushed a record that needs a new segment: that one is being made then, and must not be made twice.
    if (this.#phase === 'starting') this.#phase = 'ready';
    this.#pump(effects);
  }

  #open(generation: number, effects: JournalEffect[]): void {
    this.#phase = 'opening';
    this.#isFileBusy = true;
    const segment = this.#nextSegment;
    effects.push({ type: 'createSegment', segment, header: this.parts.writer.openSegment(segment, generation) });
  }

  #created(effects: JournalEffect[]): void {
    assert(this.#phase === 'opening', 'a segment being made');
    const { writer, state } = this.parts;
    this.#isFileBusy = false;
    this.#nextSegment += 1;
    const { segment, generation, recordNo, chain } = writer;
    state.beginSegment({ segment, generation, firstRecordNo: recordNo + 1, chainStart: chain });
    if (this.#isNewGeneration && this.#failure !== undefined) {
      this.#pending.unshift(controlRecord(JournalRecordKind.generation, encodeReason(this.#failure.detail), state.snapshot));
      this.#isNewGeneration = false;
      this.#failure = undefined;
    }
    this.#phase = this.#failure === undefined ? 'ready' : 'failing';
    this.#repairWhenIdle(effects);
    this.#pump(effects);
  }

  #createFailed(reason: StorageFailure, detail: string, effects: JournalEffect[]): void {
    this.#isFileBusy = false;
    this.#resetWriter();
    if (this.#isNewGeneration) {
      this.#phase = 'dead';
      this.#discard('failed');
      this.parts.owner.wasCutBack(effects);
      return;
    }
    this.#phase = 'failing';
    this.fail(reason, detail, effects);
  }

  /** Without the salt no record behind the break could be asked which epochs were used: a new generation would hand one out again. */
  #failAtStart(detail: string, isSaltKnown: boolean, effects: JournalEffect[]): void {
    this.#resetWriter();
    const { segment } = this.parts.writer;
    if (isSaltKnown) {
      // A generation stands on what was found before the break: that must be durable first.
      this.#isSyncing = segment > 0;
      this.#isFoundDurable = segment === 0;
      if (this.#isSyncing) effects.push({ type: 'sync', segment });
      return this.fail('io', detail, effects);
    }
    this.#phase = 'dead';
    this.parts.owner.storageFailed('io', `${detail}; no segment tells which records are its own: remove this journal, which begins anew with a sync`, effects);
    this.parts.owner.wasCutBack(effects);
  }

  #repairWhenIdle(effects: JournalEffect[]): void {
    const isIdle = !this.#isAppending && !this.#isSyncing && !this.#isFileBusy;
    if (this.#phase !== 'failing' || !isIdle || this.#failure === undefined) return;
    const { reason } = this.#failure;
    const { writer, state } = this.parts;
    const open = state.segments.at(-1);
    // Nothing is cut: what was written and counts no more stays behind the last record.
    if (reason === 'io' && open?.segment === writer.segment) state.cutOff.addEnd(open.segment, writer.at - open.bytes);
    // A full disk too: cut back, the generation would go on without the record that says why it began. And where what was found cannot be synced, nothing may stand on it:
    // who opens anew reads what the disk has.
    const isOver = this.#isUnproven || !this.#isFoundDurable;
    this.#discard(reason === 'noSpace' && !isOver ? 'full' : 'failed');
    this.#resetWriter();
    if (isOver) this.#phase = 'dead';
    this.parts.owner.wasCutBack(effects);
    if (isOver) return;
    if (reason === 'io') {
      this.#isUnproven = true;
      this.#isNewGeneration = true;
      this.#open(this.parts.writer.generation + 1, effects);
    } else if (this.parts.writer.segment === 0) {
      this.#failure = undefined;
      this.#phase = 'unmade';
    } else {
      this.#truncate(effects);
    }
  }

  #truncate(effects: JournalEffect[]): void {
    this.#phase = 'cutting';
    this.#isFileBusy = true;
    effects.push({ type: 'truncateSegment', segment: this.parts.writer.segment, bytes: this.parts.writer.at });
  }

  #cutDone(effects: JournalEffect[]): void {
    this.#isFileBusy = false;
    this.#isFoundDurable = true;
    if (this.#failure?.reason === 'io') {
      this.#phase = 'failing';
      return this.#repairWhenIdle(effects);
    }
    this.#failure = undefined;
    this.#phase = 'ready';
    this.#pump(effects);
  }

  #discard(outcome: 'full' | 'failed'): void {
    const lost = [...this.#inSync, ...this.#appended, ...this.#inAppend, ...this.#pending];
    this.#inSync = [];
    this.#appended = [];
    this.#inAppend = [];
    this.#pending = [];
    for (const record of lost) record.settle?.(outcome);
  }

  #resetWriter(): void {
    const { state, writer } = this.parts;
    const last = state.segments.at(-1);
    writer.resetTo({
      recordNo: state.recordNo,
      chain: state.chain,
      segment: last?.segment ?? 0,
      generation: last?.generation ?? 1,
      at: last?.bytes ?? 0,
    });
  }
}

/** A record without stream data; `tail` says what precedes it. */
export function controlRecord(
  kind: JournalRecordKind,
  body: Uint8Array,
  { epoch, incarnation, lastSeq }: Pick<JournalSnapshot, 'epoch' | 'incarnation' | 'lastSeq'>,
  settle?: PendingRecord['settle'],
): PendingRecord {
  return { kind, epoch, incarnation, firstSeq: 0, lastSeq, body, frame: undefined, records: [], settle };
}
