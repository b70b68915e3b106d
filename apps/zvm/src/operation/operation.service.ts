import { Injectable, Logger, type OnApplicationShutdown, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { TidemarkError } from '@tidemark/base';
import {
  beginRun, type DueStep, dueStep, PLANS, type PlanKind, type PlanRun, progressPercent, resumed, retryDelayMs, runRemarks, stepFailed, stepSucceeded,
} from '@tidemark/recovery';
import { Clock } from '../clock.js';
import { conflict, messageOf } from '../errors.js';
import { type EventRecord, EventService } from '../event/event.service.js';
import { Database } from '../persistence/database.js';
import { OperationEntity } from '../persistence/entities.js';
import { TaskService } from '../task/task.service.js';
import type { TaskRelated } from '../task/task.store.js';
import type { Notes, OperationKind, StepContext } from './operation-kind.js';

const RETRY_MS = 1000;
/** They run beside what a VPG does, and say nothing about its state. */
const ASIDE: ReadonlySet<PlanKind> = new Set<PlanKind>(['insertCheckpoint', 'verifyCheckpoint']);
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface OperationStart {
  readonly kind: PlanKind;
  readonly input: object;
  readonly vpgId: string | null;
  readonly initiatedBy: string;
  readonly related: Partial<TaskRelated>;
  /** Given by the site that asked; a second start under one id is the first one. */
  readonly taskId?: string;
}

export interface EndedOperation {
  readonly taskId: string;
  readonly input: object;
  readonly notes: Notes;
}

interface OpenOperation {
  readonly taskId: string;
  readonly kind: OperationKind;
  readonly vpgId: string | null;
  readonly input: object;
  readonly initiatedBy: string;
  run: PlanRun;
  /** Of the step under way, 0 to 1. */
  share: number;
}

/**
 * Drives the plans of @tidemark/recovery. PostgreSQL knows each state before the step that follows it begins; killed at any point, the
 * next start does the step under way again (or goes on undoing), and the task says so.
 */
@Injectable()
export class OperationService implements OnModuleInit, OnModuleDestroy, OnApplicationShutdown {
  readonly #log = new Logger(OperationService.name);
  readonly #kinds = new Map<string, OperationKind>();
  readonly #open = new Map<string, OpenOperation>();
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #isLoaded = false;

  constructor(
    private readonly database: Database,
    private readonly tasks: TaskService,
    private readonly events: EventService,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.database.onReady(() => this.#load());
  }

  /** To be called in `onModuleInit`: operations found unfinished go on as soon as the database answers. */
  register<Input extends object>(kind: OperationKind<Input>): void {
    for (const step of PLANS[kind.kind]) {
      const handler = kind.steps[step.name];
      if (!handler || (step.isUndoable && !handler.undo)) throw new Error(`${kind.kind}: no handler for step ${step.name}`);
    }
    this.#kinds.set(kind.kind, kind as unknown as OperationKind);
  }

  async #load(): Promise<void> {
    if (this.#isLoaded) return;
    const rows = await this.database.use((db) => db.find(OperationEntity, { where: { isDone: false }, order: { createdAt: 'ASC' } }));
    for (const row of rows) {
      const kind = this.#kinds.get(row.kind);
      if (!kind) throw new Error(`operation ${row.taskId} is of a kind that this version does not know: ${row.kind}`);
      const task = await this.tasks.get(row.taskId);
      const run = resumed(row.run as PlanRun);
      this.#open.set(row.taskId, { taskId: row.taskId, kind, vpgId: row.vpgId, input: row.input, initiatedBy: task.initiatedBy, run, share: 0 });
    }
    await this.tasks.failOrphans([...this.#open.keys()]);
    this.#isLoaded = true;
    for (const operation of this.#open.values()) {
      this.#log.log(`going on with ${operation.kind.kind}, task ${operation.taskId}`);
      this.#launch(operation);
    }
  }

  /** Inputs of the operations of a kind that are under way. */
  inputsOf(kind: PlanKind): object[] {
    return [...this.#open.values()].filter((operation) => operation.kind.kind === kind).map((operation) => operation.input);
  }

  /**
   * Of a kind and a VPG, those that ended well; newest first. Not by `is_done`, which comes behind the task's end: whoever has seen that finds it here. The phase is durable before it.
   */
  async completed(kind: PlanKind, vpgId: string, countMax: number): Promise<EndedOperation[]> {
    const rows = await this.database.use((db) => db.createQueryBuilder(OperationEntity, 'operation')
      .where(`operation.kind = :kind AND operation.vpg_id = :vpgId AND operation.run->>'phase' = 'completed'`, { kind, vpgId })
      .orderBy('operation.created_at', 'DESC').take(countMax).getMany());
    return rows.map(({ taskId, input, run }) => ({ taskId, input, notes: (run as PlanRun).notes }));
  }

  /** Percent of the operation under way on a VPG that decides its status. */
  percentOn(vpgId: string): number | null {
    const found = [...this.#open.values()].find((operation) => operation.vpgId === vpgId && !ASIDE.has(operation.kind.kind));
    return found ? progressPercent(found.run, found.share) : null;
  }

  /**
   * Durable when it resolves; the steps run on by themselves. Answers the task id.
   * @throws ZvmError ZVM_CONFLICT when another exclusive operation of the VPG is under way
   */
  async begin(start: OperationStart): Promise<string> {
    const kind = this.#kinds.get(start.kind);
    if (!kind) throw new Error(`no operation ${start.kind}`);
    const taskId = start.taskId ?? this.tasks.newTaskId();
    if (this.#open.has(taskId) || (start.taskId !== undefined && (await this.isKnown(taskId)))) return taskId;
    this.assertFree(start.vpgId, kind.isExclusive);
    const operation: OpenOperation = {
      taskId, kind, vpgId: start.vpgId, input: start.input, initiatedBy: start.initiatedBy, run: beginRun(start.kind), share: 0,
    };
    // Reserved before the next await, so that two calls cannot both pass the check above.
    this.#open.set(taskId, operation);
    try {
      await this.tasks.start({ taskId, type: taskTypeOf(operation), initiatedBy: start.initiatedBy, related: start.related });
      await this.#insert(operation);
    } catch (error) {
      this.#open.delete(taskId);
      throw error;
    }
    this.#launch(operation);
    return taskId;
  }

  /**
   * An operation whose last step is done holds nothing any more: whoever has seen its task complete may go on at once.
   * @throws ZvmError ZVM_CONFLICT
   */
  assertFree(vpgId: string | null, isExclusive: boolean): void {
    const busy = [...this.#open.values()].find((open) => vpgId !== null && open.vpgId === vpgId && open.kind.isExclusive && isExclusive && dueStep(open.run) !== undefined);
    if (busy) throw conflict(`the VPG is busy: task ${busy.taskId} (${taskTypeOf(busy)}) is under way`);
  }

  async isKnown(taskId: string): Promise<boolean> {
    return await this.database.use((db) => db.existsBy(OperationEntity, { taskId }));
  }

  async #insert({ taskId, kind, vpgId, input, run }: OpenOperation): Promise<void> {
    const createdAt = new Date(this.clock.nowMs());
    await this.database.use((db) => db.insert(OperationEntity, { taskId, kind: kind.kind, vpgId, input, run, isDone: false, createdAt }));
  }

  #launch(operation: OpenOperation): void {
    const running = this.#drive(operation)
      .catch((error: unknown) => this.#log.error(`operation ${operation.taskId}: ${messageOf(error)}`, error instanceof Error ? error.stack : undefined))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #drive(operation: OpenOperation): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const due = dueStep(operation.run);
      if (!due) return await this.#finish(operation);
      await this.#insist(() => this.#show(operation, due));
      const next = await this.#attempt(operation, due);
      if (!next) return;
      await this.#insist(() => this.#persist(operation, next));
      if (next.failures > 0) await pause(retryDelayMs(next), this.#stop.signal);
    }
  }

  /** undefined: this ZVM stops; the step is done again after the next start. */
  async #attempt(operation: OpenOperation, due: DueStep): Promise<PlanRun | undefined> {
    const handler = operation.kind.steps[due.name];
    try {
      const context = this.#context(operation, due);
      const notes = due.direction === 'do' ? await handler?.do(context) : await handler?.undo?.(context);
      return this.#stop.signal.aborted ? undefined : stepSucceeded(operation.run, (notes ?? {}) as Notes);
    } catch (error) {
      if (this.#stop.signal.aborted) return undefined;
      const isRetryable = error instanceof TidemarkError && error.isRetryable;
      this.#log.warn(`${operation.kind.kind} ${operation.taskId}, ${due.direction} ${due.name}: ${messageOf(error)}`);
      return stepFailed(operation.run, { reason: `${due.title}: ${messageOf(error)}`, isRetryable });
    }
  }

  #context(operation: OpenOperation, due: DueStep): StepContext<object> {
    return {
      taskId: operation.taskId,
      initiatedBy: operation.initiatedBy,
      input: operation.input,
      notes: operation.run.notes,
      signal: this.#stop.signal,
      keep: async (notes) => await this.#insist(() => this.#persist(operation, { ...operation.run, notes: { ...operation.run.notes, ...notes } })),
      share: async (part, text = due.title) => {
        operation.share = part;
        await this.tasks.progress(operation.taskId, { percent: progressPercent(operation.run, part), reason: text });
      },
    };
  }

  async #show({ taskId, run }: OpenOperation, { title, direction }: DueStep): Promise<void> {
    const what = direction === 'undo' ? `undoing: ${title}` : title;
    const remarks = runRemarks(run);
    await this.tasks.progress(taskId, { percent: progressPercent(run), reason: remarks === '' ? what : `${what} (${remarks})` });
  }

  async #persist(operation: OpenOperation, run: PlanRun): Promise<void> {
    await this.database.use((db) => db.update(OperationEntity, { taskId: operation.taskId }, { run: run as never }));
    operation.run = run;
    operation.share = 0;
  }

  async #finish(operation: OpenOperation): Promise<void> {
    const { taskId, kind, input, run } = operation;
    const remarks = runRemarks(run);
    const isSuccess = run.phase === 'completed';
    const text = isSuccess ? joined(kind.done({ input, notes: run.notes }), remarks) : remarks;
    await this.#insist(async () => {
      await this.#recordEvent(operation, { text, isSuccess });
      if (isSuccess) await this.tasks.complete(taskId, text);
      else await this.tasks.fail(taskId, text);
      await this.database.use((db) => db.update(OperationEntity, { taskId }, { isDone: true }));
    });
    if (!this.#stop.signal.aborted) this.#open.delete(taskId);
  }

  /** The half of the task id that is unique is the event's id too, so that an end that is noted down twice is one event. */
  async #recordEvent(operation: OpenOperation, { text, isSuccess }: { readonly text: string; readonly isSuccess: boolean }): Promise<void> {
    const { taskId, vpgId, initiatedBy } = operation;
    const type = taskTypeOf(operation);
    const unique = taskId.split('.')[1] ?? '';
    await this.events.record({
      ...(UUID.test(unique) ? { eventId: unique } : {}),
      type, category: 'Events', entity: entityOf(type), description: text, userName: initiatedBy, isSuccess, vpgIds: vpgId === null ? [] : [vpgId],
    });
  }

  /** Bookkeeping waits for the database as long as it takes. */
  async #insist(work: () => Promise<void>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof TidemarkError && error.isRetryable)) throw error;
        await pause(RETRY_MS, this.#stop.signal);
      }
    }
  }

  onModuleDestroy(): void {
    this.#stop.abort();
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.#running);
  }
}

/** Resolves after `ms`, or at once when `signal` aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

const joined = (text: string, remarks: string): string => (remarks === '' ? text : `${text} (${remarks})`);

const taskTypeOf = ({ kind, input }: Pick<OpenOperation, 'kind' | 'input'>): string => (typeof kind.taskType === 'string' ? kind.taskType : kind.taskType(input));

function entityOf(taskType: string): EventRecord['entity'] {
  if (/Vra$/.test(taskType)) return 'VRA';
  return ['Pair', 'Unpair', 'UninstallVba'].includes(taskType) ? 'Site' : 'VPG';
}
