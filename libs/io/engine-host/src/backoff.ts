const FIRST_MS = 2000;
const MAX_MS = 60_000;

/** When something that failed is tried again: after 2 s, then twice as long each time, a minute at most. */
export class Backoff {
  #waitMs = FIRST_MS;
  #dueAtMs: number;

  constructor(nowMs: number) {
    this.#dueAtMs = nowMs;
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.#dueAtMs;
  }

  failed(nowMs: number): void {
    this.#dueAtMs = nowMs + this.#waitMs;
    this.#waitMs = Math.min(MAX_MS, 2 * this.#waitMs);
  }

  /** Until the next try. */
  remainingMs(nowMs: number): number {
    return Math.max(0, this.#dueAtMs - nowMs);
  }
}
