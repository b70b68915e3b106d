import { assert } from '@tidemark/base';
import { isVolumeRecord, type StreamRecord } from '@tidemark/frame';
import { controlRecord, type CommitLog } from './commit-log.js';
import { encodeDirect, type SyncPhase } from './control-bodies.js';
import { JournalRecordKind, JOURNAL_RECORD_HEADER_BYTES } from './layout.js';
import type { PendingRecord } from './journal-writer.js';
import type { JournalEffect } from './types.js';

/** A record on its way into the journal, in the order in which it was taken in. */
export interface InboxItem {
  readonly record: PendingRecord;
  readonly syncAfter: SyncPhase;
  /** Of the frame with which the base becomes complete: how many of its records, up to its syncEnd, belong to the base. */
  readonly baseRecords: number | undefined;
}

/** Frames of one mirror sync: bounds memory and how long an ack waits. */
const BATCH_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Until the base is complete frames go straight into the mirrors: write, sync the mirrors, then a record without data makes the position
 * durable. Everything else passes through, in order. The frame that ends the base is written both ways, its rest is journal only.
 */
export class DirectWriter {
  #inbox: InboxItem[] = [];
  #batch: InboxItem[] = [];
  /** The mirror effect in flight belongs to a batch that was given up: its completion must not count for another one. */
  #isAbandoned = false;
  /** The mirrors failed: nothing goes on before `discard`. */
  #hasFailed = false;

  constructor(
    private readonly log: CommitLog,
    private isBaseComplete: boolean,
  ) {}

  /** A mirror effect of this writer is in flight. */
  get isBusy(): boolean {
    return this.#batch.length > 0 || this.#isAbandoned;
  }

  push(item: InboxItem, effects: JournalEffect[]): void {
    this.#inbox.push(item);
    this.#pump(effects);
  }

  mirrorDone(type: 'mirrorWritten' | 'mirrorSynced', effects: JournalEffect[]): void {
    assert(this.isBusy, 'a direct batch in flight');
    if (this.#isAbandoned) {
      this.#isAbandoned = false;
      this.#pump(effects);
      return;
    }
    if (type === 'mirrorWritten') {
      effects.push({ type: 'mirrorSync' });
      return;
    }
    const batch = this.#batch;
    this.#batch = [];
    this.#record(batch, effects);
    this.#pump(effects);
  }

  /** True: the journal has to be cut back. False: the failure concerns a batch that was given up already. */
  mirrorFailed(effects: JournalEffect[]): boolean {
    if (!this.#isAbandoned) {
      this.#batch = [];
      this.#hasFailed = true;
      return true;
    }
    this.#isAbandoned = false;
    this.#pump(effects);
    return false;
  }

  /** Forgets what is on its way; the records are settled. */
  discard(outcome: 'full' | 'failed', isBaseComplete: boolean): void {
    const lost = this.#inbox;
    this.#inbox = [];
    this.#isAbandoned ||= this.#batch.length > 0;
    this.#batch = [];
    this.#hasFailed = false;
    this.isBaseComplete = isBaseComplete;
    for (const { record } of lost) record.settle?.(outcome);
  }

  #pump(effects: JournalEffect[]): void {
    while (!this.isBusy && !this.#hasFailed) {
      const item = this.#inbox[0];
      if (item === undefined) return;
      if (item.record.frame !== undefined && !this.isBaseComplete) {
        this.#startBatch(effects);
        return;
      }
      this.#inbox.shift();
      this.log.push(item.record, effects);
    }
  }

  #startBatch(effects: JournalEffect[]): void {
    const records: StreamRecord[] = [];
    let bytes = 0;
    for (const item of this.#inbox) {
      if (item.record.frame === undefined || bytes >= BATCH_BYTES_MAX) break;
      this.#batch.push(item);
      bytes += item.record.frame.rawBytes + JOURNAL_RECORD_HEADER_BYTES;
      records.push(...item.record.records.slice(0, item.baseRecords).filter(({ type }) => isVolumeRecord(type)));
      if (item.baseRecords !== undefined) break;
    }
    this.#inbox = this.#inbox.slice(this.#batch.length);
    effects.push({ type: 'mirrorWrite', records });
  }

  /** The mirrors hold the batch durably. */
  #record(batch: readonly InboxItem[], effects: JournalEffect[]): void {
    const plain = batch.filter(({ baseRecords }) => baseRecords === undefined);
    const [first] = plain;
    const last = plain.at(-1);
    if (first !== undefined && last !== undefined) {
      const position = { epoch: last.record.epoch, incarnation: last.record.incarnation, lastSeq: last.record.lastSeq };
      const record = controlRecord(JournalRecordKind.direct, encodeDirect(last.syncAfter), position);
      this.log.push({ ...record, firstSeq: first.record.firstSeq }, effects);
    }
    const ending = batch.find(({ baseRecords }) => baseRecords !== undefined);
    if (ending === undefined) return;
    this.isBaseComplete = true;
    this.log.push({ ...ending.record, kind: JournalRecordKind.baseFrame }, effects);
  }
}
