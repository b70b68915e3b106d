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
  readonly added: readonly CatalogueEntry[];
  readonly removed: readonly number[];
}

/** What a statement has written: rows that are new or not as before, and the characters of their tags and VM lists. */
export interface WrittenRows {
  readonly rows: number;
  readonly characters: number;
}

/** Of a copy of the other site's list. */
export interface CopyTerms {
  /** The other site's. */
  readonly revision: number;
  /** Throws when that is too much; then nothing is written. */
  readonly admit?: (written: WrittenRows) => void;
}

/** Of one statement: each is one parameter, whatever it carries. */
const ROWS_MAX = 10_000;

/** What is there already is not written again. */
const INSERT = `WITH written AS (INSERT INTO checkpoints (vpg_id, checkpoint_id, at, tag, kind, epoch, term, vm_ids)
  SELECT $1, checkpoint_id, at, tag, kind, epoch, term, vm_ids
  FROM jsonb_to_recordset($2::jsonb) AS entry (checkpoint_id bigint, at timestamptz, tag text, kind text, epoch int, term bigint, vm_ids jsonb)
  ON CONFLICT (vpg_id, checkpoint_id) DO UPDATE
  SET at = excluded.at, tag = excluded.tag, kind = excluded.kind, epoch = excluded.epoch, term = excluded.term, vm_ids = excluded.vm_ids
  WHERE (checkpoints.at, checkpoints.tag, checkpoints.kind, checkpoints.epoch, checkpoints.term, checkpoints.vm_ids)
    IS DISTINCT FROM (excluded.at, excluded.tag, excluded.kind, excluded.epoch, excluded.term, excluded.vm_ids)
  RETURNING coalesce(length(tag), 0) + length(vm_ids::text) AS characters)
  SELECT count(*) AS rows, coalesce(sum(characters), 0) AS characters FROM written`;

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

  /** All or nothing; without `copy` under the next revision. Answers the revision. */
  async apply(vpgId: string, change: CatalogueChange, copy?: CopyTerms): Promise<number> {
    const summary = await this.database.transaction(async (db) => {
      // One change of a list at a time: a revision is given once, and what a clear has ended stays ended.
      const before = await db.findOne(CatalogueEntity, { where: { vpgId }, lock: { mode: 'pessimistic_write' } });
      const revision = copy?.revision ?? (before?.revision ?? 0) + 1;
      await remove(db, vpgId, change.removed);
      const written = await add(db, vpgId, change.added);
      copy?.admit?.(written);
      const firstListedAt = before?.firstListedAt ?? firstOf(change.added);
      await db.upsert(CatalogueEntity, { vpgId, revision, firstListedAt }, ['vpgId']);
      return await readSummary(db, vpgId);
    });
    this.#summaries.set(vpgId, summary);
    return summary.revision;
  }

  /**
   * The history has ended: what is listed later is as young as its first checkpoint. A list that the other site decides over from now on begins with revision 0, which
   * that site never gives: a copy that said the last number of the old direction could look current in the new one.
   */
  async clear(vpgId: string, { isCopyNext = false }: { readonly isCopyNext?: boolean } = {}): Promise<void> {
    const summary = await this.database.transaction(async (db) => {
      const before = await db.findOne(CatalogueEntity, { where: { vpgId }, lock: { mode: 'pessimistic_write' } });
      await db.delete(CheckpointNoteEntity, { vpgId });
      await db.delete(CheckpointEntity, { vpgId });
      await db.upsert(CatalogueEntity, { vpgId, revision: isCopyNext ? 0 : (before?.revision ?? 0) + 1, firstListedAt: null }, ['vpgId']);
      return await readSummary(db, vpgId);
    });
    this.#summaries.set(vpgId, summary);
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

  async count(vpgId: string): Promise<number> {
    return await this.database.use((db) => db.countBy(CheckpointEntity, { vpgId }));
  }

  /** Those behind `afterId`, oldest first, at most `countMax`. */
  async page(vpgId: string, afterId: number, countMax: number): Promise<CatalogueEntry[]> {
    const rows = await this.database.use((db) =>
      db.createQueryBuilder(CheckpointEntity, 'c').where('c.vpg_id = :vpgId AND c.checkpoint_id > :afterId', { vpgId, afterId }).orderBy('c.checkpoint_id', 'ASC').limit(countMax).getMany());
    return rows.map(fromRow);
  }

  /** The first one behind `afterId` with that tag. */
  async findTagged(vpgId: string, tag: string, afterId: number): Promise<CatalogueEntry | undefined> {
    const row = await this.database.use((db) =>
      db.createQueryBuilder(CheckpointEntity, 'c').where('c.vpg_id = :vpgId AND c.checkpoint_id > :afterId AND c.tag = :tag', { vpgId, afterId, tag }).orderBy('c.checkpoint_id', 'ASC').limit(1).getOne());
    return row ? fromRow(row) : undefined;
  }

  /**
   * A part of the other site's list, as it comes page by page: what is listed behind `afterId`, up to the last of `entries`, or up to the end when `revision` is given: only
   * then the copy is whole, and of that revision. Answers the copy's revision.
   */
  async copyPage(vpgId: string, { afterId, entries, revision, admit }: Pick<CopyTerms, 'admit'> & { readonly afterId: number; readonly entries: readonly CatalogueEntry[]; readonly revision: number | undefined }): Promise<number> {
    const upToId = revision === undefined ? (entries.at(-1)?.checkpointId ?? afterId) : Number.MAX_SAFE_INTEGER;
    const summary = await this.database.transaction(async (db) => {
      const ids = entries.map(({ checkpointId }) => checkpointId);
      await db.query('DELETE FROM checkpoints WHERE vpg_id = $1 AND checkpoint_id > $2 AND checkpoint_id <= $3 AND checkpoint_id <> ALL ($4::bigint[])', [vpgId, afterId, upToId, ids]);
      const written = await add(db, vpgId, entries);
      admit?.(written);
      const before = await db.findOneBy(CatalogueEntity, { vpgId });
      const firstListedAt = before?.firstListedAt ?? firstOf(entries);
      await db.upsert(CatalogueEntity, { vpgId, revision: revision ?? before?.revision ?? 0, firstListedAt }, ['vpgId']);
      return await readSummary(db, vpgId);
    });
    this.#summaries.set(vpgId, summary);
    return summary.revision;
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
    const ids = checkpointIds.slice(at, at + ROWS_MAX);
    await db.query('DELETE FROM checkpoints WHERE vpg_id = $1 AND checkpoint_id = ANY ($2::bigint[])', [vpgId, ids]);
    await db.query('DELETE FROM checkpoint_notes WHERE vpg_id = $1 AND checkpoint_id = ANY ($2::bigint[])', [vpgId, ids]);
  }
}

async function add(db: EntityManager, vpgId: string, entries: readonly CatalogueEntry[]): Promise<WrittenRows> {
  let written: WrittenRows = { rows: 0, characters: 0 };
  for (let at = 0; at < entries.length; at += ROWS_MAX) {
    const [sums] = await db.query<Readonly<Record<keyof WrittenRows, string>>[]>(INSERT, [vpgId, JSON.stringify(entries.slice(at, at + ROWS_MAX).map(toRow))]);
    written = { rows: written.rows + Number(sums?.rows), characters: written.characters + Number(sums?.characters) };
  }
  return written;
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

function toRow({ checkpointId, atMs, tag, kind, epoch, term, vmIds }: CatalogueEntry): object {
  return { checkpoint_id: checkpointId, at: new Date(atMs).toISOString(), tag, kind, epoch, term, vm_ids: vmIds };
}

function fromRow(row: CheckpointEntity): CatalogueEntry {
  return {
    checkpointId: Number(row.checkpointId), atMs: row.at.getTime(), tag: row.tag, kind: row.kind as CatalogueEntry['kind'], epoch: row.epoch,
    term: Number(row.term), vmIds: row.vmIds,
  };
}
