/**
 * When a small write may be made on the event loop. In the page cache it takes some 6 µs, and the thread pool's hop that
 * is saved some 50 µs at queue depth 1; but the kernel throttles a writer when too much is dirty, and then the loop, with
 * every other guest on it, would stand still. So a write that took longer than {@link SLOW_MS} sends the following
 * ones to the pool for a while; that while doubles as long as slow ones go on.
 */
const SLOW_MS = 5;
const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 1600;

export class SyncBudget {
  #asyncUntilMs = 0;
  #backoffMs = BACKOFF_MS_MIN;
  /** Writes on the loop that took longer than 5 ms: a metric, and near zero on a healthy host. */
  slowCount = 0;

  isSyncAllowed(nowMs: number): boolean {
    return nowMs >= this.#asyncUntilMs;
  }

  /** To be told of every write on the loop. */
  took(startedAtMs: number, endedAtMs: number): void {
    if (endedAtMs - startedAtMs <= SLOW_MS) return;
    const wasSlowLately = startedAtMs - this.#asyncUntilMs < this.#backoffMs;
    this.#backoffMs = wasSlowLately && this.slowCount > 0 ? Math.min(this.#backoffMs * 2, BACKOFF_MS_MAX) : BACKOFF_MS_MIN;
    this.slowCount += 1;
    this.#asyncUntilMs = endedAtMs + this.#backoffMs;
  }
}
