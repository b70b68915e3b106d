import { MiB } from '@tidemark/base';
import { ReadCache } from '@tidemark/journal-file';
import { CREDIT_BYTES_MIN, MemoryBudget, MemoryPool, type BudgetShare } from '@tidemark/replication';
import { payloadPool } from '@tidemark/sys';
import { EngineError } from './engine-error.js';

/** Parts of the pool that a role may fill (reference §2.1). */
const CAPTURING_SHARE = 0.9;
const RECEIVING_SHARE = 0.75;
/** The read cache is half the size of the pool, beside it, within these. */
const READ_CACHE_BYTES = { min: 32 * MiB, max: 256 * MiB };

/** The VRA's pool of memory for replicated data, and what each role may fill of it. Both together never fill more than the pool. */
export interface EngineMemory {
  readonly pool: MemoryPool;
  /** Captured and not durable at the recovery site, by protection. */
  readonly capturing: MemoryBudget;
  /** Credit given to senders, and what was received and is not durable, by recovery. */
  readonly receiving: MemoryBudget;
  /** What views of all journals have read last: pages of indexes and of their fences, frames. The views themselves take next to nothing. */
  readonly readCache: ReadCache;
}

/** `captureBytesMax` are the nine tenths that capturing may fill. */
export function engineMemory(captureBytesMax: number): EngineMemory {
  const pool = new MemoryPool(Math.ceil(captureBytesMax / CAPTURING_SHARE));
  const readCache = new ReadCache(Math.min(READ_CACHE_BYTES.max, Math.max(READ_CACHE_BYTES.min, Math.floor(pool.limitBytes / 2))));
  return { pool, capturing: new MemoryBudget(captureBytesMax, pool), receiving: new MemoryBudget(Math.floor(pool.limitBytes * RECEIVING_SHARE), pool), readCache };
}

/**
 * Whose guarantee is less than the smallest credit may wait for ever: credit is given back by streams that end, not by those that are quiet.
 * @throws EngineError VRA_MEMORY: there is room for no more streams
 */
export function assertRoomForRecovery({ receiving }: EngineMemory): void {
  const { most, taken } = receiving.sharesOf(CREDIT_BYTES_MIN);
  if (taken < most) return;
  throw new EngineError('VRA_MEMORY', `this VRA has memory to recover ${String(most)} VMs and recovers ${String(taken)}: recover this one at another host, or give the VRA more memory (TIDEMARK_MEMORY_MIB) and start it again`);
}

export interface VpgMemory {
  readonly vpgId: string;
  readonly usedBytes: number;
  /** What the VPG's protections are sure of; beyond it they have what others leave. */
  readonly guaranteedBytes: number;
}

export interface RoleMemory {
  readonly usedBytes: number;
  readonly limitBytes: number;
  readonly vpgs: readonly VpgMemory[];
}

/** Of the memory for replicated data: who uses how much. */
export interface MemoryStatus {
  /** Both roles together never use more. */
  readonly poolBytes: number;
  /** Used before and kept ready, beside the pool: at most 128 MiB after a burst, 32 MiB a second later. */
  readonly readyBytes: number;
  /** Captured, not durable at the recovery site. */
  readonly protecting: RoleMemory;
  /** Credit that senders were given, and what came and is not durable. */
  readonly recovering: RoleMemory;
}

export interface UsedMemory {
  readonly vpgId: string;
  readonly share: Pick<BudgetShare, 'usedBytes' | 'guaranteedBytes'>;
}

export function memoryStatus({ pool, capturing, receiving }: EngineMemory, used: { readonly protecting: readonly UsedMemory[]; readonly recovering: readonly UsedMemory[] }): MemoryStatus {
  return { poolBytes: pool.limitBytes, readyBytes: payloadPool.readyBytes, protecting: roleMemory(capturing, used.protecting), recovering: roleMemory(receiving, used.recovering) };
}

function roleMemory({ usedBytes, limitBytes }: MemoryBudget, used: readonly UsedMemory[]): RoleMemory {
  const vpgs = new Map<string, VpgMemory>();
  for (const { vpgId, share } of used) {
    const before = vpgs.get(vpgId);
    vpgs.set(vpgId, { vpgId, usedBytes: (before?.usedBytes ?? 0) + share.usedBytes, guaranteedBytes: (before?.guaranteedBytes ?? 0) + share.guaranteedBytes });
  }
  return { usedBytes, limitBytes, vpgs: [...vpgs.values()] };
}
