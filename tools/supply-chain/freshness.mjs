/**
 * What can be known where no advisory database answers: which packages of the lock file their makers have given up, and which run-time dependencies are
 * not at their newest compatible release, where fixes are. It says nothing about vulnerabilities.
 */

/** Packages of the lock file with a notice of their makers; npm writes it there. */
export const deprecated = (packages) => packages.filter((entry) => typeof entry.deprecated === 'string').map(({ name, version, deprecated: notice, dev = false }) => ({ name, version, notice, isDevelopment: dev }));

/** Same major, or same minor of 0.x, or same patch of 0.0.x: what `^` calls compatible. */
export function isCompatible(from, to) {
  const [a, b] = [from, to].map((version) => version.split('-')[0].split('.').map(Number));
  const fixed = a[0] > 0 ? 1 : a[1] > 0 ? 2 : 3;
  return a.slice(0, fixed).every((part, index) => part === b[index]);
}

const EXPLANATION_DAYS_MAX = 180;
const DAY_MS = 86_400_000;

/** As for advisories: a reason, until a day that is near. */
function isExplained(explanation, now) {
  const untilMs = Date.parse(explanation?.until ?? '');
  return Boolean(explanation?.why) && untilMs >= now && untilMs - now <= EXPLANATION_DAYS_MAX * DAY_MS;
}

const byNumber = (a, b) => {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number));
  return x[0] - y[0] || x[1] - y[1] || x[2] - y[2];
};

/** What the registry calls latest may be older than what it has: nothing above it counts. */
function newestCompatible(current, { latest, versions }) {
  const fit = versions.filter((version) => !version.includes('-') && isCompatible(current, version) && byNumber(version, latest) <= 0);
  return [current, ...fit].sort(byNumber).at(-1);
}

/**
 * `found`: each run-time dependency with its locked version and what the registry says of it, null where it said nothing. `open` are those behind their newest
 * compatible release without an explanation, `explained` those with one; of `newMajor` there is a newer major; of `unknown` nothing is known.
 */
export function judgeFreshness(found, { explanations, now }) {
  const known = found.filter(({ registry }) => registry !== null).map(({ name, current, registry }) => ({ name, current, newest: newestCompatible(current, registry), latest: registry.latest }));
  const behind = known.filter(({ current, newest }) => newest !== current);
  return {
    open: behind.filter(({ name }) => !isExplained(explanations[name], now)),
    explained: behind.filter(({ name }) => isExplained(explanations[name], now)),
    newMajor: known.filter(({ current, latest }) => !isCompatible(current, latest)),
    unknown: found.filter(({ registry }) => registry === null),
  };
}
