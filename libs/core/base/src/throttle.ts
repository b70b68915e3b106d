/** A daily time with a limit of its own, which overrides the general one. Minutes of the site's local day; from = to: the whole day; from > to: over midnight. */
export interface ThrottleWindow {
  readonly fromMinute: number;
  readonly toMinute: number;
  /** null: no limit. */
  readonly bytesPerSecond: number | null;
}

/** The limit of a site for all that it replicates, to all peers. */
export interface Throttle {
  /** null: no limit. */
  readonly bytesPerSecond: number | null;
  readonly window: ThrottleWindow | null;
  /** Of the site's local time, east positive. */
  readonly utcOffsetMinutes: number;
}

const DAY_MINUTES = 24 * 60;

/** The site's limit at that time, bytes per second; Infinity: none. */
export function throttleAt({ bytesPerSecond, window, utcOffsetMinutes }: Throttle, wallMs: number): number {
  const minute = (((Math.floor(wallMs / 60_000) + utcOffsetMinutes) % DAY_MINUTES) + DAY_MINUTES) % DAY_MINUTES;
  return (window !== null && isInside(window, minute) ? window.bytesPerSecond : bytesPerSecond) ?? Infinity;
}

function isInside({ fromMinute, toMinute }: ThrottleWindow, minute: number): boolean {
  if (fromMinute === toMinute) return true;
  if (fromMinute < toMinute) return minute >= fromMinute && minute < toMinute;
  return minute >= fromMinute || minute < toMinute;
}

/** What one VRA sends now. */
export interface SendingDemand {
  readonly bytesPerSecond: number;
  /** It would send more. */
  readonly isThrottled: boolean;
}

/** Nobody is ever without: a VRA that begins to send must be able to show that it wants more. */
const SHARE_MIN = 1 / 64;
/** Room above what a VRA sends, so that a small change needs no new division. */
const HEADROOM = 1.25;

/**
 * The site's limit divided over its VRAs, by demand: who is not held back keeps what it uses and some room, the rest goes in equal parts to those who are
 * (or to all, if nobody is). Shares add up to 1.
 */
export function divideShares(demands: readonly SendingDemand[], limitBytesPerSecond: number): number[] {
  if (demands.length === 0) return [];
  const floor = Math.min(SHARE_MIN, 1 / demands.length);
  const wanted = demands.map(({ bytesPerSecond, isThrottled }) => (isThrottled ? Infinity : Math.max(floor, (bytesPerSecond * HEADROOM) / limitBytesPerSecond)));
  const shares = demands.map(() => floor);
  let rest = 1 - floor * demands.length;
  // Water-filling: the smallest wishes first, each round's remainder in equal parts to those who want more.
  for (const { index, left } of ranked(wanted)) {
    const given = Math.min((wanted[index] ?? 0) - floor, rest / left);
    shares[index] = floor + given;
    rest -= given;
  }
  return shares.map((share) => share + rest / demands.length);
}

function ranked(wanted: readonly number[]): { readonly index: number; readonly left: number }[] {
  const order = wanted.map((_, index) => index).sort((a, b) => (wanted[a] ?? 0) - (wanted[b] ?? 0) || a - b);
  return order.map((index, place) => ({ index, left: order.length - place }));
}

/** New shares are worth telling when somebody who is held back gets a tenth more of his, or somebody has less than he uses. */
export function areSharesWorthTelling(known: readonly number[], next: readonly number[], demands: readonly SendingDemand[]): boolean {
  if (known.length !== next.length) return true;
  return next.some((share, index) => {
    const before = known[index] ?? 0;
    return demands[index]?.isThrottled === true && share > before * 1.1;
  });
}
