import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { readConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import { SITE_A, SITE_B } from '../testing/factories.js';
import { startPostgres, type TestServer } from '../testing/servers.js';
import { eventually } from '../testing/test-site.js';
import { type TaskRecord, TaskStore } from './task.store.js';

let postgres: TestServer;
let database: Database;
let store: TaskStore;

beforeAll(async () => {
  postgres = await startPostgres();
  database = new Database(readConfig({
    TIDEMARK_SITE_ID: SITE_A, TIDEMARK_SITE_NAME: 'a', TIDEMARK_ADDRESS: '127.0.0.1', TIDEMARK_REST_PORT: '0', TIDEMARK_NATS_URL: 'nats://127.0.0.1:1', TIDEMARK_NATS_PEER_PORT: '1',
    TIDEMARK_DATABASE_URL: `${postgres.url}/postgres`, TIDEMARK_HYPERVISOR: 'simulated:https://127.0.0.1:1', TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: '/nonexistent/credential', TIDEMARK_STATE_DIR: '/nonexistent',
  }));
  database.onApplicationBootstrap();
  await eventually('the schema stands', () => Promise.resolve(database.isReady));
  store = new TaskStore(database);
}, 120_000);
afterAll(async () => {
  await database?.onApplicationShutdown();
  await postgres?.close();
});

const task = (taskId: string, runnerSiteId: string, startedAtMs: number, completedAtMs: number | null): TaskRecord => ({
  taskId, type: 'FailOver', state: completedAtMs === null ? 'InProgress' : 'Completed', progress: 1, initiatedBy: 'a', reason: '', related: { vpgIds: [], siteIds: [], hostIds: [] }, runnerSiteId, startedAtMs, completedAtMs, generation: 1,
});

it('ended tasks go by age, then the oldest of each site beyond its count; what this site runs stays until it ends', async () => {
  const all = [
    task('own running', SITE_A, 1, null), task('own old', SITE_A, 2, 50), task('own third', SITE_A, 3, 200), task('own second', SITE_A, 4, 200), task('own newest', SITE_A, 5, 200),
    task('their oldest, never ended', SITE_B, 1, null), task('their second', SITE_B, 6, null), task('their newest', SITE_B, 7, 200),
  ];
  for (const each of all) await store.save(each);
  expect(await store.knownOf(['own old', 'their newest', randomUUID()])).toEqual(new Set(['own old', 'their newest']));
  await store.prune({ ownSiteId: SITE_A, endedBefore: new Date(100), ofSiteMax: 2 });
  expect((await store.list()).map(({ taskId }) => taskId)).toEqual(['their newest', 'their second', 'own newest', 'own second', 'own running']);
});
