import { Injectable } from '@nestjs/common';
import { type EntityManager, In } from 'typeorm';
import { Database } from '../persistence/database.js';
import { TaskEntity } from '../persistence/entities.js';

export type TaskStateName = 'InProgress' | 'Failed' | 'Completed';

export interface TaskRelated {
  readonly vpgIds: readonly string[];
  readonly siteIds: readonly string[];
  readonly hostIds: readonly string[];
}

/** One long operation as users see it. Both sites show it, under one id; one of them runs it. */
export interface TaskRecord {
  readonly taskId: string;
  /** Name of the reference's TaskType, e.g. `FailOver`. */
  readonly type: string;
  readonly state: TaskStateName;
  /** Percent. */
  readonly progress: number;
  readonly initiatedBy: string;
  /** Why it ended as it did; while it runs, what it is doing. */
  readonly reason: string;
  readonly related: TaskRelated;
  readonly runnerSiteId: string;
  readonly startedAtMs: number;
  readonly completedAtMs: number | null;
  /** Grows with every change. */
  readonly generation: number;
}

/** Puts down in the transaction of a change what the audit says about it. */
export type Account = (db: EntityManager, task: TaskRecord) => Promise<void>;

const LISTED_MAX = 1000;

@Injectable()
export class TaskStore {
  constructor(private readonly database: Database) {}

  async find(taskId: string): Promise<TaskRecord | undefined> {
    const row = await this.database.use((db) => db.findOneBy(TaskEntity, { taskId }));
    return row ? fromRow(row) : undefined;
  }

  async knownOf(taskIds: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.database.use((db) => db.find(TaskEntity, { select: { taskId: true }, where: { taskId: In([...taskIds]) } }));
    return new Set(rows.map(({ taskId }) => taskId));
  }

  /** Takes away those that ended before `endedBefore`, and of each site the oldest beyond `ofSiteMax`; never one that this site runs. */
  async prune({ ownSiteId, endedBefore, ofSiteMax }: { readonly ownSiteId: string; readonly endedBefore: Date; readonly ofSiteMax: number }): Promise<void> {
    const surplus = 'SELECT task_id FROM (SELECT task_id, completed_at, runner_site_id, row_number() OVER (PARTITION BY runner_site_id ORDER BY started_at DESC, task_id) AS place FROM tasks) t '
      + 'WHERE place > $2 AND (completed_at IS NOT NULL OR runner_site_id <> $3)';
    await this.database.use((db) => db.query(`DELETE FROM tasks WHERE completed_at < $1 OR task_id IN (${surplus})`, [endedBefore, ofSiteMax, ownSiteId]));
  }

  /** Newest first. */
  async list(): Promise<TaskRecord[]> {
    const rows = await this.database.use((db) => db.find(TaskEntity, { order: { startedAt: 'DESC' }, take: LISTED_MAX }));
    return rows.map(fromRow);
  }

  /** `account` is done in the same transaction. */
  async save(task: TaskRecord, account?: Account): Promise<void> {
    const row = toRow(task);
    if (!account) return void (await this.database.use((db) => db.upsert(TaskEntity, row, ['taskId'])));
    await this.database.transaction(async (db) => {
      await db.upsert(TaskEntity, row, ['taskId']);
      await account(db, task);
    });
  }

  /** Ends the running tasks of this site that no operation stands behind: a kill came between the two rows. */
  async failOrphans({ runnerSiteId, openIds, at, reason }: { readonly runnerSiteId: string; readonly openIds: readonly string[]; readonly at: Date; readonly reason: string }, account: Account): Promise<void> {
    await this.database.transaction(async (db) => {
      const rows = await db.createQueryBuilder(TaskEntity, 't').setLock('pessimistic_write')
        .where('t.runner_site_id = :runnerSiteId AND t.completed_at IS NULL AND NOT (t.task_id = ANY(:openIds))', { runnerSiteId, openIds }).getMany();
      for (const row of rows) {
        const task: TaskRecord = { ...fromRow(row), state: 'Failed', reason, completedAtMs: at.getTime(), generation: row.generation + 1 };
        await db.upsert(TaskEntity, toRow(task), ['taskId']);
        await account(db, task);
      }
    });
  }

  /** Tasks that this site runs, under way or ended after `changedAfter`. */
  async listShared(runnerSiteId: string, changedAfter: Date): Promise<TaskRecord[]> {
    const rows = await this.database.use((db) =>
      db.createQueryBuilder(TaskEntity, 't')
        .where('t.runner_site_id = :runnerSiteId AND (t.completed_at IS NULL OR t.completed_at > :changedAfter)', { runnerSiteId, changedAfter })
        .orderBy('t.started_at', 'DESC').take(LISTED_MAX).getMany());
    return rows.map(fromRow);
  }
}

function toRow({ startedAtMs, completedAtMs, ...task }: TaskRecord): TaskEntity {
  return { ...task, startedAt: new Date(startedAtMs), completedAt: completedAtMs === null ? null : new Date(completedAtMs) };
}

function fromRow(row: TaskEntity): TaskRecord {
  const { startedAt, completedAt, related, state, ...task } = row;
  return {
    ...task,
    state: state as TaskStateName,
    related: related as TaskRelated,
    startedAtMs: startedAt.getTime(),
    completedAtMs: completedAt?.getTime() ?? null,
  };
}
