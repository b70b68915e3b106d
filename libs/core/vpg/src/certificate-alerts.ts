import { alert, type WantedAlert } from './alerts.js';

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

/** ISO 8601 in UTC, from a count of milliseconds: the pure ring has no Date. Years 1970 to 9999. */
export function timeText(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const { year, month, day } = civilOf(Math.floor(seconds / 86_400));
  const two = (value: number): string => String(value).padStart(2, '0');
  const inDay = ((seconds % 86_400) + 86_400) % 86_400;
  return `${year}-${two(month)}-${two(day)}T${two(Math.floor(inDay / 3600))}:${two(Math.floor(inDay / 60) % 60)}Z`;
}

/** Howard Hinnant's civil_from_days: eras of 400 years that begin on 1 March. */
function civilOf(daysSince1970: number): { year: number; month: number; day: number } {
  const shifted = daysSince1970 + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthIndex = Math.floor((5 * dayOfYear + 2) / 153);
  const month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day: dayOfYear - Math.floor((153 * monthIndex + 2) / 5) + 1 };
}
