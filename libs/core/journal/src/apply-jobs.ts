import { assert } from '@tidemark/base';
import { controlRecord, type CommitLog } from './commit-log.js';
import { encodeApplied, type JournalSnapshot } from './control-bodies.js';
import type { DurableState } from './durable-state.js';
import { JournalError } from './journal-error.js';
import { JournalRecordKind, SEGMENT_HEADER_BYTES } from './layout.js';
import type { Pins } from './pins.js';
import type { JournalEffect, JournalPhase, StorageFailure } from './types.js';

interface ApplyJob {
  readonly request: number;
  /** The mirrors roll forward to this position, included. */
  readonly throughSeq: number;
}

/** Volume bytes per step; each step syncs the mirrors and writes one record. */
const STEP_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Rolls the mirrors forward to a retired position: read frames back, write the mirrors in order, sync them, make appliedSeq durable, free
 * whole segments. A crash between any two of these repeats writes that change nothing.
 */
export class ApplyJobs {
  readonly #jobs: ApplyJob[] = [];
  readonly #afterwards: ((effects: JournalEffect[]) => void)[] = [];
  /** Position that the step under way reaches, once it is known; undefined: none. */
  #stepSeq: number | undefined;
  /** Where the next step begins reading. */
  #readFrom = { segment: 0, at: 0, recordNo: 0 };
  #removing: { readonly segment: number; readonly bytes: number; readonly isCutOff: boolean } | undefined;
  /** Of what is cut off. */
  #wantedBytes = 0;
  #isHeld = false;

  constructor(
    private readonly parts: { readonly state: DurableState; readonly log: CommitLog; readonly pins: Pins; readonly tail: () => JournalSnapshot },
  ) {}

  error(checkpointId: number, phase: JournalPhase): JournalError | undefined {
    const { state } = this.parts;
    if (this.parts.tail().isEnded) return new JournalError('JOURNAL_ENDED', 'a failover was committed');
    if (phase === 'broken') return new JournalError('JOURNAL_BROKEN', 'the mirrors must stay as the readable checkpoints need them');
    const checkpoint = state.ledger.find(checkpointId);
    if (checkpoint === undefined) return new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${checkpointId} is not held by the journal`);
    if (state.snapshot.retiredSeq >= checkpoint.markerSeq) return undefined;
    return new JournalError('JOURNAL_NOT_RETIRED', `checkpoints older than ${checkpointId} are not durably retired`);
  }

  allow({ request, checkpointId }: { readonly request: number; readonly checkpointId: number }, effects: JournalEffect[]): void {
    const markerSeq = this.parts.state.ledger.find(checkpointId)?.markerSeq;
    assert(markerSeq !== undefined, 'error() was asked first');
    this.#jobs.push({ request, throughSeq: markerSeq - 1 });
    if (this.#jobs.length === 1) this.#next(effects);
  }

  get hasReader(): boolean {
    return this.parts.pins.hasReader;
  }

  /** No segment is read by an apply or freed until {@link release}. False: one is, or a view may read one. */
  hold(): boolean {
    if (this.#isHeld || this.#removing !== undefined || this.#jobs.length > 0 || this.parts.pins.hasReader) return false;
    this.#isHeld = true;
    return true;
  }

  /** Segments may have become other files: an apply begins at the start of its segment. */
  release(effects: JournalEffect[]): void {
    this.#isHeld = false;
    this.#readFrom = { segment: 0, at: 0, recordNo: 0 };
    this.freeSegments(effects);
    if (this.#jobs.length > 0) this.#next(effects);
  }

  /** Runs `then` when no mirror write is under way; later jobs find a committed failover and are refused. */
  whenIdle(then: (effects: JournalEffect[]) => void, effects: JournalEffect[]): void {
    if (this.#jobs.length === 0) then(effects);
    else this.#afterwards.push(then);
  }

  replayed({ lastSeq, at, recordNo }: { readonly lastSeq: number; readonly at: number; readonly recordNo: number }, effects: JournalEffect[]): void {
    if (this.#stepSeq === undefined) return; // the step was given up after a failure
    this.#stepSeq = lastSeq;
    this.#readFrom = { ...this.#readFrom, at, recordNo };
    effects.push({ type: 'mirrorSync', owner: 'apply' });
  }

  mirrorSynced(effects: JournalEffect[]): void {
    if (this.#stepSeq !== undefined) this.#recordApplied(this.#stepSeq, effects);
  }

  mirrorFailed(reason: StorageFailure, detail: string, effects: JournalEffect[]): void {
    this.#stepSeq = undefined;
    this.#refuseAll(new JournalError(reason === 'noSpace' ? 'JOURNAL_FULL' : 'JOURNAL_IO', `mirror volume: ${detail}`), effects);
  }

  /** The log was cut back: a step whose record was lost is refused; the mirrors hold more than appliedSeq says, which is harmless. */
  wasCutBack(effects: JournalEffect[]): void {
    if (this.#lostRecord === undefined) return;
    const error = new JournalError(this.#lostRecord === 'full' ? 'JOURNAL_FULL' : 'JOURNAL_IO', 'the applied position could not be written');
    this.#lostRecord = undefined;
    this.#stepSeq = undefined;
    this.#refuseAll(error, effects);
  }

  #lostRecord: 'full' | 'failed' | undefined;
  #isRecorded = false;

  /** Called after records became durable. */
  recordsDurable(effects: JournalEffect[]): void {
    if (!this.#isRecorded) return;
    this.#isRecorded = false;
    this.#stepSeq = undefined;
    this.freeSegments(effects);
    this.#next(effects);
  }

  /** Files that are cut off are removed until `bytes` are free or none is left; asked for again when one could not be. */
  freeCutOff(bytes: number, effects: JournalEffect[]): void {
    this.#wantedBytes = bytes;
    this.freeSegments(effects);
  }

  /** Without a word of somebody who wants the space they go with the history that they were a part of: when nothing older is left. */
  #nextCutOff(): { readonly segment: number; readonly bytes: number } | undefined {
    const { state } = this.parts;
    const { next } = state.cutOff;
    const isDue = next !== undefined && (this.#wantedBytes > 0 || next.segment < (state.segments[0]?.segment ?? 0));
    return isDue && state.isStoodFor ? next : undefined;
  }

  /** What is cut off and due; then whole segments whose writes the mirrors hold, oldest first, one at a time; of these none while a view or failover may read from one. */
  freeSegments(effects: JournalEffect[]): void {
    const { state, log, pins } = this.parts;
    if (this.#removing !== undefined || this.#isHeld || !log.isProven) return;
    const cutOff = this.#nextCutOff();
    if (cutOff !== undefined) return this.#remove({ ...cutOff, isCutOff: true }, effects);
    const [oldest, next] = state.segments;
    if (oldest === undefined || pins.hasReader || oldest.segment === log.currentSegment) return;
    // Its first record, the state, stands for what is freed.
    const isStoodFor = next !== undefined && next.bytes > SEGMENT_HEADER_BYTES;
    if (!isStoodFor || oldest.lastSeq > state.snapshot.appliedSeq) return;
    this.#remove({ ...oldest, isCutOff: false }, effects);
  }

  #remove(removing: { readonly segment: number; readonly bytes: number; readonly isCutOff: boolean }, effects: JournalEffect[]): void {
    this.#removing = removing;
    effects.push({ type: 'removeSegment', segment: removing.segment });
  }

  /** A file that could not be removed is found again by the next scan or the next apply. */
  segmentRemoved(isRemoved: boolean, effects: JournalEffect[]): void {
    const removing = this.#removing;
    if (removing === undefined) return; // a leftover of a crash, removed at the start
    this.#removing = undefined;
    if (!isRemoved) return;
    const { state } = this.parts;
    if (removing.isCutOff) {
      state.cutOff.removed(removing.segment);
      this.#wantedBytes -= removing.bytes;
    } else {
      state.dropOldest();
    }
    this.freeSegments(effects);
  }

  #next(effects: JournalEffect[]): void {
    const { state } = this.parts;
    if (this.#isHeld) return;
    const [job] = this.#jobs;
    if (job === undefined) {
      for (const then of this.#afterwards.splice(0)) then(effects);
      return;
    }
    if (this.parts.tail().isEnded) return this.#refuseAll(new JournalError('JOURNAL_ENDED', 'a failover was committed'), effects);
    if (state.snapshot.appliedSeq >= job.throughSeq) {
      this.#jobs.shift();
      effects.push({ type: 'answered', request: job.request, answer: undefined });
      return this.#next(effects);
    }
    const lowest = this.parts.pins.lowest();
    assert(lowest === undefined || lowest.markerSeq > job.throughSeq, 'apply never passes a pin: retirement was refused');
    this.#step(job.throughSeq, effects);
  }

  #step(throughSeq: number, effects: JournalEffect[]): void {
    const { segments, snapshot } = this.parts.state;
    const afterSeq = snapshot.appliedSeq;
    this.#stepSeq = throughSeq;
    const from = segments.find(({ lastSeq }) => lastSeq > afterSeq);
    if (from === undefined) return this.#recordApplied(throughSeq, effects);
    if (this.#readFrom.segment !== from.segment) this.#readFrom = { segment: from.segment, at: SEGMENT_HEADER_BYTES, recordNo: from.firstRecordNo };
    const baseSeqs = snapshot.volumes.map(({ baseSeq }) => baseSeq);
    effects.push({ type: 'mirrorReplay', ...this.#readFrom, endAt: from.endAt, endSeq: from.lastSeq, afterSeq, throughSeq, baseSeqs, bytesMax: STEP_BYTES_MAX });
  }

  #recordApplied(appliedSeq: number, effects: JournalEffect[]): void {
    const record = controlRecord(JournalRecordKind.applied, encodeApplied(appliedSeq), this.parts.tail(), (outcome) => {
      if (outcome === 'durable') this.#isRecorded = true;
      else this.#lostRecord = outcome;
    });
    this.parts.log.push(record, effects);
    if (this.#lostRecord !== undefined) this.wasCutBack(effects);
  }

  #refuseAll(error: JournalError, effects: JournalEffect[]): void {
    for (const { request } of this.#jobs.splice(0)) effects.push({ type: 'refused', request, error });
    for (const then of this.#afterwards.splice(0)) then(effects);
  }
}
