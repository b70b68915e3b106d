import { alert, type WantedAlert } from './alerts.js';

/** Audit entries that the collector has not taken. Times in ms since 1970. */
export interface SyslogBacklog {
  /** `tls://collector:6514` */
  readonly target: string;
  readonly waitingCount: number;
  /** Since when nothing of what waits was delivered; null: nothing waits. */
  readonly waitingSinceMs: number | null;
  /** Why the last try failed; null: it did not. */
  readonly problem: string | null;
}

/** So many at once are more than a collector's restart explains: a site writes a few hundred a day, and thousands while it is attacked. */
const WAITING_MAX = 10_000;

/** TDM0013 while audit entries have waited for longer than `limitMs`, or too many wait and the last try failed. */
export function syslogAlertsFor(backlog: SyslogBacklog | null, { nowMs, limitMs }: { readonly nowMs: number; readonly limitMs: number }): WantedAlert[] {
  if (backlog === null) return [];
  const { target, waitingCount, waitingSinceMs, problem } = backlog;
  if (waitingSinceMs === null) return [];
  const isStuck = nowMs - waitingSinceMs >= limitMs || (problem !== null && waitingCount > WAITING_MAX);
  if (!isStuck) return [];
  // Whole minutes and no count: the text of an alert that is on is written again whenever it changes.
  const description = `audit entries do not reach the syslog collector ${target}${problem === null ? '' : `: ${problem}`}. They are kept and follow, in order, when it takes them; until then whoever owns this machine could change them unseen. `
    + 'GET /v1/localsite/settings/syslog shows the last one that arrived';
  return [alert('TDM0013', { subject: 'syslog', description, vpgIds: [] })];
}
