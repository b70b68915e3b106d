import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { Clock } from '../clock.js';
import { readConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import { AlertEntity, EventEntity } from '../persistence/entities.js';
import { SITE_A } from '../testing/factories.js';
import { startPostgres, type TestServer } from '../testing/servers.js';
import { eventually } from '../testing/test-site.js';
import { EventRetention } from './event-retention.js';

let postgres: TestServer;
let database: Database;

beforeAll(async () => {
  postgres = await startPostgres();
  database = new Database(readConfig({
    TIDEMARK_SITE_ID: SITE_A, TIDEMARK_SITE_NAME: 'a', TIDEMARK_ADDRESS: '127.0.0.1', TIDEMARK_REST_PORT: '0', TIDEMARK_NATS_URL: 'nats://127.0.0.1:1', TIDEMARK_NATS_PEER_PORT: '1',
    TIDEMARK_DATABASE_URL: `${postgres.url}/postgres`, TIDEMARK_HYPERVISOR: 'simulated:https://127.0.0.1:1', TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: '/nonexistent/credential', TIDEMARK_STATE_DIR: '/nonexistent',
  }));
  database.onApplicationBootstrap();
  await eventually('the schema stands', () => Promise.resolve(database.isReady));
}, 120_000);
afterAll(async () => {
  await database?.onApplicationShutdown();
  await postgres?.close();
});

it('events and alerts that are off go by age, then the oldest beyond their count; an alert that is on stays, however old', async () => {
  const event = { type: 'Enrolment', category: 'Events', entity: 'VRA', userName: 'System', isSuccess: false, vpgIds: [] };
  const alert = { helpIdentifier: 'ZVM0002', level: 'Error', entity: 'Vra', vpgIds: [], isDismissed: false, turnedOnAt: new Date(1) };
  await database.use(async (db) => {
    await db.insert(EventEntity, [50, 200, 300, 400].map((at) => ({ ...event, eventId: randomUUID(), description: `at ${at}`, occurredAt: new Date(at) })));
    await db.insert(AlertEntity, [null, 50, 200, 300, 400].map((at) => ({ ...alert, alertId: randomUUID(), subject: `7 ${String(at)}`, description: `off at ${String(at)}`, turnedOffAt: at === null ? null : new Date(at) })));
  });
  const retention = new EventRetention(database, new Clock());
  const kept = async (): Promise<string[]> => await database.use(async (db) => [...(await db.find(EventEntity)), ...(await db.find(AlertEntity))].map(({ description }) => description).sort());
  await retention.prune({ before: new Date(100), eventsMax: 4, alertsMax: 4 });
  expect(await kept()).toEqual(['at 200', 'at 300', 'at 400', 'off at 200', 'off at 300', 'off at 400', 'off at null']);
  await retention.prune({ before: new Date(100), eventsMax: 2, alertsMax: 1 });
  expect(await kept()).toEqual(['at 300', 'at 400', 'off at 400', 'off at null']);
});
