import { Inject, Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import type { AuditEntry, AuditResult, ChainedEntry, ChainHead } from './audit-entry.js';
import { genesisOf, linked } from './chain.js';

/** Held while entries are appended: two ZVMs (one that ends, one that starts) still make one chain. */
const CHAIN_LOCK = 0x6175_6469;
const PAGE = 500;

export interface AuditFilter {
  readonly fromMs?: number | undefined;
  readonly toMs?: number | undefined;
  readonly user?: string | undefined;
  /** Part of it. */
  readonly action?: string | undefined;
  readonly entity?: string | undefined;
  readonly result?: AuditResult | undefined;
}

const SELECT = `
  SELECT seq, entry, hash FROM audit_entries WHERE ($1::bigint IS NULL OR at_ms >= $1) AND ($2::bigint IS NULL OR at_ms <= $2)
    AND ($3::text IS NULL OR lower(entry ->> 'user') = lower($3)) AND ($4::text IS NULL OR strpos(lower(entry ->> 'action'), lower($4)) > 0)
    AND ($5::text IS NULL OR entry -> 'entities' ? $5) AND ($6::text IS NULL OR entry ->> 'result' = $6)`;

interface Row {
  readonly seq: string;
  readonly entry: AuditEntry;
  readonly hash: string;
}

const fromRow = ({ seq, entry, hash }: Row): ChainedEntry => ({ seq: Number(seq), entry, hash });

export interface Appended {
  readonly head: ChainHead;
  /** What should have been in the database and was not. */
  readonly lost: ChainHead | null;
}

/** Entries as PostgreSQL keeps them: appended, read, never changed. */
@Injectable()
export class AuditStore {
  constructor(
    private readonly database: Database,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  get genesis(): ChainHead {
    return genesisOf(this.config.siteId);
  }

  /**
   * Links what was staged, and `entries`, to the chain in one transaction; those that are there already (their `id`) are left out. `expected` is the
   * last link that the caller knows of: when it is not there, `onLost` gives the entry that says so, and numbers go on after it.
   */
  async append(entries: readonly AuditEntry[], expected: ChainHead | null, onLost: (lost: ChainHead, found: ChainHead) => AuditEntry): Promise<Appended> {
    return await this.database.transaction(async (db) => {
      await db.query('SELECT pg_advisory_xact_lock($1)', [CHAIN_LOCK]);
      const last = await this.#last(db);
      const lost = expected === null || (await this.#has(db, expected)) ? null : expected;
      const fresh = await this.#fresh(db, [...(await takeStaged(db)), ...entries]);
      const before = lost === null ? last : { seq: Math.max(last.seq, lost.seq), hash: last.hash };
      const chained = linked(before, lost === null ? fresh : [onLost(lost, last), ...fresh]);
      for (const { seq, entry, hash } of chained) await db.query('INSERT INTO audit_entries (seq, entry, hash) VALUES ($1, $2, $3)', [seq, JSON.stringify(entry), hash]);
      return { head: chained.at(-1) ?? last, lost };
    });
  }

  /** Of two with one id the first counts. */
  async #fresh(db: EntityManager, entries: readonly AuditEntry[]): Promise<readonly AuditEntry[]> {
    const byId = new Map(entries.toReversed().map((entry) => [entry.id, entry]));
    const known: { id: string }[] = await db.query(`SELECT entry ->> 'id' AS id FROM audit_entries WHERE entry ->> 'id' = ANY($1)`, [[...byId.keys()]]);
    for (const { id } of known) byId.delete(id);
    return entries.filter((entry) => byId.get(entry.id) === entry);
  }

  /** In the caller's transaction: there with its change, or not at all. The next {@link append} takes it into the chain. */
  async stage(db: EntityManager, entry: AuditEntry): Promise<void> {
    await db.query('INSERT INTO audit_outbox (entry) VALUES ($1)', [JSON.stringify(entry)]);
  }

  async hasStaged(): Promise<boolean> {
    const rows: unknown[] = await this.database.use((db) => db.query('SELECT 1 FROM audit_outbox LIMIT 1'));
    return rows.length > 0;
  }

  async #last(db: EntityManager): Promise<ChainHead> {
    const rows: Row[] = await db.query('SELECT seq, hash FROM audit_entries ORDER BY seq DESC LIMIT 1');
    return rows[0] ? { seq: Number(rows[0].seq), hash: rows[0].hash } : this.genesis;
  }

  async #has(db: EntityManager, { seq, hash }: ChainHead): Promise<boolean> {
    if (seq === 0) return true;
    const rows: unknown[] = await db.query('SELECT 1 FROM audit_entries WHERE seq = $1 AND hash = $2', [seq, hash]);
    return rows.length > 0;
  }

  /** Newest first, those before `beforeSeq`. */
  async page(filter: AuditFilter, { beforeSeq, limit }: { readonly beforeSeq: number; readonly limit: number }): Promise<ChainedEntry[]> {
    const rows: Row[] = await this.database.use((db) => db.query(`${SELECT} AND seq < $7 ORDER BY seq DESC LIMIT $8`, [...valuesOf(filter), beforeSeq, limit]));
    return rows.map(fromRow);
  }

  /** 0: none yet. */
  async lastSeq(): Promise<number> {
    const rows: { readonly seq: string | null }[] = await this.database.use((db) => db.query('SELECT max(seq) AS seq FROM audit_entries'));
    return Number(rows[0]?.seq ?? 0);
  }

  /** Entries behind that one, and when the first of them was written; ms since 1970. */
  async waiting(afterSeq: number): Promise<{ readonly oldestAtMs: number | null; readonly count: number }> {
    const rows: { readonly at_ms: string; readonly last: string; readonly seq: string }[] = await this.database.use((db) =>
      db.query('SELECT seq, at_ms, (SELECT max(seq) FROM audit_entries) AS last FROM audit_entries WHERE seq > $1 ORDER BY seq LIMIT 1', [afterSeq]));
    const [oldest] = rows;
    return oldest ? { oldestAtMs: Number(oldest.at_ms), count: Number(oldest.last) - Number(oldest.seq) + 1 } : { oldestAtMs: null, count: 0 };
  }

  /** Oldest first, in pages: however many there are, few are in memory. */
  async *walk(filter: AuditFilter = {}, afterSeq = 0): AsyncGenerator<ChainedEntry> {
    for (let last = afterSeq; ;) {
      const rows: Row[] = await this.database.use((db) => db.query(`${SELECT} AND seq > $7 ORDER BY seq LIMIT $8`, [...valuesOf(filter), last, PAGE]));
      yield* rows.map(fromRow);
      if (rows.length < PAGE) return;
      last = Number(rows.at(-1)?.seq);
    }
  }
}

/** Whoever calls holds the chain's lock, and links them in the same transaction. */
async function takeStaged(db: EntityManager): Promise<AuditEntry[]> {
  const rows: { readonly entry: AuditEntry }[] = await db.query('WITH taken AS (DELETE FROM audit_outbox RETURNING place, entry) SELECT entry FROM taken ORDER BY place');
  return rows.map(({ entry }) => entry);
}

const valuesOf = ({ fromMs, toMs, user, action, entity, result }: AuditFilter): unknown[] => [fromMs ?? null, toMs ?? null, user ?? null, action ?? null, entity ?? null, result ?? null];
