/** What `npm audit --json` said, against the advisories that somebody has explained. */

/** Exit code of an audit that is required and could not be made; 1 is one that found something. */
export const NOT_CHECKED_CODE = 2;

const SERIOUS = new Set(['high', 'critical']);
const EXPLANATION_DAYS_MAX = 180;
const DAY_MS = 86_400_000;

/** The advisories themselves: `via` holds them, besides the names of packages that are affected through another. */
function advisoriesOf(report) {
  const all = Object.values(report.vulnerabilities ?? {}).flatMap(({ via }) => via.filter((cause) => typeof cause === 'object'));
  return [...new Map(all.map((advisory) => [advisory.url, advisory])).values()];
}

const idOf = (advisory) => advisory.url.split('/').pop();

/** An explanation counts until its day; one without a day, or with one too far away, counts for nothing: risks are looked at again. */
function isExplained(explanation, now) {
  const untilMs = Date.parse(explanation?.until ?? '');
  return Boolean(explanation?.why) && untilMs >= now && untilMs - now <= EXPLANATION_DAYS_MAX * DAY_MS;
}

/**
 * `unchecked`: the registry gave no report (a mirror without the audit endpoint, no network), so nothing is known. Else `open` are the high and critical
 * advisories nobody explained, `explained` the ones somebody did, `lesser` the number of the rest.
 */
export function judgeAudit(report, explanations, now) {
  if (report?.auditReportVersion === undefined) return { unchecked: report?.message ?? report?.error?.summary ?? 'npm printed no report' };
  const advisories = advisoriesOf(report);
  const serious = advisories.filter(({ severity }) => SERIOUS.has(severity)).map((advisory) => ({ id: idOf(advisory), ...advisory }));
  return {
    open: serious.filter(({ id }) => !isExplained(explanations[id], now)),
    explained: serious.filter(({ id }) => isExplained(explanations[id], now)),
    lesser: advisories.length - serious.length,
  };
}
