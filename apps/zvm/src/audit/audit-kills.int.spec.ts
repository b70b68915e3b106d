import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../clock.js';
import { readConfig, type ZvmConfig } from '../config.js';
import { FenceStore } from '../ownership/fence.store.js';
import { Database } from '../persistence/database.js';
import { TaskService } from '../task/task.service.js';
import { TaskStore } from '../task/task.store.js';
import { SITE_A, SITE_B } from '../testing/factories.js';
import { startPostgres, type TestServer } from '../testing/servers.js';
import { eventually } from '../testing/test-site.js';
import type { AuditEntry } from './audit-entry.js';
import { AuditLog, SYSTEM } from './audit-log.js';
import { AuditStore } from './audit.store.js';

const VPG = 'cccccccc-0000-4000-8000-00000000000a';

/** What a ZVM has of its audit, on the real database and a state folder that outlives it. */
class Life {
  readonly #undone: (() => void)[] = [];
  readonly database: Database;
  readonly store: AuditStore;
  readonly log: AuditLog;
  readonly tasks: TaskService;
  readonly taskStore: TaskStore;
  readonly fences: FenceStore;

  constructor(config: ZvmConfig) {
    const clock = { nowMs: Date.now, monotonicMs: () => performance.now() } as Clock;
    this.database = new Database(config);
    this.store = new AuditStore(this.database, config);
    this.log = new AuditLog(this.store, this.database, clock, config);
    this.taskStore = new TaskStore(this.database);
    this.tasks = new TaskService(this.taskStore, clock, this.log, config);
    this.fences = new FenceStore(this.database);
  }

  async start(): Promise<this> {
    this.log.onModuleInit();
    this.database.onApplicationBootstrap();
    await eventually('the database is read', () => Promise.resolve(this.database.isReady));
    return this;
  }

  /** From here on it writes no entry anywhere, as after a SIGKILL: what it was about to write is lost with it. */
  die(): void {
    this.store.append = () => new Promise((_resolve, reject) => this.#undone.push(() => reject(new Error('it is dead'))));
  }

  /** Behind the test: nothing of it goes on. */
  async end(): Promise<void> {
    this.store.append = () => Promise.reject(new Error('it has ended'));
    for (const reject of this.#undone) reject();
    await this.log.onApplicationShutdown();
    await this.database.onApplicationShutdown();
  }
}

let postgres: TestServer;
let folder: string;
let config: ZvmConfig;
let lives: Life[];

beforeAll(async () => {
  postgres = await startPostgres();
}, 120_000);
afterAll(() => postgres?.close());
beforeEach(async () => {
  lives = [];
  folder = await mkdtemp(join(tmpdir(), 'tidemark-audit-kills-'));
  config = readConfig({
    TIDEMARK_SITE_ID: SITE_A, TIDEMARK_SITE_NAME: 'a', TIDEMARK_ADDRESS: '127.0.0.1', TIDEMARK_REST_PORT: '0', TIDEMARK_NATS_URL: 'nats://127.0.0.1:1', TIDEMARK_NATS_PEER_PORT: '1',
    TIDEMARK_DATABASE_URL: `${postgres.url}/postgres`, TIDEMARK_HYPERVISOR: 'simulated:https://127.0.0.1:1', TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: '/nonexistent/credential', TIDEMARK_STATE_DIR: folder,
  });
});
afterEach(async () => {
  for (const life of lives) await life.end();
  await rm(folder, { recursive: true, force: true });
});

async function started(): Promise<Life> {
  const life = new Life(config);
  lives.push(life);
  return await life.start();
}

async function entriesOf(life: Life, about: string): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  for await (const { entry } of life.store.walk()) if (JSON.stringify(entry).includes(about)) found.push(entry);
  return found;
}

/** In the life after the next one nothing is added. */
async function afterRestarts(about: string, countMin = 1): Promise<AuditEntry[]> {
  const second = await started();
  await eventually(`entries about ${about}`, async () => (await entriesOf(second, about)).length >= countMin);
  second.die();
  const third = await started();
  await third.log.flush();
  expect((await third.log.verify()).firstBreak).toBeNull();
  return await entriesOf(third, about);
}

describe('killed between a change of the database and its entry in the chain', () => {
  it('the end of a task has its entry, once', async () => {
    const first = await started();
    const { taskId } = await first.tasks.start({ type: 'FailOver', initiatedBy: 'ann', related: { vpgIds: [VPG] } });
    first.die();
    void first.tasks.complete(taskId, 'done');
    await eventually('the row', async () => (await first.tasks.get(taskId)).state === 'Completed');
    expect(await afterRestarts(taskId, 2)).toEqual([
      expect.objectContaining({ action: 'task.started FailOver', result: 'Done' }), expect.objectContaining({ action: 'task.ended FailOver', user: 'ann', result: 'Done', message: 'done' }),
    ]);
  });

  it('the end of a task that another site runs, and of one that had not begun, have theirs', async () => {
    const first = await started();
    const own = await first.tasks.start({ type: 'Move', initiatedBy: 'ann', related: {} });
    first.die();
    const followed = {
      ...own, taskId: `${SITE_B}.${randomUUID()}`, runnerSiteId: SITE_B, state: 'Failed' as const, reason: 'no room', completedAtMs: 9, generation: 2,
    };
    void first.tasks.follow(followed, 'North');
    void first.tasks.failOrphans([]);
    await eventually('both rows', async () => (await first.tasks.get(own.taskId)).state === 'Failed' && (await first.taskStore.find(followed.taskId))?.state === 'Failed');
    expect(await afterRestarts(followed.taskId)).toMatchObject([{ action: 'task.ended Move', method: 'Peer', subject: SITE_B, result: 'Failed', message: 'no room' }]);
    expect(await entriesOf(lives[2] ?? first, own.taskId)).toMatchObject([{ action: 'task.started Move' }, { action: 'task.ended Move', result: 'Failed', message: expect.stringContaining('before it had begun') }]);
  });

  it('a fence has its entry, and there is no fence without one', async () => {
    const first = await started();
    const fence = { vpgId: VPG, vpgName: 'mail', ownerSiteId: SITE_B, ownerSiteName: 'b', vmIds: ['vm1'], epoch: 3, isLifted: false, fencedAtMs: 1, liftedAtMs: null, liftedBy: null };
    await expect(first.fences.put(fence, () => Promise.reject(new Error('killed here')))).rejects.toThrow('killed here');
    const rows: unknown[] = await first.database.use((db) => db.query('SELECT 1 FROM vpg_fences'));
    expect(rows).toEqual([]);
    first.die();
    await first.fences.put(fence, async (db) => await first.log.stageOwn(db, { action: 'ownership.fenced', entities: [`vpg:${VPG}`] }));
    expect(await afterRestarts('ownership.fenced')).toMatchObject([{ method: 'System', result: 'Done', entities: [`vpg:${VPG}`] }]);
  });
});

describe('killed behind the intent of an act', () => {
  const act = (name: string) => ({ ...SYSTEM, user: 'ann', action: `POST /${name}`, entities: [], message: null });
  const unknown = (name: string) => expect.objectContaining({ user: 'ann', action: `POST /${name}`, result: 'Unknown', message: 'unknown whether it was done: the site manager was stopped meanwhile' });

  it('before its entry: one entry says that nobody knows', async () => {
    const first = await started();
    await first.log.begin(act('lost'));
    const done = await first.log.begin(act('whole'));
    await first.log.append({ ...act('whole'), result: 'Done' }, done);
    first.log.withdraw(await first.log.begin(act('nothing')));
    const late = await first.log.begin(act('late'));
    first.die();
    void first.log.append({ ...act('late'), result: 'Done' }, late);
    expect(await afterRestarts('/late')).toEqual([unknown('late')]);
    const last = lives.at(-1) ?? first;
    expect([await entriesOf(last, '/lost'), await entriesOf(last, '/whole'), await entriesOf(last, '/nothing')]).toEqual([[unknown('lost')], [expect.objectContaining({ result: 'Done', id: done })], []]);
  });

  it('its entry is in the chain or in the file already: it is the only one', async () => {
    const first = await started();
    const [chained, spooled] = [await first.log.begin(act('chained')), await first.log.begin(act('spooled'))];
    await first.store.append([{ ...act('chained'), id: chained, atMs: 1, result: 'Done' }], null, () => { throw new Error('no break here'); });
    first.store.append = () => Promise.reject(new Error('the connection is lost'));
    const ended = first.log.append({ ...act('spooled'), result: 'Done' }, spooled);
    await ended;
    first.die();
    expect(await afterRestarts('/spooled')).toMatchObject([{ id: spooled, result: 'Done' }]);
    expect(await entriesOf(lives.at(-1) ?? first, '/chained')).toMatchObject([{ id: chained, result: 'Done' }]);
  });

  it('a state folder that takes nothing stops no act while the database answers: two entries tell of it; without both nothing is begun', async () => {
    await mkdir(join(folder, 'audit-intents.jsonl'));
    const { log, store } = await started();
    const id = await log.begin(act('failover'));
    await log.append({ ...act('failover'), result: 'Done' }, id);
    expect(await entriesOf({ store } as Life, '/failover')).toMatchObject([{ result: 'Unknown', message: expect.stringContaining('begun') }, { id, result: 'Done' }]);
    expect((await log.verify()).firstBreak).toBeNull();
    await lives[0]?.database.transaction(async (db) => await log.stageOwn(db, { action: 'fence.waited', entities: [] }));
    await log.flush(); // it fails, for the intents cannot be read, and takes along what waits
    expect(await entriesOf({ store } as Life, 'fence.waited')).toHaveLength(1);
    await mkdir(join(folder, 'audit-spool.jsonl'));
    store.append = () => Promise.reject(new Error('the connection is lost'));
    await expect(log.begin(act('refused'))).rejects.toMatchObject({ code: 'ZVM_DATABASE_DOWN', message: expect.stringContaining('nothing was done') });
  });

  it('an act of the site itself that fails again and again has one entry for each reason, and the one that succeeds its own', async () => {
    const { log, store } = await started();
    const name = 'ca.switched';
    const of = async (result: string): Promise<number> => (await entriesOf({ store } as Life, name)).filter((entry) => entry.result === result).length;
    const fail = async (reason: string): Promise<void> => await expect(log.recordOwn({ action: name, entities: [] }, () => Promise.reject(new Error(reason)))).rejects.toThrow(reason);
    for (const reason of ['no disk', 'no disk', 'no disk', 'no key', 'no key']) await fail(reason);
    expect([await of('Failed'), await of('Done')]).toEqual([2, 0]);
    await log.recordOwn({ action: name, entities: [] }, () => Promise.resolve({}));
    await fail('no key');
    expect([await of('Failed'), await of('Done')]).toEqual([3, 1]);
  });
});
