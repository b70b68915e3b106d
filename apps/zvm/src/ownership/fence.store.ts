import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { Fence } from '@tidemark/vpg';
import type { EntityManager } from 'typeorm';
import { Database } from '../persistence/database.js';
import { VpgFenceEntity } from '../persistence/entities.js';

export interface VpgFence extends Fence {
  readonly vpgId: string;
  readonly vpgName: string;
  readonly ownerSiteId: string;
  readonly ownerSiteName: string;
  readonly fencedAtMs: number;
  readonly liftedAtMs: number | null;
  readonly liftedBy: string | null;
}

/** Fences of this site; memory holds a copy of all rows, and a change reaches PostgreSQL first. */
@Injectable()
export class FenceStore implements OnModuleInit {
  readonly #fences = new Map<string, VpgFence>();
  #isLoaded = false;

  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.onReady(async () => {
      if (this.#isLoaded) return;
      for (const row of await this.database.use((db) => db.find(VpgFenceEntity))) this.#fences.set(row.vpgId, fromRow(row));
      this.#isLoaded = true;
    });
  }

  /** False until the rows were read once: a VRA that is told too early would let fenced VMs write. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  all(): VpgFence[] {
    return [...this.#fences.values()];
  }

  find(vpgId: string): VpgFence | undefined {
    return this.#fences.get(vpgId.toLowerCase());
  }

  /** `account` is done in the same transaction. */
  async put(fence: VpgFence, account?: (db: EntityManager) => Promise<void>): Promise<void> {
    await this.database.transaction(async (db) => {
      await db.upsert(VpgFenceEntity, toRow(fence), ['vpgId']);
      await account?.(db);
    });
    this.#fences.set(fence.vpgId, fence);
  }

  async remove(vpgId: string, account: (db: EntityManager) => Promise<void>): Promise<void> {
    await this.database.transaction(async (db) => {
      await db.delete(VpgFenceEntity, { vpgId });
      await account(db);
    });
    this.#fences.delete(vpgId);
  }
}

function toRow({ isLifted: _, fencedAtMs, liftedAtMs, vmIds, ...rest }: VpgFence): VpgFenceEntity {
  return { ...rest, vmIds: [...vmIds], fencedAt: new Date(fencedAtMs), liftedAt: liftedAtMs === null ? null : new Date(liftedAtMs) };
}

function fromRow({ fencedAt, liftedAt, ...rest }: VpgFenceEntity): VpgFence {
  return { ...rest, isLifted: liftedAt !== null, fencedAtMs: fencedAt.getTime(), liftedAtMs: liftedAt?.getTime() ?? null };
}
