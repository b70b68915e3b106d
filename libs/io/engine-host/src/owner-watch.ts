import type { EngineError } from './engine-error.js';
import { JournalOwner } from './journal-owner.js';
import type { RecoveryHost } from './recovery-host.js';

const LOOK_MS = 1000;
const LOOKS_AT_ONCE = 4;

export interface OwnerWatchSurroundings {
  readonly vraId: string;
  readonly recoveries: () => readonly RecoveryHost[];
  /** Another VRA has taken the files: nothing may be written to them any more. */
  readonly moved: (recovery: RecoveryHost, error: EngineError) => Promise<void>;
  readonly problem: (recovery: RecoveryHost, error: unknown) => void;
}

/**
 * Looks every second whether journals that are open here still name this VRA. An operator may have said that this host is down, when it was only out of the
 * manager's reach: another VRA has taken them then, and waits for this one to find out. On a timer of its own: no opening of a journal holds it up.
 */
export class OwnerWatch {
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> | undefined;

  constructor(private readonly around: OwnerWatchSurroundings) {
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => (this.#looking = undefined));
    }, LOOK_MS);
  }

  async #look(): Promise<void> {
    const left = [...this.around.recoveries()];
    const lookAtSome = async (): Promise<void> => {
      for (let recovery = left.pop(); recovery; recovery = left.pop()) await this.#lookAt(recovery);
    };
    await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, lookAtSome));
  }

  async #lookAt(recovery: RecoveryHost): Promise<void> {
    try {
      const error = await JournalOwner.movedFrom(recovery.spec, this.around.vraId);
      if (error) await this.around.moved(recovery, error);
    } catch (error) {
      this.around.problem(recovery, error);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }
}
