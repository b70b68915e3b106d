import { assert, KiB, type SharedMemory } from '@tidemark/base';
import { FRAME_BODY_BYTES_MAX, FRAME_RECORDS_MAX, RECORD_LENGTH_MAX, recordRawBytes, RecordType, type StreamRecord } from '@tidemark/frame';
import type { BudgetShare } from './memory-budget.js';

/** What a record costs beside its payload: the object, its slot, its descriptor. Bounds queues of records without payload too. */
export const RECORD_OVERHEAD_BYTES = 160;

/**
 * Longer writes and sync blocks become several records: the smallest credit that a receiver gives takes one (CREDIT_BYTES_MIN), so nothing is ever
 * sent beyond its memory. 1500 streams with one each are 96 MiB, inside the guarantees of the smallest appliance.
 */
export const RECORD_PAYLOAD_BYTES_MAX = 64 * KiB;

/** Records leave the array in lumps, so that taking one from the front costs nothing. */
const COMPACT_COUNT = 1024;

const isSync = (record: StreamRecord): boolean => record.type === RecordType.syncWrite || record.type === RecordType.syncZeroes;
const rawBytesOf = (record: StreamRecord): number => recordRawBytes(record.payload?.byteLength ?? 0);
const costOf = (record: StreamRecord): number => RECORD_OVERHEAD_BYTES + (record.payload?.byteLength ?? 0);

type RecordPlace = Pick<StreamRecord, 'type' | 'volume'>;

export interface SendLimits {
  /** Of the frame; a longer record goes alone. */
  readonly rawBytesMax: number;
  /** What the receiver takes beyond what is under way. */
  readonly creditLeftBytes: number;
  /** The first record may be longer than the credit: nothing is under way. */
  readonly isFirstFree: boolean;
}

/** A run of unsent records that was just sent. */
export interface SentBatch {
  readonly firstSeq: number;
  readonly records: readonly StreamRecord[];
  readonly rawBytes: number;
}

/**
 * The records of one stream that are not durable remotely, in order, each with the next sequence number. Memory comes from the budget;
 * records stay until they are acknowledged and are sent again after a reconnect.
 */
export class SendQueue {
  /** undefined: acknowledged, so that its payload can be freed. */
  #records: (StreamRecord | undefined)[] = [];
  /** Index of the oldest record in #records. */
  #head = 0;
  #sentCount = 0;
  #sentRawBytes = 0;
  #unsentSyncBytes = 0;
  #unsentOtherBytes = 0;
  #volumeBytes = 0;
  #syncBytes = 0;
  #costBytes = 0;
  #firstSeq = 1;

  constructor(
    private readonly budget: BudgetShare,
    private readonly memory: SharedMemory | undefined,
  ) {}

  get count(): number {
    return this.#records.length - this.#head;
  }

  /** Sequence number of the oldest record; that of the next one, if there is none. */
  get firstSeq(): number {
    return this.#firstSeq;
  }

  get lastSeq(): number {
    return this.#firstSeq + this.count - 1;
  }

  /** Highest number that was sent since the last {@link unsend}; firstSeq - 1 if none. */
  get sentSeq(): number {
    return this.#firstSeq + this.#sentCount - 1;
  }

  /** Raw bytes sent and not acknowledged: what counts against the credit. */
  get sentRawBytes(): number {
    return this.#sentRawBytes;
  }

  /** Bytes of volumes that the records cover. */
  get volumeBytes(): number {
    return this.#volumeBytes;
  }

  /** Of those, covered by sync blocks. */
  get syncBytes(): number {
    return this.#syncBytes;
  }

  get unsentSyncBytes(): number {
    return this.#unsentSyncBytes;
  }

  get unsentOtherBytes(): number {
    return this.#unsentOtherBytes;
  }

  get oldest(): StreamRecord | undefined {
    return this.#records[this.#head];
  }

  /** Gives the record the next sequence number; false if the budget has no room for it. */
  tryPush(record: StreamRecord): boolean {
    const costBytes = costOf(record);
    if (!this.budget.tryReserve(costBytes)) return false;
    this.#costBytes += costBytes;
    if (record.payload !== undefined) this.memory?.retain(record.payload);
    this.#records.push(record);
    this.#countUnsent(record, 1);
    if (isSync(record)) this.#syncBytes += record.length;
    this.#volumeBytes += record.length;
    return true;
  }

  /** Bytes from `offset` on, in as many records as it takes; false when the budget ended on the way. */
  tryPushBytes({ type, volume }: RecordPlace, offset: number, bytes: Uint8Array): boolean {
    const { byteLength } = bytes;
    if (byteLength <= RECORD_PAYLOAD_BYTES_MAX) return this.tryPush({ type, volume, offset, length: byteLength, payload: bytes });
    for (let at = 0; at < byteLength; at += RECORD_PAYLOAD_BYTES_MAX) {
      const payload = bytes.subarray(at, Math.min(at + RECORD_PAYLOAD_BYTES_MAX, byteLength));
      if (!this.tryPush({ type, volume, offset: offset + at, length: payload.byteLength, payload })) return false;
    }
    return true;
  }

  /** As {@link tryPushBytes}, for `[start, end)`. */
  tryPushZeroes({ type, volume }: RecordPlace, start: number, end: number): boolean {
    for (let offset = start; offset < end; offset += RECORD_LENGTH_MAX) {
      const length = Math.min(RECORD_LENGTH_MAX, end - offset);
      if (!this.tryPush({ type, volume, offset, length, payload: undefined })) return false;
    }
    return true;
  }

  /** The next unsent records; they count as sent from now on. */
  send(limits: SendLimits): SentBatch | undefined {
    const firstIndex = this.#head + this.#sentCount;
    const bytesMax = Math.min(limits.rawBytesMax, limits.creditLeftBytes, FRAME_BODY_BYTES_MAX);
    const endMax = Math.min(this.#records.length, firstIndex + FRAME_RECORDS_MAX);
    const records: StreamRecord[] = [];
    let rawBytes = 0;
    for (let index = firstIndex; index < endMax; index += 1) {
      const record = this.#records[index];
      assert(record !== undefined, 'unsent record');
      const bytes = rawBytesOf(record);
      const isFitting = rawBytes + bytes <= bytesMax || (records.length === 0 && (limits.isFirstFree || bytes <= limits.creditLeftBytes));
      if (!isFitting) break;
      rawBytes += bytes;
      records.push(record);
      this.#countUnsent(record, -1);
    }
    if (records.length === 0) return undefined;
    const firstSeq = this.#firstSeq + this.#sentCount;
    this.#sentCount += records.length;
    this.#sentRawBytes += rawBytes;
    return { firstSeq, records, rawBytes };
  }

  /**
   * Forgets records up to `seq`, which the other end has received: nothing of this process looks at their payloads any more, so the memory is
   * released. (What {@link reset} drops may still wait in a socket or in a codec: the collector has that.)
   */
  acknowledge(seq: number): void {
    while (this.count > 0 && this.#firstSeq <= seq) this.#shift();
    if (this.#head >= COMPACT_COUNT && this.#head * 2 >= this.#records.length) {
      this.#records = this.#records.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Everything is to be sent again: the connection is gone. */
  unsend(): void {
    for (let index = this.#head; index < this.#head + this.#sentCount; index += 1) {
      const record = this.#records[index];
      if (record !== undefined) this.#countUnsent(record, 1);
    }
    this.#sentCount = 0;
    this.#sentRawBytes = 0;
  }

  /** The records, oldest first. */
  *all(): Iterable<StreamRecord> {
    for (let index = this.#head; index < this.#records.length; index += 1) {
      const record = this.#records[index];
      if (record !== undefined) yield record;
    }
  }

  /** Drops everything; the next record gets `nextSeq`. */
  reset(nextSeq: number): void {
    this.budget.release(this.#costBytes);
    this.#records = [];
    this.#head = 0;
    this.#sentCount = 0;
    this.#sentRawBytes = 0;
    this.#unsentSyncBytes = 0;
    this.#unsentOtherBytes = 0;
    this.#volumeBytes = 0;
    this.#syncBytes = 0;
    this.#costBytes = 0;
    this.#firstSeq = nextSeq;
  }

  #shift(): void {
    const record = this.#records[this.#head];
    assert(record !== undefined, 'oldest record of the queue');
    this.#records[this.#head] = undefined;
    this.#head += 1;
    this.#firstSeq += 1;
    if (this.#sentCount > 0) {
      this.#sentCount -= 1;
      this.#sentRawBytes -= rawBytesOf(record);
    } else {
      this.#countUnsent(record, -1);
    }
    if (isSync(record)) this.#syncBytes -= record.length;
    this.#volumeBytes -= record.length;
    const costBytes = costOf(record);
    this.#costBytes -= costBytes;
    this.budget.release(costBytes);
    if (record.payload !== undefined) this.memory?.release(record.payload);
  }

  #countUnsent(record: StreamRecord, sign: 1 | -1): void {
    if (isSync(record)) this.#unsentSyncBytes += sign * rawBytesOf(record);
    else this.#unsentOtherBytes += sign * rawBytesOf(record);
  }
}
