import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CATALOGUE_PAGE_MAX } from '@tidemark/contracts';
import pg from 'pg';
import { readConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import { startPostgres, type TestServer } from '../testing/servers.js';
import { eventually } from '../testing/test-site.js';
import { CatalogueStore, type CatalogueEntry, type WrittenRows } from './catalogue.store.js';

const COUNT = 500_000;
const FIRST_AT = '2026-01-01T00:00:00Z';
const VPG = randomUUID();
const COPY = randomUUID();

let postgres: TestServer;
let client: pg.Client;
let database: Database;
let store: CatalogueStore;

beforeAll(async () => {
  postgres = await startPostgres();
  const databaseUrl = `${postgres.url}/postgres`;
  database = new Database(readConfig({
    TIDEMARK_SITE_ID: randomUUID(), TIDEMARK_SITE_NAME: 'a', TIDEMARK_ADDRESS: '127.0.0.1', TIDEMARK_REST_PORT: '0', TIDEMARK_NATS_URL: 'nats://127.0.0.1:1', TIDEMARK_NATS_PEER_PORT: '1',
    TIDEMARK_DATABASE_URL: databaseUrl, TIDEMARK_HYPERVISOR: 'simulated:https://127.0.0.1:1', TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: '/nonexistent/credential', TIDEMARK_STATE_DIR: '/nonexistent',
  }));
  database.onApplicationBootstrap();
  await eventually('the schema stands', () => Promise.resolve(database.isReady));
  store = new CatalogueStore(database);
  client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  // A month of checkpoints every five seconds.
  await client.query(`INSERT INTO checkpoints SELECT $1, id, $2::timestamptz + id * interval '5 s', NULL, 'automatic', 1, 1, '["vm-1","vm-2"]' FROM generate_series(1, ${COUNT}) AS id`, [VPG, FIRST_AT]);
  await client.query('INSERT INTO catalogues VALUES ($1, 7, $2)', [VPG, FIRST_AT]);
  await client.query('ANALYZE checkpoints');
}, 120_000);
afterAll(async () => {
  await client?.end();
  await database?.onApplicationShutdown();
  await postgres?.close();
});

const entry = (checkpointId: number, tag: string | null = null): CatalogueEntry => ({ checkpointId, atMs: Date.parse(FIRST_AT) + checkpointId * 5000, tag, kind: 'automatic', epoch: 1, term: 1, vmIds: ['vm-1', 'vm-2'] });

/** Rows of the table that PostgreSQL looked at for all of this, by any way; sessions report once they are idle for a second. */
async function rowsRead(): Promise<number> {
  const { rows } = await client.query<{ read: string }>("SELECT seq_tup_read + idx_tup_fetch AS read FROM pg_stat_user_tables WHERE relname = 'checkpoints'");
  return Number(rows[0]?.read);
}

async function settledRowsRead(): Promise<number> {
  for (let before = -1; ; ) {
    await database.use((db) => db.query('SELECT pg_stat_force_next_flush()'));
    await new Promise((resolve) => setTimeout(resolve, 1200));
    const now = await rowsRead();
    if (now === before) return now;
    before = now;
  }
}

describe(`a list of ${COUNT} checkpoints`, () => {
  it('is changed, asked for by tag and by time, and read by pages, without looking at the rest', async () => {
    const before = await settledRowsRead();
    await store.load(VPG);
    expect(await store.apply(VPG, { added: [entry(COUNT + 1, 'before the upgrade')], removed: [1] })).toBe(8);
    expect(store.summary(VPG)).toMatchObject({ earliest: { checkpointId: 2 }, latest: { checkpointId: COUNT + 1 } });
    expect(await store.findTagged(VPG, 'before the upgrade', COUNT)).toMatchObject({ checkpointId: COUNT + 1 });
    const fromMs = entry(1000).atMs;
    expect(await store.list(VPG, { fromMs, toMs: fromMs + 60_000 })).toHaveLength(13);
    expect((await store.page(VPG, 250_000, 50)).map(({ checkpointId }) => checkpointId)[49]).toBe(250_050);
    expect((await settledRowsRead()) - before).toBeLessThan(500);
  }, 60_000);

  it('is copied page by page: gaps are closed, what is gone goes, and only the last page says which revision it is', async () => {
    await store.apply(COPY, { added: [3, 5, 900, 2100, 9000].map((id) => entry(id)), removed: [] }, { revision: 3 });
    const pages = [entry(1), entry(5, 'new tag')];
    expect(await store.copyPage(COPY, { afterId: 0, entries: pages, revision: undefined })).toBe(3);
    expect((await store.list(COPY)).map(({ checkpointId }) => checkpointId)).toEqual([1, 5, 900, 2100, 9000]);
    const many = Array.from({ length: CATALOGUE_PAGE_MAX }, (_, index) => entry(6 + index));
    expect(await store.copyPage(COPY, { afterId: 5, entries: many, revision: undefined })).toBe(3);
    expect(await store.copyPage(COPY, { afterId: 5 + CATALOGUE_PAGE_MAX, entries: [entry(2101)], revision: 12 })).toBe(12);
    const copied = await store.list(COPY);
    expect(copied.map(({ checkpointId }) => checkpointId)).toEqual([1, 5, ...many.map(({ checkpointId }) => checkpointId), 2101]);
    expect(copied[1]?.tag).toBe('new tag');
    expect((await store.load(VPG)).revision).toBe(8);
  });

  it('says what each part of a copy has written: what is new and what has changed, not what was there; what is refused leaves all as it was', async () => {
    const vpgId = randomUUID();
    const written: WrittenRows[] = [];
    const admit = (rows: WrittenRows): void => void written.push(rows);
    await store.apply(vpgId, { added: [entry(1), entry(2)], removed: [] }, { revision: 3, admit });
    await store.copyPage(vpgId, { afterId: 0, entries: [entry(1), entry(2, 'four'), entry(3)], revision: undefined, admit });
    await store.copyPage(vpgId, { afterId: 0, entries: [entry(1), entry(2, 'four'), entry(3)], revision: undefined, admit });
    expect(written).toEqual([{ rows: 2, characters: 32 }, { rows: 2, characters: 36 }, { rows: 0, characters: 0 }]);
    const refuse = (): never => {
      throw new Error('too much');
    };
    await expect(store.copyPage(vpgId, { afterId: 0, entries: [entry(9)], revision: 4, admit: refuse })).rejects.toThrow('too much');
    await expect(store.apply(vpgId, { added: [entry(9)], removed: [1] }, { revision: 4, admit: refuse })).rejects.toThrow('too much');
    expect([store.summary(vpgId)?.revision, (await store.list(vpgId)).map(({ checkpointId }) => checkpointId)]).toEqual([3, [1, 2, 3]]);
  });

  it('is cleared when the history ends: its revisions go on where this site decides, and begin anew where the other one does from now on', async () => {
    const nothing = { earliest: null, latest: null, firstListedAtMs: null };
    await store.clear(COPY);
    expect([store.summary(COPY), await store.list(COPY)]).toEqual([{ ...nothing, revision: 13 }, []]);
    expect(await store.apply(COPY, { added: [entry(4)], removed: [] })).toBe(14);
    expect(store.summary(COPY)?.firstListedAtMs).toBe(entry(4).atMs);
    await store.clear(COPY, { isCopyNext: true });
    expect([store.summary(COPY), await store.list(COPY)]).toEqual([{ ...nothing, revision: 0 }, []]);
  });
});
