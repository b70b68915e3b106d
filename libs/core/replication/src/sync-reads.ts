import { BLOCK_BYTES, KiB, MiB } from '@tidemark/base';
import type { SyncRead, SyncWalk } from '@tidemark/sync';
import type { BudgetShare } from './memory-budget.js';
import { RECORD_OVERHEAD_BYTES, RECORD_PAYLOAD_BYTES_MAX, type SendQueue } from './send-queue.js';

/** One read of a sync. Longer ones gain little on SSDs and are voided more often by the guest's writes. */
export const SYNC_READ_BYTES_MAX = 256 * KiB;
/** Sync bytes being read or queued and not sent: enough to keep the link busy while reads take 10 ms at 400 MB/s. */
export const SYNC_AHEAD_BYTES_MAX = 4 * MiB;
/** With more than this of guest writes unsent, only one piece of the sync is under way at a time: guest writes go first. */
export const SYNC_YIELD_BYTES = 1 * MiB;

/** Sync reads that the host has not answered, with the memory reserved for each. */
export class SyncReads {
  readonly #reservedBytes = new Map<number, number>();

  constructor(
    private readonly budget: BudgetShare,
    private readonly walk: SyncWalk,
    private readonly queue: SendQueue,
  ) {}

  next(): SyncRead | undefined {
    const aheadBytes = this.walk.readingBytes + this.queue.unsentSyncBytes;
    const aheadMax = this.queue.unsentOtherBytes > SYNC_YIELD_BYTES ? 1 : SYNC_AHEAD_BYTES_MAX;
    if (aheadBytes >= aheadMax) return undefined;
    const bytesMax = this.#reserve();
    if (bytesMax === 0) return undefined;
    const read = this.walk.nextRead(bytesMax);
    const reservedBytes = read === undefined ? 0 : costOf(read.length);
    this.budget.release(costOf(bytesMax) - reservedBytes);
    if (read !== undefined) this.#reservedBytes.set(read.readId, reservedBytes);
    return read;
  }

  release(readId: number): void {
    this.budget.release(this.#reservedBytes.get(readId) ?? 0);
    this.#reservedBytes.delete(readId);
  }

  /** The budget is closed next, which gives the memory back: reads that end late release nothing. */
  clear(): void {
    this.#reservedBytes.clear();
  }

  /**
   * Memory for a sync read, as much as there is: a length in whole blocks, or 0. With the overhead of the records that it becomes: reads that
   * fill the budget to the byte would otherwise all fall back to their bitmap, be read again, and so on for ever.
   */
  #reserve(): number {
    for (let bytes = SYNC_READ_BYTES_MAX; bytes >= BLOCK_BYTES; bytes /= 2) {
      if (this.budget.tryReserve(costOf(bytes))) return bytes;
    }
    return 0;
  }
}

const costOf = (bytes: number): number => bytes + Math.ceil(bytes / RECORD_PAYLOAD_BYTES_MAX) * RECORD_OVERHEAD_BYTES;
