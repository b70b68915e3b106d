import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { notFound, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { CatalogueEntity, CheckpointEntity, CheckpointNoteEntity, ProtectedVmHostEntity, VpgBarrierEntity, VpgEntity, VpgTombstoneEntity, VpgVmEntity } from '../persistence/entities.js';
import { isVisible, type FailoverRecord, type FailoverTestRecord, type VpgDefinition, type VpgRecord, type VpgState } from './vpg-model.js';

export interface BarrierVersion {
  readonly version: number;
  readonly digest: string;
}

/**
 * Every VPG of this site. Memory holds a copy of all rows, because status, desired state and alerts look at them each second; a
 * change reaches PostgreSQL first. Changes of one VPG happen one after the other.
 */
@Injectable()
export class VpgStore implements OnModuleInit {
  readonly #records = new Map<string, VpgRecord>();
  readonly #barriers = new Map<string, BarrierVersion>();
  /** VPGs that were here and are deleted, for good: a site that was away meanwhile must not bring one back. */
  readonly #tombstones = new Set<string>();
  readonly #last = new Map<string, Promise<unknown>>();
  #isLoaded = false;

  constructor(private readonly database: Database) {}

  onModuleInit(): void {
    this.database.onReady(() => this.#load());
  }

  async #load(): Promise<void> {
    if (this.#isLoaded) return;
    const [rows, barriers, tombstones] = await this.database.use((db) => Promise.all([db.find(VpgEntity), db.find(VpgBarrierEntity), db.find(VpgTombstoneEntity)]));
    for (const { vpgId } of tombstones) this.#tombstones.add(vpgId);
    for (const row of rows) this.#records.set(row.vpgId, fromRow(row));
    for (const row of barriers) this.#barriers.set(row.vpgId, { version: row.version, digest: row.digest });
    this.#isLoaded = true;
  }

  /** False until the rows were read once: nothing may be derived from their absence before. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }

  /** With the removed ones. */
  all(): VpgRecord[] {
    return [...this.#records.values()];
  }

  visible(): VpgRecord[] {
    return this.all().filter(isVisible);
  }

  find(vpgId: string): VpgRecord | undefined {
    return this.#records.get(vpgId.toLowerCase());
  }

  /** @throws ZvmError ZVM_DATABASE_DOWN while nothing was read yet: an empty list would be a lie */
  assertLoaded(): void {
    if (!this.#isLoaded) throw new ZvmError('ZVM_DATABASE_DOWN', 'the database of this site does not answer; trying again');
  }

  /** @throws ZvmError ZVM_NOT_FOUND, or ZVM_DATABASE_DOWN while nothing was read yet */
  get(vpgId: string): VpgRecord {
    this.assertLoaded();
    const record = this.find(vpgId);
    if (!record || !isVisible(record)) throw notFound('VPG', vpgId);
    return record;
  }

  /**
   * Stores what `decide` makes of the record that is there then, as it is; undefined leaves that alone. Nothing else happens to this VPG in between: an older record that
   * was looked at before a newer one was written must not land on it. `decide` may throw to refuse.
   */
  async decide(vpgId: string, decide: (known: VpgRecord | undefined) => Promise<VpgRecord | 'forget' | undefined>): Promise<void> {
    await this.#serially(vpgId, async () => {
      const decided = await decide(this.find(vpgId));
      if (decided === 'forget') await this.#forget(vpgId);
      else if (decided) await this.#write(decided);
    });
  }

  /** The next generation of a VPG. `change` may throw to refuse: nothing is written then. */
  async update(vpgId: string, change: (record: VpgRecord) => Omit<VpgRecord, 'generation'>): Promise<VpgRecord> {
    return await this.#serially(vpgId, async () => {
      const record = this.find(vpgId);
      if (!record) throw notFound('VPG', vpgId);
      const next = { ...change(record), generation: record.generation + 1 };
      await this.#write(next);
      return next;
    });
  }

  /** It was here, and was deleted. */
  isForgotten(vpgId: string): boolean {
    return this.#tombstones.has(vpgId.toLowerCase());
  }

  async forget(vpgId: string): Promise<void> {
    await this.#serially(vpgId, () => this.#forget(vpgId));
  }

  async #forget(vpgId: string): Promise<void> {
    await this.database.transaction(async (db) => {
      await db.delete(VpgVmEntity, { vpgId });
      await db.delete(CheckpointEntity, { vpgId });
      await db.delete(CheckpointNoteEntity, { vpgId });
      await db.delete(CatalogueEntity, { vpgId });
      await db.delete(ProtectedVmHostEntity, { vpgId });
      await db.delete(VpgEntity, { vpgId });
      await db.upsert(VpgTombstoneEntity, { vpgId, deletedAt: () => 'now()' }, ['vpgId']);
    });
    this.#records.delete(vpgId);
    this.#tombstones.add(vpgId);
  }

  barrier(vpgId: string): BarrierVersion | undefined {
    return this.#barriers.get(vpgId);
  }

  /** Versions of a VPG's barrier only grow, even when the VPG is removed and made again. */
  async putBarrier(vpgId: string, barrier: BarrierVersion): Promise<void> {
    await this.database.use((db) => db.upsert(VpgBarrierEntity, { vpgId, ...barrier }, ['vpgId']));
    this.#barriers.set(vpgId, barrier);
  }

  async #write(record: VpgRecord): Promise<void> {
    await this.database.transaction(async (db) => {
      await db.upsert(VpgEntity, toRow(record), ['vpgId']);
      await writeVms(db, record.definition);
    });
    this.#records.set(record.definition.vpgId, record);
  }

  async #serially<T>(vpgId: string, work: () => Promise<T>): Promise<T> {
    const previous = this.#last.get(vpgId) ?? Promise.resolve();
    const mine = previous.then(work, work);
    const settled = mine.catch(() => undefined);
    this.#last.set(vpgId, settled);
    try {
      return await mine;
    } finally {
      if (this.#last.get(vpgId) === settled) this.#last.delete(vpgId);
    }
  }
}

async function writeVms(db: EntityManager, { vpgId, vms }: VpgDefinition): Promise<void> {
  await db.delete(VpgVmEntity, { vpgId });
  if (vms.length > 0) await db.insert(VpgVmEntity, vms.map((vm, position) => ({ vpgId, vmId: vm.vmId, name: vm.name, position })));
}

function toRow(record: VpgRecord): VpgEntity {
  const { definition, lastTestAtMs, createdAtMs, ...rest } = record;
  return {
    ...rest,
    vpgId: definition.vpgId,
    name: definition.name,
    protectedSiteId: definition.protectedSiteId,
    recoverySiteId: definition.recoverySiteId,
    definition,
    lastTestAt: lastTestAtMs === null ? null : new Date(lastTestAtMs),
    createdAt: new Date(createdAtMs),
  };
}

function fromRow(row: VpgEntity): VpgRecord {
  return {
    definition: row.definition as VpgDefinition,
    state: row.state as VpgState,
    generation: row.generation,
    epoch: row.epoch,
    epochMax: row.epochMax,
    failover: row.failover as FailoverRecord | null,
    failoverTest: row.failoverTest as FailoverTestRecord | null,
    lastTestAtMs: row.lastTestAt?.getTime() ?? null,
    problem: row.problem,
    createdAtMs: row.createdAt.getTime(),
  };
}
