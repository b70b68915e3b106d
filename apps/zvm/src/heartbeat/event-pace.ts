export interface PaceLimits {
  /** Between two messages of one sender. */
  readonly intervalMs: number;
  /** Of one sender; what is longer than it may send in `intervalMs` has to wait longer for its next turn. */
  readonly bytesPerSecond: number;
}

/** How often a sender of events is heard: it may send as often as it likes, what comes before its time is not read. */
export class EventPace {
  readonly #nextMs = new Map<string, number>();

  constructor(private readonly limits: PaceLimits) {}

  isWelcome(sender: string, sizeBytes: number, nowMs: number): boolean {
    if (nowMs < (this.#nextMs.get(sender) ?? -Infinity)) return false;
    this.#nextMs.set(sender, nowMs + Math.max(this.limits.intervalMs, (1000 * sizeBytes) / this.limits.bytesPerSecond));
    return true;
  }

  forget(sender: string): void {
    this.#nextMs.delete(sender);
  }
}
