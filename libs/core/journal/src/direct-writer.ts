import { assert } from '@tidemark/base';
import type { StreamRecord } from '@tidemark/frame';
import { controlRecord, type CommitLog } from './commit-log.js';
import { encodeDirect } from './control-bodies.js';
import { JournalRecordKind, JOURNAL_RECORD_HEADER_BYTES } from './layout.js';
import type { PendingRecord } from './journal-writer.js';
import type { JournalEffect } from './types.js';
import type { FrameRoute } from './volume-set.js';

/** A record on its way into the journal, in the order in which it was taken in. */
export interface InboxItem {
  readonly record: PendingRecord;
  /** Of frames. */
  readonly route: Pick<FrameRoute, 'form' | 'mirrorRecords' | 'syncAfter'> | undefined;
}

/** Frames of one mirror sync: bounds memory and how long an ack waits. */
const BATCH_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Until the base is complete frames go straight into the mirrors: write, sync the mirrors, then a record without data makes the position
 * durable. So do the records of a volume that is being added later; a frame that holds others as well is journalled whole behind that. One batch is
 * written while the one before it is synced: a sync covers the batches whose writes had ended when it was issued. Everything else passes through, in order.
 */
export class DirectWriter {
  #inbox: InboxItem[] = [];
  /** Its `mirrorWrite` is in flight. */
  #writing: InboxItem[] = [];
  /** Written, and waiting for a sync. */
  #written: InboxItem[] = [];
  /** Their `mirrorSync` is in flight. */
  #syncing: InboxItem[] = [];
  /** Mirror effects in flight of batches that were given up: their completions must not count for other ones. */
  #abandonedCount = 0;
  /** The mirrors failed: nothing goes on before `discard`. */
  #hasFailed = false;

  constructor(private readonly log: CommitLog) {}

  /** A mirror effect of this writer is in flight. */
  get isBusy(): boolean {
    return this.#inFlightCount > 0 || this.#abandonedCount > 0;
  }

  get #inFlightCount(): number {
    return Math.min(1, this.#writing.length) + Math.min(1, this.#syncing.length);
  }

  push(item: InboxItem, effects: JournalEffect[]): void {
    this.#inbox.push(item);
    this.#pump(effects);
  }

  mirrorDone(type: 'mirrorWritten' | 'mirrorSynced', effects: JournalEffect[]): void {
    assert(this.isBusy, 'a direct batch in flight');
    if (this.#abandonedCount > 0) {
      this.#abandonedCount -= 1;
    } else if (type === 'mirrorWritten') {
      this.#written = [...this.#written, ...this.#writing];
      this.#writing = [];
    } else {
      const batch = this.#syncing;
      this.#syncing = [];
      this.#record(batch, effects);
    }
    this.#startSync(effects);
    this.#pump(effects);
  }

  /** True: the journal has to be cut back. False: the failure concerns a batch that was given up already. */
  mirrorFailed(effects: JournalEffect[]): boolean {
    if (this.#abandonedCount > 0) {
      this.#abandonedCount -= 1;
      this.#pump(effects);
      return false;
    }
    this.#abandonedCount = this.#inFlightCount - 1;
    this.#dropBatches();
    this.#hasFailed = true;
    return true;
  }

  /** Forgets what is on its way; the records are settled. */
  discard(outcome: 'full' | 'failed'): void {
    const lost = this.#inbox;
    this.#inbox = [];
    this.#abandonedCount += this.#inFlightCount;
    this.#dropBatches();
    this.#hasFailed = false;
    for (const { record } of lost) record.settle?.(outcome);
  }

  #dropBatches(): void {
    this.#writing = [];
    this.#written = [];
    this.#syncing = [];
  }

  #startSync(effects: JournalEffect[]): void {
    if (this.#syncing.length > 0 || this.#written.length === 0) return;
    this.#syncing = this.#written;
    this.#written = [];
    effects.push({ type: 'mirrorSync', owner: 'direct' });
  }

  #pump(effects: JournalEffect[]): void {
    while (this.#abandonedCount === 0 && !this.#hasFailed) {
      const item = this.#inbox[0];
      if (item === undefined) return;
      if (item.route?.mirrorRecords !== undefined) {
        if (this.#writing.length === 0) this.#startBatch(effects);
        return;
      }
      if (this.#inFlightCount > 0) return;
      this.#inbox.shift();
      this.log.push(item.record, effects);
    }
  }

  #startBatch(effects: JournalEffect[]): void {
    const records: StreamRecord[] = [];
    let bytes = 0;
    for (const item of this.#inbox) {
      if (item.route?.mirrorRecords === undefined || bytes >= BATCH_BYTES_MAX) break;
      this.#writing.push(item);
      bytes += (item.record.frame?.rawBytes ?? 0) + JOURNAL_RECORD_HEADER_BYTES;
      for (const record of item.route.mirrorRecords) records.push(record);
    }
    this.#inbox = this.#inbox.slice(this.#writing.length);
    effects.push({ type: 'mirrorWrite', records });
  }

  /** The mirrors hold the batch durably. */
  #record(batch: readonly InboxItem[], effects: JournalEffect[]): void {
    let direct: InboxItem[] = [];
    for (const item of batch) {
      if (item.route?.form === 'direct') {
        direct.push(item);
        continue;
      }
      this.#recordDirect(direct, effects);
      direct = [];
      const kind = item.route?.form === 'baseFrame' ? JournalRecordKind.baseFrame : item.record.kind;
      this.log.push({ ...item.record, kind }, effects);
    }
    this.#recordDirect(direct, effects);
  }

  /** One record for all of them: they follow one another. */
  #recordDirect(items: readonly InboxItem[], effects: JournalEffect[]): void {
    const [first] = items;
    const last = items.at(-1);
    if (first === undefined || last?.route === undefined) return;
    const position = { epoch: last.record.epoch, incarnation: last.record.incarnation, lastSeq: last.record.lastSeq };
    const record = controlRecord(JournalRecordKind.direct, encodeDirect(last.route.syncAfter), position);
    this.log.push({ ...record, firstSeq: first.record.firstSeq }, effects);
    // Their bytes are durable where they belong; the position follows.
    for (const { record: written } of items) written.settle?.('durable');
  }
}
