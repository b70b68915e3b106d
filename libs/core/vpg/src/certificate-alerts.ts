import { alert, type WantedAlert } from './alerts.js';
import { timeText } from './time-text.js';

/** A certificate of the site whose end somebody should hear of in time. Times in ms since 1970. */
export interface CertificateFacts {
  /** Never the same for two. */
  readonly subject: string;
  /** `the ZVM`, `VRA 'Z-VRA-host1'` */
  readonly owner: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** What to do when it does not end by itself. */
  readonly remedy: string;
}

const DAY_MS = 86_400_000;
const WARNING_MS = 30 * DAY_MS;
const ERROR_MS = 7 * DAY_MS;
/** Of its life: what lives 90 days is renewed when 30 are left, so 27 mean that renewing has failed for three days. */
const WARNING_SHARE = 0.3;
const ERROR_SHARE = 0.1;

/** Alerts of certificates that end soon, have ended, or have not begun; `nowMs` by the wall clock of this machine. */
export function certificateAlertsFor(certificates: readonly CertificateFacts[], nowMs: number): WantedAlert[] {
  return certificates.flatMap((certificate) => alertOf(certificate, nowMs));
}

function alertOf({ subject, owner, notBeforeMs, notAfterMs, remedy }: CertificateFacts, nowMs: number): WantedAlert[] {
  const about = (description: string) => ({ subject, description: `the certificate of ${owner} ${description}`, vpgIds: [] });
  const lifeMs = notAfterMs - notBeforeMs;
  const leftMs = notAfterMs - nowMs;
  if (nowMs < notBeforeMs) {
    return [alert('TDM0012', about(`begins at ${timeText(notBeforeMs)}, and it is ${timeText(nowMs)} by the clock of this site: this clock is behind, or was ahead when it was made`))];
  }
  if (leftMs <= 0) return [alert('TDM0012', about(`ended at ${timeText(notAfterMs)}, nobody believes it any more. ${remedy}. If that time has not come yet, the clock of this site is ahead`))];
  const days = `ends at ${timeText(notAfterMs)}, ${daysText(leftMs)}. ${remedy}`;
  if (leftMs <= Math.min(ERROR_MS, ERROR_SHARE * lifeMs)) return [alert('TDM0011', about(days))];
  if (leftMs <= Math.min(WARNING_MS, WARNING_SHARE * lifeMs)) return [alert('TDM0010', about(days))];
  return [];
}

/** Whole days or hours only: the text of an alert that is on is written again whenever it changes. */
function daysText(ms: number): string {
  const days = Math.floor(ms / DAY_MS);
  if (days >= 2) return `in ${days} days`;
  return days === 1 ? 'in one day' : 'in less than a day';
}
