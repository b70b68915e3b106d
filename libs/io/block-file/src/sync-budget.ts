/**
 * When a small write may be made on the event loop. In the page cache it takes some 6 µs, and the thread pool's hop that
 * is saved some 50 µs at queue depth 1; but the kernel throttles a writer when too much is dirty, and then the loop, with
 * every other guest on it, would stand still. So a write that took longer than {@link SLOW_MS} sends the following
 * ones to the pool for a while. Seen from here a throttled write and one that lost its CPU for some ms look alike; the
 * difference is that throttling goes on: only if one of the first writes after the pause is slow again, the pause doubles.
 */
const SLOW_MS = 5;
const PAUSE_MS_MIN = 20;
const PAUSE_MS_MAX = 1280;
const PROBE_WRITES = 16;

export class SyncBudget {
  #asyncUntilMs = 0;
  #pauseMs = PAUSE_MS_MIN;
  #writesSincePause = Infinity;
  /** Writes on the loop that took longer than 5 ms: a metric, and near zero on a healthy host. */
  slowCount = 0;

  isSyncAllowed(nowMs: number): boolean {
    return nowMs >= this.#asyncUntilMs;
  }

  /** To be told of every write on the loop. */
  took(startedAtMs: number, endedAtMs: number): void {
    this.#writesSincePause += 1;
    if (endedAtMs - startedAtMs <= SLOW_MS) return;
    this.slowCount += 1;
    this.#pauseMs = this.#writesSincePause <= PROBE_WRITES ? Math.min(this.#pauseMs * 2, PAUSE_MS_MAX) : PAUSE_MS_MIN;
    this.#asyncUntilMs = endedAtMs + this.#pauseMs;
    this.#writesSincePause = 0;
  }
}
