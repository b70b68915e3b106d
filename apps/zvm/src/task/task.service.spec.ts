import { beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { AuditDraft, AuditLog } from '../audit/audit-log.js';
import type { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import { SITE_A, SITE_B } from '../testing/factories.js';
import { TaskService } from './task.service.js';
import type { Account, TaskRecord, TaskStore } from './task.store.js';

const VPG = 'cccccccc-0000-4000-8000-000000000000';

describe('what a paired site says of tasks', () => {
  let rows: Map<string, TaskRecord>;
  let entries: AuditDraft[];
  let tasks: TaskService;
  beforeEach(() => {
    [rows, entries] = [new Map(), []];
    const store = { find: async (id: string) => rows.get(id), save: async (task: TaskRecord, account?: Account) => void (rows.set(task.taskId, task), await account?.({} as EntityManager, task)) } as unknown as TaskStore;
    const audit = { stage: async (_db: EntityManager, draft: AuditDraft) => void entries.push(draft), flush: async () => undefined } as unknown as AuditLog;
    tasks = new TaskService(store, { nowMs: () => 5, monotonicMs: () => 5 } as Clock, audit, { siteId: SITE_A } as ZvmConfig);
  });

  const news = (values: Partial<TaskRecord> = {}): TaskRecord => ({
    taskId: `${SITE_B}.${randomUUID()}`, type: 'FailOver', state: 'InProgress', progress: 1, initiatedBy: 'admin', reason: '', related: { vpgIds: [VPG], siteIds: [SITE_A], hostIds: [] },
    runnerSiteId: SITE_B, startedAtMs: 1, completedAtMs: null, generation: 1, ...values,
  });

  it('names nobody of this one: whoever asked is a name at that site, on one line', async () => {
    const task = news({ initiatedBy: 'admin\r\n\u001b[2Jroot\u202e' });
    await tasks.follow(task, 'North');
    expect(rows.get(task.taskId)?.initiatedBy).toBe('site North: admin   [2Jroot ');
    const long = news({ initiatedBy: '\u{1f600}'.repeat(500) });
    await tasks.follow(long, 'N'.repeat(200));
    expect(rows.get(long.taskId)?.initiatedBy.length).toBeLessThanOrEqual(200);
    expect(rows.get(long.taskId)?.initiatedBy.isWellFormed()).toBe(true);
  });

  it('does not change who asked for a task here, whichever comes first, its news or the answer', async () => {
    const asked = { type: 'FailOver', initiatedBy: 'ann', related: { vpgIds: [VPG] }, runnerSiteId: SITE_B };
    const [early, late] = [tasks.newTaskId(), tasks.newTaskId()];
    await tasks.follow(news({ taskId: early }), 'North');
    for (const taskId of [early, late]) await tasks.startFollowed({ ...asked, taskId });
    for (const taskId of [early, late]) await tasks.follow(news({ taskId, generation: 2, progress: 9 }), 'North');
    expect([early, late].map((taskId) => rows.get(taskId))).toEqual([expect.objectContaining({ initiatedBy: 'ann', progress: 9 }), expect.objectContaining({ initiatedBy: 'ann', progress: 9 })]);
  });

  it('a task that it asked for is recorded as its own, by the id that only it can make', async () => {
    const [theirs, own] = [`${SITE_B}.${randomUUID()}`, tasks.newTaskId()];
    for (const taskId of [theirs, own]) await tasks.start({ taskId, type: 'Move', initiatedBy: 'x', related: {} });
    expect(entries).toMatchObject([{ method: 'Peer', subject: SITE_B, taskId: theirs }, { method: 'System', subject: null, taskId: own }]);
  });

  it('the end of one that it runs has an entry, once, however often it is told; so many that they fill nothing', async () => {
    const asked = tasks.newTaskId();
    await tasks.startFollowed({ taskId: asked, type: 'FailOver', initiatedBy: 'ann', related: { vpgIds: [VPG] }, runnerSiteId: SITE_B });
    entries.length = 0;
    const ended = news({ taskId: asked, state: 'Failed', reason: 'no room', generation: 3, completedAtMs: 9 });
    await Promise.all([tasks.follow(ended, 'North'), tasks.follow(ended, 'North')]);
    await tasks.follow(ended, 'North');
    expect(entries).toEqual([expect.objectContaining({ action: 'task.ended FailOver', user: 'ann', method: 'Peer', subject: SITE_B, result: 'Failed', message: 'no room', taskId: asked, entities: [`vpg:${VPG}`, `site:${SITE_A}`] })]);
    for (let made = 0; made < 3000; made += 1) await tasks.follow(news({ state: 'Completed' }), 'North');
    expect(entries.length).toBe(1000);
  });
});
