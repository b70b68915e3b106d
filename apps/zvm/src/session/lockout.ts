import { Injectable } from '@nestjs/common';
import { networkOf } from '@tidemark/sys/network';
import { Clock } from '../clock.js';
import { TooManyError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { KnownAddressEntity } from '../persistence/people.entities.js';

/** Failures that cost nothing; each further one doubles the wait. */
const FREE = { pair: 5, user: 20, address: 50 } as const;
type Kind = keyof typeof FREE;

const WAIT_MS_FIRST = 1000;
const WAIT_MS_MAX = 15 * 60_000;
/** Failures are forgotten when nothing happened for so long. */
const FORGET_MS = 24 * 3_600_000;
const FORGET_EVERY_MS = 60_000;
const KNOWN_MS = 90 * 24 * 3_600_000;
const NAME_LENGTH_MAX = 100;

export function waitMsAfter(kind: Kind, failures: number): number {
  const beyond = failures - FREE[kind];
  return beyond < 0 ? 0 : Math.min(WAIT_MS_MAX, WAIT_MS_FIRST * 2 ** Math.min(beyond, 20));
}

export interface Attempt {
  readonly userName: string;
  /** Undefined: no such user; treated the same. */
  readonly userId: string | undefined;
  readonly address: string;
}

export interface BegunAttempt extends Attempt {
  /** Only the user's own failures at this address count. */
  readonly isKnown: boolean;
}

/**
 * Failed log-ins make the next ones wait, longer each time, and across restarts. Three counters: of a user at one address, of a user
 * anywhere, of an address. Where a user has logged in within 90 days only the first one counts: who guesses elsewhere cannot keep the
 * owner out. Attempts are counted before the password is looked at and given back when it was right, so that many at once gain nothing.
 */
@Injectable()
export class Lockout {
  #forgetsAtMs = 0;

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** Counts it as failed. @throws TooManyError */
  async begin(attempt: Attempt): Promise<BegunAttempt> {
    const now = this.clock.nowMs();
    const isKnown = await this.#isKnown(attempt, now);
    // Before anything is written: a locked address that tries ever new names would leave rows of each.
    if (!isKnown) assertNoWait(await this.#lockedForMs(`address:${networkOf(attempt.address)}`, now));
    await this.#forgetOld(now);
    for (const [kind, key] of keysOf(attempt)) {
      if (isKnown && kind !== 'pair') continue;
      assertNoWait(await this.#count(kind, key, now));
    }
    return { ...attempt, isKnown };
  }

  /** Takes back what {@link begin} counted, and forgets what failed for this user at this address before. */
  async succeeded(attempt: BegunAttempt & { readonly userId: string }): Promise<void> {
    const keys = keysOf(attempt);
    const counted = attempt.isKnown ? [] : keys.map(([, key]) => key);
    await this.database.use(async (db) => {
      await db.query('DELETE FROM login_failures WHERE key = $1', [keys.find(([kind]) => kind === 'pair')?.[1]]);
      await db.query('UPDATE login_failures SET failures = greatest(failures - 1, 0), locked_until = $2 WHERE key = ANY($1)', [counted, new Date(0)]);
      await db.upsert(KnownAddressEntity, { userId: attempt.userId, address: networkOf(attempt.address), at: new Date(this.clock.nowMs()) }, ['userId', 'address']);
    });
  }

  /** An administrator's word. */
  async forget(userName: string): Promise<void> {
    await this.database.use((db) => db.query(`DELETE FROM login_failures WHERE key = $1 OR starts_with(key, $2)`, [`user:${nameKey(userName)}`, `pair:${nameKey(userName)}|`]));
  }

  async #isKnown({ userId, address }: Attempt, now: number): Promise<boolean> {
    const rows: unknown[] = await this.database.use((db) => db.query(
      'SELECT 1 FROM known_addresses WHERE user_id = $1 AND address = $2 AND at > $3', [userId ?? null, networkOf(address), new Date(now - KNOWN_MS)]));
    return rows.length > 0;
  }

  async #lockedForMs(key: string, now: number): Promise<number> {
    const rows: { locked_until: Date }[] = await this.database.use((db) => db.query('SELECT locked_until FROM login_failures WHERE key = $1', [key]));
    return (rows[0]?.locked_until.getTime() ?? 0) - now;
  }

  async #forgetOld(now: number): Promise<void> {
    const monotonicMs = this.clock.monotonicMs();
    if (monotonicMs < this.#forgetsAtMs) return;
    this.#forgetsAtMs = monotonicMs + FORGET_EVERY_MS;
    await this.database.use((db) => db.query('DELETE FROM login_failures WHERE last_at < $1', [new Date(now - FORGET_MS)]));
  }

  /** Counts one attempt as failed; how long the caller must wait instead when it is locked, ms. */
  async #count(kind: Kind, key: string, now: number): Promise<number> {
    return await this.database.transaction(async (db) => {
      await db.query('INSERT INTO login_failures VALUES ($1, 0, $2, $3) ON CONFLICT DO NOTHING', [key, new Date(now), new Date(0)]);
      const rows: { failures: number; locked_until: Date }[] = await db.query('SELECT failures, locked_until FROM login_failures WHERE key = $1 FOR UPDATE', [key]);
      const [row] = rows;
      const lockedForMs = (row?.locked_until.getTime() ?? 0) - now;
      if (lockedForMs > 0) return lockedForMs;
      const failures = (row?.failures ?? 0) + 1;
      const waitMs = waitMsAfter(kind, failures);
      // Not "until now": another attempt may have looked at the clock a moment before this one.
      const lockedUntil = new Date(waitMs === 0 ? 0 : now + waitMs);
      await db.query('UPDATE login_failures SET failures = $2, last_at = $3, locked_until = $4 WHERE key = $1', [key, failures, new Date(now), lockedUntil]);
      return 0;
    });
  }
}

function assertNoWait(waitMs: number): void {
  if (waitMs > 0) throw new TooManyError(`too many failed log-ins; try again in ${Math.ceil(waitMs / 1000)} s`, waitMs);
}

const nameKey = (userName: string): string => userName.toLowerCase().slice(0, NAME_LENGTH_MAX);

function keysOf({ userName, address }: Attempt): [Kind, string][] {
  const network = networkOf(address);
  return [['pair', `pair:${nameKey(userName)}|${network}`], ['user', `user:${nameKey(userName)}`], ['address', `address:${network}`]];
}
