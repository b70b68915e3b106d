import { Backoff } from './backoff.js';
import type { RecoveryHost } from './recovery-host.js';
import type { Logger } from './types.js';

export interface RepairSurroundings {
  readonly log: Logger;
  readonly hasView: (key: string) => boolean;
  readonly exclusive: <T>(act: () => Promise<T>) => Promise<T>;
}

/** A journal that cannot go on is opened anew after a while, unless a view reads from it. */
export class JournalRepair {
  readonly #retries = new Map<string, Backoff>();

  constructor(private readonly around: RepairSurroundings) {}

  async tick(nowMs: number, recoveries: readonly RecoveryHost[]): Promise<void> {
    for (const recovery of recoveries) {
      const { key } = recovery;
      if (!recovery.needsReopening) {
        this.#retries.delete(key);
        continue;
      }
      const retry = this.#retries.get(key) ?? new Backoff(nowMs);
      this.#retries.set(key, retry);
      if (this.around.hasView(key) || !retry.isDue(nowMs)) continue;
      retry.failed(nowMs); // it is deleted when the journal goes on
      await this.around.exclusive(() => this.#tryReopen(recovery));
    }
  }

  async #tryReopen(recovery: RecoveryHost): Promise<void> {
    const { key } = recovery;
    try {
      await recovery.reopenJournal();
      this.around.log.warn({ protection: key }, 'a broken journal was opened anew');
    } catch (error) {
      this.around.log.error({ protection: key, error: String(error) }, 'a broken journal cannot be opened anew; it is tried again');
    }
  }
}
