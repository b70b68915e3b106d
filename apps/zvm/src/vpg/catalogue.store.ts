import { Injectable } from '@nestjs/common';
import type { CatalogueEntryV1 } from '@tidemark/contracts';
import type { EntityManager } from 'typeorm';
import { Database } from '../persistence/database.js';
import { CatalogueEntity, CheckpointEntity, CheckpointNoteEntity } from '../persistence/entities.js';

/** A recoverable checkpoint as both sites list it. */
export type CatalogueEntry = Readonly<CatalogueEntryV1>;

export interface CatalogueSummary {
  readonly revision: number;
  readonly earliest: CatalogueEntry | null;
  readonly latest: CatalogueEntry | null;
  /** null: none was listed yet. */
  readonly firstListedAtMs: number | null;
}

export interface CatalogueChange {
  readonly isWhole: boolean;
  readonly added: readonly CatalogueEntry[];
  readonly removed: readonly number[];
}

/** Below PostgreSQL's limit of 65535 parameters for one statement. */
const ROWS_MAX = 2000;

/** The site's copy of each VPG's checkpoint list, for showing and choosing also while a VRA or the other site is away. */
@Injectable()
export class CatalogueStore {
  readonly #summaries = new Map<string, CatalogueSummary>();

  constructor(private readonly database: Database) {}

  /** undefined: not read yet; see {@link load}. */
  summary(vpgId: string): CatalogueSummary | undefined {
    return this.#summaries.get(vpgId);
  }

  async load(vpgId: string): Promise<CatalogueSummary> {
    const known = this.#summaries.get(vpgId);
    if (known) return known;
    const summary = await this.database.use((db) => readSummary(db, vpgId));
    this.#summaries.set(vpgId, summary);
    return summary;
  }

  /** All or nothing; `revision` is the other site's when this is a copy, else the next one. Answers it. */
  async apply(vpgId: string, change: CatalogueChange, copiedRevision?: number): Promise<number> {
    const summary = await this.database.transaction(async (db) => {
      const before = await db.findOneBy(CatalogueEntity, { vpgId });
      const revision = copiedRevision ?? (before?.revision ?? 0) + 1;
      if (change.isWhole) await db.delete(CheckpointEntity, { vpgId });
      await remove(db, vpgId, change.removed);
      await add(db, vpgId, change.added);
      const firstListedAt = before?.firstListedAt ?? firstOf(change.added);
      await db.upsert(CatalogueEntity, { vpgId, revision, firstListedAt }, ['vpgId']);
      return await readSummary(db, vpgId);
    });
    this.#summaries.set(vpgId, summary);
    return summary.revision;
  }

  /** The history has ended: what is listed later is as young as its first checkpoint. */
  async clear(vpgId: string): Promise<void> {
    await this.database.use((db) => db.delete(CheckpointNoteEntity, { vpgId }));
    await this.apply(vpgId, { isWhole: true, added: [], removed: [] });
    await this.database.use((db) => db.update(CatalogueEntity, { vpgId }, { firstListedAt: null }));
    this.#summaries.delete(vpgId);
    await this.load(vpgId);
  }

  forget(vpgId: string): void {
    this.#summaries.delete(vpgId);
  }

  /** Oldest first. */
  async list(vpgId: string, range: { readonly fromMs?: number | undefined; readonly toMs?: number | undefined } = {}): Promise<CatalogueEntry[]> {
    const rows = await this.database.use((db) => {
      const query = db.createQueryBuilder(CheckpointEntity, 'c').where('c.vpg_id = :vpgId', { vpgId });
      if (range.fromMs !== undefined) query.andWhere('c.at >= :from', { from: new Date(range.fromMs) });
      if (range.toMs !== undefined) query.andWhere('c.at <= :to', { to: new Date(range.toMs) });
      return query.orderBy('c.checkpoint_id', 'ASC').getMany();
    });
    return rows.map(fromRow);
  }

  async find(vpgId: string, checkpointId: number): Promise<CatalogueEntry | undefined> {
    const row = await this.database.use((db) => db.findOneBy(CheckpointEntity, { vpgId, checkpointId: String(checkpointId) }));
    return row ? fromRow(row) : undefined;
  }

  /** What this site adds to a checkpoint's tag, e.g. `Tested at …`. */
  async notes(vpgId: string): Promise<Map<number, string>> {
    const rows = await this.database.use((db) => db.findBy(CheckpointNoteEntity, { vpgId }));
    return new Map(rows.map((row) => [Number(row.checkpointId), row.tag]));
  }

  async note(vpgId: string, checkpointId: number, tag: string): Promise<void> {
    await this.database.use((db) => db.upsert(CheckpointNoteEntity, { vpgId, checkpointId: String(checkpointId), tag }, ['vpgId', 'checkpointId']));
  }
}

async function remove(db: EntityManager, vpgId: string, checkpointIds: readonly number[]): Promise<void> {
  for (let at = 0; at < checkpointIds.length; at += ROWS_MAX) {
    const ids = checkpointIds.slice(at, at + ROWS_MAX).map(String);
    await db.createQueryBuilder().delete().from(CheckpointEntity).where('vpg_id = :vpgId AND checkpoint_id IN (:...ids)', { vpgId, ids }).execute();
    await db.createQueryBuilder().delete().from(CheckpointNoteEntity).where('vpg_id = :vpgId AND checkpoint_id IN (:...ids)', { vpgId, ids }).execute();
  }
}

async function add(db: EntityManager, vpgId: string, entries: readonly CatalogueEntry[]): Promise<void> {
  for (let at = 0; at < entries.length; at += ROWS_MAX) {
    const rows = entries.slice(at, at + ROWS_MAX).map((entry) => toRow(vpgId, entry));
    await db.upsert(CheckpointEntity, rows, ['vpgId', 'checkpointId']);
  }
}

async function readSummary(db: EntityManager, vpgId: string): Promise<CatalogueSummary> {
  const end = async (direction: 'ASC' | 'DESC'): Promise<CatalogueEntry | null> => {
    const row = await db.findOne(CheckpointEntity, { where: { vpgId }, order: { checkpointId: direction } });
    return row ? fromRow(row) : null;
  };
  const catalogue = await db.findOneBy(CatalogueEntity, { vpgId });
  const firstListedAtMs = catalogue?.firstListedAt?.getTime() ?? null;
  return { revision: catalogue?.revision ?? 0, earliest: await end('ASC'), latest: await end('DESC'), firstListedAtMs };
}

function firstOf(entries: readonly CatalogueEntry[]): Date | null {
  return entries.length === 0 ? null : new Date(entries.reduce((least, entry) => Math.min(least, entry.atMs), Infinity));
}

function toRow(vpgId: string, entry: CatalogueEntry): CheckpointEntity {
  return {
    vpgId, checkpointId: String(entry.checkpointId), at: new Date(entry.atMs), tag: entry.tag, kind: entry.kind, epoch: entry.epoch,
    term: String(entry.term), vmIds: [...entry.vmIds],
  };
}

function fromRow(row: CheckpointEntity): CatalogueEntry {
  return {
    checkpointId: Number(row.checkpointId), atMs: row.at.getTime(), tag: row.tag, kind: row.kind as CatalogueEntry['kind'], epoch: row.epoch,
    term: Number(row.term), vmIds: row.vmIds,
  };
}
