import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { AuditLog, SYSTEM } from '../audit/audit-log.js';
import { currentNote } from '../audit/audit-note.js';
import { EntryBudget } from '../audit/entry-budget.js';
import { namedBySite, plainText } from '../audit/redaction.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { notFound } from '../errors.js';
import { siteOfTask } from './task-id.js';
import { type Account, TaskStore, type TaskRecord, type TaskRelated } from './task.store.js';

/** A site tells of 1000 tasks at most: those of an honest one fit in. */
const FOLLOWED_ENDS = { burst: 1000, everyMs: 1000 };

export interface TaskStart {
  readonly taskId?: string;
  readonly type: string;
  readonly initiatedBy: string;
  readonly related: Partial<TaskRelated>;
  /** Site that runs it; this one when absent. */
  readonly runnerSiteId?: string;
}

@Injectable()
export class TaskService {
  readonly #followedEnds: EntryBudget;
  readonly #following = new Set<string>();

  constructor(
    private readonly store: TaskStore,
    private readonly clock: Clock,
    private readonly audit: AuditLog,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {
    this.#followedEnds = new EntryBudget(clock, FOLLOWED_ENDS);
  }

  newTaskId(): string {
    return `${this.config.siteId}.${randomUUID()}`;
  }

  async start({ taskId, type, initiatedBy, related, runnerSiteId }: TaskStart): Promise<TaskRecord> {
    const task: TaskRecord = {
      taskId: taskId ?? this.newTaskId(),
      type,
      state: 'InProgress',
      progress: 0,
      initiatedBy,
      reason: '',
      related: { vpgIds: related.vpgIds ?? [], siteIds: related.siteIds ?? [], hostIds: related.hostIds ?? [] },
      runnerSiteId: runnerSiteId ?? this.config.siteId,
      startedAtMs: this.clock.nowMs(),
      completedAtMs: null,
      generation: 1,
    };
    await this.#save(task, this.#accountOfStart(task));
    return task;
  }

  /** A task that another site runs; news of it may have come before this call. */
  async startFollowed(start: TaskStart & { readonly taskId: string; readonly runnerSiteId: string }): Promise<void> {
    const known = await this.store.find(start.taskId);
    if (!known) await this.start(start);
    // Who asked here is known here better than there.
    else if (known.initiatedBy !== start.initiatedBy) await this.store.save({ ...known, initiatedBy: start.initiatedBy });
  }

  /** What it is doing now; ended tasks stay as they are. */
  async progress(taskId: string, { percent, reason }: { readonly percent: number; readonly reason: string }): Promise<void> {
    await this.#change(taskId, (task) => ({ ...task, progress: Math.max(task.progress, Math.min(99, Math.floor(percent))), reason }));
  }

  async complete(taskId: string, reason: string): Promise<void> {
    await this.#change(taskId, (task) => ({ ...task, state: 'Completed', progress: 100, reason, completedAtMs: this.clock.nowMs() }));
  }

  async fail(taskId: string, reason: string): Promise<void> {
    await this.#change(taskId, (task) => ({ ...task, state: 'Failed', reason, completedAtMs: this.clock.nowMs() }));
  }

  async failOrphans(openIds: readonly string[]): Promise<void> {
    const at = new Date(this.clock.nowMs());
    await this.store.failOrphans({ runnerSiteId: this.config.siteId, openIds, at, reason: 'the ZVM was restarted before it had begun; nothing was done' }, this.#accountOf('task.ended'));
    await this.audit.flush();
  }

  /** What the site that runs it says about it. Who asked is its word too, unless it was asked from here. */
  async follow(news: TaskRecord, runnerName: string): Promise<void> {
    // The same news, a second later, from a database that is slow.
    if (this.#following.has(news.taskId)) return;
    this.#following.add(news.taskId);
    await this.#follow(news, runnerName).finally(() => this.#following.delete(news.taskId));
  }

  async #follow(news: TaskRecord, runnerName: string): Promise<void> {
    const known = await this.store.find(news.taskId);
    if (known && (known.runnerSiteId !== news.runnerSiteId || known.state !== 'InProgress')) return;
    if (known && (known.generation > news.generation || isSame(known, news))) return;
    const initiatedBy = known?.initiatedBy ?? namedBySite(runnerName, news.initiatedBy);
    const task = { ...news, initiatedBy, startedAtMs: known?.startedAtMs ?? Math.min(news.startedAtMs, this.clock.nowMs()) };
    await this.#save(task, task.state === 'InProgress' ? undefined : this.#accountOfFollowedEnd(task));
  }

  #accountOfFollowedEnd({ runnerSiteId, reason }: TaskRecord): Account | undefined {
    const leftOut = this.#followedEnds.spend(runnerSiteId);
    if (leftOut === undefined) return undefined;
    const message = leftOut === 0 ? reason : `${reason}; ${leftOut} ends before this one have no entry of their own`;
    return this.#accountOf('task.ended', { message, askedBy: runnerSiteId });
  }

  /** Those of them that are shown here already. */
  async knownOf(taskIds: readonly string[]): Promise<ReadonlySet<string>> {
    return await this.store.knownOf(taskIds);
  }

  /** Tasks run here, under way or ended after `changedAfter`. */
  async listShared(changedAfter: Date): Promise<TaskRecord[]> {
    return await this.store.listShared(this.config.siteId, changedAfter);
  }

  async get(taskId: string): Promise<TaskRecord> {
    const task = await this.store.find(taskId);
    if (!task) throw notFound('task', taskId);
    return task;
  }

  async list(): Promise<TaskRecord[]> {
    return await this.store.list();
  }

  async #change(taskId: string, change: (task: TaskRecord) => TaskRecord): Promise<void> {
    const task = await this.store.find(taskId);
    if (!task || task.state !== 'InProgress') return;
    const changed = change(task);
    if (changed.reason === task.reason && changed.progress === task.progress && changed.state === task.state) return;
    await this.#save({ ...changed, generation: task.generation + 1 }, changed.state === 'InProgress' ? undefined : this.#accountOf('task.ended'));
  }

  async #save(task: TaskRecord, account: Account | undefined): Promise<void> {
    await this.store.save(task, account);
    if (account) await this.audit.flush();
  }

  /** What a request starts stands in the request's own entry. */
  #accountOfStart(task: TaskRecord): Account | undefined {
    const note = currentNote();
    if (!note) return this.#accountOf('task.started', { message: task.type });
    note.taskId ??= task.taskId;
    for (const entity of entitiesOf(task)) note.entities.add(entity);
    return undefined;
  }

  /** The row and its entry are there together or not at all. */
  #accountOf(action: 'task.started' | 'task.ended', said: { readonly message?: string; readonly askedBy?: string } = {}): Account {
    return async (db, task) => {
      const { message = task.reason, askedBy = siteOfTask(task.taskId) } = said;
      const isOfPeer = askedBy !== this.config.siteId;
      await this.audit.stage(db, {
        ...SYSTEM, user: task.initiatedBy, method: isOfPeer ? 'Peer' : 'System', subject: isOfPeer ? askedBy : null, action: `${action} ${task.type}`, entities: entitiesOf(task),
        result: task.state === 'Failed' ? 'Failed' : 'Done', message: plainText(message), taskId: task.taskId,
      });
    };
  }
}

const entitiesOf = ({ related }: TaskRecord): string[] =>
  [...related.vpgIds.map((id) => `vpg:${id}`), ...related.siteIds.map((id) => `site:${id}`), ...related.hostIds.map((id) => `host:${id}`)];

const isSame = (a: TaskRecord, b: TaskRecord): boolean => a.generation === b.generation && a.state === b.state && a.progress === b.progress && a.reason === b.reason;
