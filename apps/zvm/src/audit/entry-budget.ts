import type { Clock } from '../clock.js';

const CAUSES_MAX = 1000;

export interface Allowance {
  /** At once; so many again when nothing came for long. */
  readonly burst: number;
  /** One more after this time. */
  readonly everyMs: number;
}

interface Cause {
  entries: number;
  refilledMs: number;
  leftOut: number;
}

/** How many entries (of the audit, events) others can bring about: bounded for each cause, and all causes are bounded. What is left out is counted and told in the next entry. */
export class EntryBudget {
  readonly #causes = new Map<string, Cause>();

  constructor(
    private readonly clock: Pick<Clock, 'monotonicMs'>,
    private readonly allowance: Allowance,
    private readonly causesMax = CAUSES_MAX,
  ) {}

  /** How many of this cause have had no entry since the last one; undefined: this one has none either. */
  spend(name: string): number | undefined {
    const cause = this.#refilled(name);
    if (cause.entries < 1) {
      cause.leftOut += 1;
      return undefined;
    }
    const { leftOut } = cause;
    cause.entries -= 1;
    cause.leftOut = 0;
    return leftOut;
  }

  /** Whether {@link spend} would give one now. */
  isLeft(name: string): boolean {
    return this.#refilled(name).entries >= 1;
  }

  #refilled(name: string): Cause {
    const { burst, everyMs } = this.allowance;
    const now = this.clock.monotonicMs();
    if (!this.#causes.has(name) && this.#causes.size >= this.causesMax) this.#forgetIdle(now);
    const key = this.#causes.has(name) || this.#causes.size < this.causesMax ? name : 'many';
    const cause = this.#causes.get(key) ?? { entries: burst, refilledMs: now, leftOut: 0 };
    cause.entries = Math.min(burst, cause.entries + (now - cause.refilledMs) / everyMs);
    cause.refilledMs = now;
    this.#causes.set(key, cause);
    return cause;
  }

  /** As good as new. */
  #forgetIdle(now: number): void {
    const { burst, everyMs } = this.allowance;
    for (const [name, { entries, refilledMs, leftOut }] of this.#causes) {
      if (leftOut === 0 && entries + (now - refilledMs) / everyMs >= burst) this.#causes.delete(name);
    }
  }
}
