import { MemoryBudget, MemoryPool } from '@tidemark/replication';

/** Parts of the pool that a role may fill (reference §2.1). */
const CAPTURING_SHARE = 0.9;
const RECEIVING_SHARE = 0.75;

/** The VRA's pool of memory for replicated data, and what each role may fill of it. Both together never fill more than the pool. */
export interface EngineMemory {
  readonly pool: MemoryPool;
  /** Captured and not durable at the recovery site, by protection. */
  readonly capturing: MemoryBudget;
  /** Credit given to senders, and what was received and is not durable, by recovery. */
  readonly receiving: MemoryBudget;
}

/** `captureBytesMax` are the nine tenths that capturing may fill. */
export function engineMemory(captureBytesMax: number): EngineMemory {
  const pool = new MemoryPool(Math.ceil(captureBytesMax / CAPTURING_SHARE));
  return { pool, capturing: new MemoryBudget(captureBytesMax, pool), receiving: new MemoryBudget(Math.floor(pool.limitBytes * RECEIVING_SHARE), pool) };
}
