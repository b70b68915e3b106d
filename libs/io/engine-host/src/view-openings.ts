import type { ViewSpec } from './types.js';

/** Each holds some descriptors and buffers while it is being opened; more side by side are not faster. */
const VIEWS_AT_ONCE_MAX = 32;

interface Opening {
  readonly spec: ViewSpec;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export interface OpeningSurroundings {
  /** Runs when nothing else that changes views and recoveries is under way. */
  exclusive(act: () => Promise<void>): Promise<void>;
  /** Opens one view, or finds it open. Never called twice at a time for one view id. */
  open(spec: ViewSpec): Promise<void>;
  /** Makes what is open durable. */
  save(): Promise<void>;
}

/** Views that are asked for together (a failover of many VMs) are opened side by side, and one save makes all of them durable before any is answered. */
export class ViewOpenings {
  readonly #waiting: Opening[] = [];

  constructor(private readonly around: OpeningSurroundings) {}

  open(spec: ViewSpec): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ spec, resolve, reject });
      if (this.#waiting.length === 1) void this.around.exclusive(() => this.#openWaiting());
    });
  }

  /** Answers every opening that it takes; never rejects. */
  async #openWaiting(): Promise<void> {
    const taken = this.#waiting.splice(0, VIEWS_AT_ONCE_MAX);
    if (this.#waiting.length > 0) void this.around.exclusive(() => this.#openWaiting());
    const byId = Map.groupBy(taken, ({ spec }) => spec.viewId);
    const opened = (await Promise.all([...byId.values()].map((same) => this.#openInTurn(same)))).flat();
    if (opened.length === 0) return;
    try {
      // When one was open already, too: the save before may have failed, and what is answered is durable.
      await this.around.save();
      for (const { resolve } of opened) resolve();
    } catch (error) {
      for (const { reject } of opened) reject(error);
    }
  }

  /** Requests for one view. Those that are open now; the others are answered. */
  async #openInTurn(same: readonly Opening[]): Promise<Opening[]> {
    const opened: Opening[] = [];
    for (const opening of same) {
      try {
        await this.around.open(opening.spec);
        opened.push(opening);
      } catch (error) {
        opening.reject(error);
      }
    }
    return opened;
  }
}
