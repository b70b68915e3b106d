import type { HeldChanges, HeldCheckpoint } from './checkpoint-catalogue.js';

/** What to ask a journal's VRA next; `checkpoint.list` without the names. */
export interface ListingQuestion {
  readonly afterChange?: number;
  readonly afterCheckpointId?: number;
}

/** Its answer: a bounded part of the list (isWhole) or of the changes. */
export interface ListingPage<Held extends HeldCheckpoint> extends HeldChanges<Held> {
  /** Numbers of changes count within one instance. */
  readonly instance: string;
  readonly lastChange: number;
  readonly isMore: boolean;
}

interface Position {
  readonly instance: string;
  readonly lastChange: number;
}

interface Reading<Held> extends Position {
  readonly held: Map<number, Held>;
  readonly afterCheckpointId: number;
}

/**
 * Reads one journal's list page by page while it changes. The pages of the list are of different moments: a checkpoint that was retired or sealed between
 * two of them may be in or missing. So the number of the last change is taken with the first page, and the changes behind it are asked for next: additions
 * and removals are by checkpoint, each of them makes the same of a list that has it already. Nothing is told before the last page; until then what was
 * known before holds. A restart of the VRA, or changes that it does not remember, begin the reading anew.
 */
export class JournalListing<Held extends HeldCheckpoint> {
  #position: Position | undefined;
  #reading: Reading<Held> | undefined;

  /** The list was read to its end at least once since the last restart of its VRA. */
  get isKnown(): boolean {
    return this.#position !== undefined;
  }

  get isReading(): boolean {
    return this.#reading !== undefined;
  }

  isCurrent({ instance, lastChange }: Position): boolean {
    return this.#reading === undefined && this.#position?.instance === instance && this.#position.lastChange === lastChange;
  }

  get question(): ListingQuestion {
    if (this.#reading !== undefined) return { afterCheckpointId: this.#reading.afterCheckpointId };
    return this.#position === undefined ? {} : { afterChange: this.#position.lastChange };
  }

  /** The answer to {@link question}. Undefined: nothing to tell yet. */
  take(question: ListingQuestion, page: ListingPage<Held>): HeldChanges<Held> | undefined {
    const { instance, lastChange } = page;
    if (page.isWhole && question.afterCheckpointId === undefined) {
      return this.#readOn({ instance, lastChange, held: new Map(), afterCheckpointId: 0 }, page);
    }
    if (page.isWhole) return this.#reading?.instance === instance ? this.#readOn(this.#reading, page) : this.#beginAnew();
    return this.#position?.instance === instance ? this.#takeChanges(this.#position, page) : this.#beginAnew();
  }

  #readOn(reading: Reading<Held>, page: ListingPage<Held>): HeldChanges<Held> | undefined {
    const { instance, lastChange, held } = reading;
    for (const checkpoint of page.held) held.set(checkpoint.checkpointId, checkpoint);
    if (!page.isMore) {
      this.#reading = undefined;
      this.#position = { instance, lastChange };
      return { isWhole: true, held: [...held.values()], dropped: [] };
    }
    const afterCheckpointId = page.held.at(-1)?.checkpointId ?? 0;
    if (afterCheckpointId <= reading.afterCheckpointId) return this.#beginAnew();
    this.#reading = { instance, lastChange, held, afterCheckpointId };
    return undefined;
  }

  #takeChanges(known: Position, { instance, lastChange, isMore, held, dropped }: ListingPage<Held>): HeldChanges<Held> | undefined {
    if (isMore && lastChange <= known.lastChange) return this.#beginAnew();
    this.#position = { instance, lastChange };
    return { isWhole: false, held, dropped };
  }

  /** Another process than the one that was asked before, or an answer that would never come to an end. */
  #beginAnew(): undefined {
    this.#reading = undefined;
    this.#position = undefined;
  }
}
