import { TASK_STATE, TASK_TYPE, type TaskApi, type TaskTypeName } from '@tidemark/contracts';
import type { Links } from '../http/links.js';
import type { TaskRecord } from './task.store.js';

export function taskView(task: TaskRecord, links: Links, ownSiteId: string): TaskApi {
  const isRunning = task.state === 'InProgress';
  return {
    Link: links.task(task.taskId),
    TaskIdentifier: task.taskId,
    Type: TASK_TYPE.numbers[task.type as TaskTypeName],
    Status: { State: TASK_STATE.numbers[task.state], Progress: task.progress },
    InitiatedBy: task.initiatedBy,
    Started: new Date(task.startedAtMs).toISOString(),
    Completed: task.completedAtMs === null ? null : new Date(task.completedAtMs).toISOString(),
    CompleteReason: isRunning ? '' : task.reason,
    CurrentStep: isRunning ? task.reason : null,
    IsCancellable: false,
    RelatedEntities: {
      Vpgs: task.related.vpgIds.map((id) => links.vpg(id)),
      Sites: task.related.siteIds.map((id) => links.site(id, ownSiteId)),
      Hosts: task.related.hostIds.map((id) => links.host(ownSiteId, id)),
      FlrSessions: [],
    },
  };
}
