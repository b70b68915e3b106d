import { setTimeout as sleep } from 'node:timers/promises';

interface Opening {
  /** What it was asked for, as text. */
  readonly asked: string;
  readonly done: Promise<void>;
}

/**
 * VMs whose disks are being opened. A disk behind a server that does not answer takes seconds, at each attempt; meanwhile the other guests of this
 * host are served, fenced and let go as ever.
 */
export class OpeningVms {
  readonly #openings = new Map<string, Opening>();

  has(vmId: string): boolean {
    return this.#openings.has(vmId);
  }

  /** Begins, and resolves when it is over, opened or not. */
  async begin(vmId: string, asked: string, open: () => Promise<void>): Promise<void> {
    const done = open().finally(() => this.#openings.delete(vmId));
    this.#openings.set(vmId, { asked, done });
    await done;
  }

  /** Resolves when every one is over that was asked for something else than now: only what is open can be changed, or let go. */
  async settleOthers(askedNow: (vmId: string) => string): Promise<void> {
    await Promise.all([...this.#openings].flatMap(([vmId, { asked, done }]) => (asked === askedNow(vmId) ? [] : done)));
  }

  /** Resolves when all are over. */
  async settle(): Promise<void> {
    await Promise.all([...this.#openings.values()].map(({ done }) => done));
  }

  /** Resolves when all are over, or after so long. */
  async settleWithin(patienceMs: number): Promise<void> {
    if (this.#openings.size === 0) return;
    const isOver = new AbortController();
    try {
      await Promise.race([this.settle(), sleep(patienceMs, undefined, { signal: isOver.signal }).catch(() => undefined)]);
    } finally {
      isOver.abort();
    }
  }
}
