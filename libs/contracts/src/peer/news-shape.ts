import { count, flag, instant, list, number, oneOf, orNull, shaped, text, whole } from '../shape/checks.js';
import { protectionStatus, recoveryStatus } from '../vra/status-shape.js';
import type { PeerNewsV1, TaskNewsV1, VpgNewsV1 } from './messages.js';

const VPGS_MAX = 5000;
const VMS_MAX = 5000;
const TASKS_MAX = 1000;
const IDS_MAX = 5000;

const id = text(200);
const ids = list(id, IDS_MAX);

const vpg = shaped<VpgNewsV1>({
  vpgId: id, generation: whole, catalogueRevision: whole, protections: list(protectionStatus, VMS_MAX), recoveries: list(recoveryStatus, VMS_MAX), newestCheckpointAgeMs: number, voidReason: orNull(text(4000)), areVrasAlive: flag,
});
const task = shaped<TaskNewsV1>({
  taskId: text(100), type: text(100), state: oneOf('InProgress', 'Failed', 'Completed'), progress: count, initiatedBy: text(1000), reason: text(4000),
  related: shaped<TaskNewsV1['related']>({ vpgIds: ids, siteIds: ids, hostIds: ids }), runnerSiteId: id, startedAtMs: instant, completedAtMs: orNull(instant), generation: count,
});
const news = shaped<PeerNewsV1>({ siteName: text(200), location: text(1000), version: text(50), vpgs: list(vpg, VPGS_MAX), removedVpgIds: ids, tasks: list(task, TASKS_MAX) });

/** Whether what a peer published has the shape that everything here relies on: events carry no answer, so what has not is dropped. */
export const isPeerNews = (value: unknown): value is PeerNewsV1 => news(value);
