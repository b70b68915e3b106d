import type { SimulatedState } from './state.js';

interface WaitingChange {
  /** @returns what tells the caller, when it is durable */
  readonly change: (draft: SimulatedState) => Promise<() => void>;
  readonly reject: (error: unknown) => void;
  readonly isLast: boolean;
}

/** The state of a simulated manager and how it changes: one change after the other, those that wait together durable by one `save`, each before it is answered and shown. */
export class StateChanges {
  readonly #waiters = new Set<() => void>();
  #waiting: WaitingChange[] = [];
  #isWorking = false;

  constructor(
    private shown: SimulatedState,
    private readonly save: (state: SimulatedState) => Promise<void>,
  ) {}

  /** As it is durable. */
  get state(): SimulatedState {
    return this.shown;
  }

  /**
   * Runs `change` on a copy. One that throws, or alters nothing, leaves everything as it was. `deletesFiles`: what comes after it is saved after it, so that no inventory that
   * is read after a kill takes for an old disk what a later change has put in its place.
   */
  make<T>(change: (draft: SimulatedState) => Promise<T>, { deletesFiles = false }: { readonly deletesFiles?: boolean } = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const answering = async (draft: SimulatedState): Promise<() => void> => {
        const result = await change(draft);
        return () => resolve(result);
      };
      this.#waiting.push({ change: answering, reject, isLast: deletesFiles });
      if (!this.#isWorking) void this.#work(); // ends by itself: every failure is some change's
    });
  }

  async #work(): Promise<void> {
    this.#isWorking = true;
    while (this.#waiting.length > 0) await this.#together(this.#nextBatch());
    this.#isWorking = false;
  }

  #nextBatch(): WaitingChange[] {
    const last = this.#waiting.findIndex(({ isLast }) => isLast);
    return this.#waiting.splice(0, last < 0 ? this.#waiting.length : last + 1);
  }

  async #together(batch: readonly WaitingChange[]): Promise<void> {
    const made: { readonly answer: () => void; readonly reject: (error: unknown) => void }[] = [];
    let newest = this.shown;
    for (const { change, reject } of batch) {
      const draft = structuredClone(newest);
      try {
        made.push({ answer: await change(draft), reject });
        if (JSON.stringify(draft) !== JSON.stringify(newest)) newest = { ...draft, revision: draft.revision + 1 };
      } catch (error) {
        reject(error);
      }
    }
    try {
      await this.#show(newest);
      for (const { answer } of made) answer();
    } catch (error) {
      for (const { reject } of made) reject(error);
    }
  }

  async #show(state: SimulatedState): Promise<void> {
    if (state === this.shown) return;
    await this.save(state);
    this.shown = state;
    for (const wake of [...this.#waiters]) wake();
  }

  /** Resolves with the revision as soon as it is another one than `revision`, or when `signal` aborts. */
  async changedSince(revision: number, signal: AbortSignal): Promise<number> {
    while (this.shown.revision === revision && !signal.aborted) await this.#nextChange(signal);
    return this.shown.revision;
  }

  #nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        this.#waiters.delete(done);
        resolve();
      };
      signal.addEventListener('abort', done);
      this.#waiters.add(done);
    });
  }
}
