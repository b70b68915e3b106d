import { Controller, Get, Inject, Param, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { names, TASK_STATE, TASK_TYPE, TaskApi } from '@tidemark/contracts';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { notFound } from '../errors.js';
import { Links } from '../http/links.js';
import { choice, instant, type Query } from '../http/query.js';
import { SessionCaller } from '../session/session.guard.js';
import { TaskService } from './task.service.js';
import { taskView } from './task.view.js';

@ApiTags('tasks')
@Controller('tasks')
@Needs('view', 'shown')
export class TasksController {
  constructor(
    private readonly tasks: TaskService,
    private readonly links: Links,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  @Get()
  @ApiOkResponse({ type: [TaskApi] })
  async list(@QueryParams() query: Query, @SessionCaller() { rights }: Caller): Promise<TaskApi[]> {
    const [state, type] = [choice(query, 'status', TASK_STATE), choice(query, 'type', TASK_TYPE)];
    const startedBefore = instant(query, 'startedBeforeDate') ?? Infinity;
    const startedAfter = instant(query, 'startedAfterDate') ?? -Infinity;
    const completedBefore = instant(query, 'completedBeforeDate');
    const completedAfter = instant(query, 'completedAfterDate');
    const wanted = (await this.tasks.list()).filter((task) => rights.seesAbout(task.related.vpgIds)
      && (state === undefined || task.state === state) && (type === undefined || task.type === type)
      && task.startedAtMs <= startedBefore && task.startedAtMs >= startedAfter
      && (completedBefore === undefined || (task.completedAtMs !== null && task.completedAtMs <= completedBefore))
      && (completedAfter === undefined || (task.completedAtMs !== null && task.completedAtMs >= completedAfter)));
    return wanted.map((task) => taskView(task, this.links, this.config.siteId));
  }

  @Get('types')
  types(): string[] {
    return names(TASK_TYPE);
  }

  @Get(':task')
  @ApiOkResponse({ type: TaskApi })
  async one(@Param('task') taskId: string, @SessionCaller() { rights }: Caller): Promise<TaskApi> {
    // Old clients send the colon that old builds showed.
    const id = taskId.replace(':', '.').toLowerCase();
    // What is no identifier never reaches the database, which refuses some characters.
    if (!/^[0-9a-f.-]{1,100}$/.test(id)) throw notFound('task', taskId);
    const task = await this.tasks.get(id);
    if (!rights.seesAbout(task.related.vpgIds)) throw notFound('task', taskId);
    return taskView(task, this.links, this.config.siteId);
  }
}
