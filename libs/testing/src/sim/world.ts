import { setImmediate as nextTurn } from 'node:timers/promises';
import { Random } from './random.js';

/**
 * What was violated. `lost`: acknowledged and not durable · `image`: of a checkpoint · `head`: no lag, and both sides differ · `cut`: of a causal chain · `gone`: a listed
 * checkpoint · `retirement`: of what is too young or never was listed · `pin`: retirement under a view · `apply`: before everyone retired · `view`: what a recovered guest
 * reads · `settings`: those that were edited last do not hold · `writers`: two VRAs have one disk open · `number`: given twice · `stuck`: not whole after the faults · `protocol`: between engines · `error`: an engine itself threw.
 */
export type ViolationKind =
  | 'lost' | 'image' | 'head' | 'cut' | 'hold' | 'limit' | 'gone' | 'retirement' | 'pin' | 'apply' | 'ownership' | 'view' | 'settings' | 'writers' | 'number' | 'stuck' | 'protocol' | 'error';

/** What may never happen, happened. */
export class Violation extends Error {
  override readonly name = 'Violation';

  constructor(readonly kind: ViolationKind, message: string) {
    super(message);
  }
}

interface Due {
  readonly dueAtMs: number;
  readonly serial: number;
  readonly run: () => void;
}

/** One thread, no real time: a seed, and an event queue ordered by (dueAt, serial). The same seed gives the same run, always. */
export class World {
  readonly random: Random;
  #nowMs = 0;
  #serial = 0;
  readonly #heap: Due[] = [];
  #isTouched = false;
  #failure: Error | undefined;
  /** Asynchronous code under way that may wait for a turn of Node's own loop. */
  turnsWanted = 0;
  /** A bit has turned on a medium: acknowledged data may be lost, loudly. */
  isMediumRotted = false;

  constructor(readonly seed: number) {
    this.random = new Random(seed);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get eventCount(): number {
    return this.#serial;
  }

  after(delayMs: number, run: () => void): void {
    this.#serial += 1;
    this.#push({ dueAtMs: this.#nowMs + Math.max(0, delayMs), serial: this.#serial, run });
  }

  delay(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, () => {
      this.touch();
      resolve();
    }));
  }

  /** The event in hand resolves a promise or calls asynchronous code: what follows from it is let run to its end before the next event. */
  touch(): void {
    this.#isTouched = true;
  }

  /** Ends the run: for what is found where nobody can catch it. The first failure counts. */
  fail(error: Error): void {
    this.#failure ??= error;
  }

  /** Runs everything that is due up to then. Rejects with the first failure. */
  async runUntil(endMs: number): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.dueAtMs <= endMs; next = this.#heap[0]) {
      this.#pop();
      this.#nowMs = next.dueAtMs;
      next.run();
      if (this.#isTouched || this.turnsWanted > 0) await this.#settle();
      if (this.#failure !== undefined) throw this.#failure;
    }
    this.#nowMs = endMs;
  }

  /** Promises have no clock: whatever is resolved runs now, in the order of resolution, so the run stays the same every time. */
  async #settle(): Promise<void> {
    do {
      this.#isTouched = false;
      await nextTurn();
      if (this.turnsWanted > 0) await nextTurn();
    } while (this.#isTouched);
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(due);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(due, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = due;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, left)) child += 1;
      const smallest = heap[child];
      if (smallest === undefined || !isBefore(smallest, last)) break;
      heap[at] = smallest;
      at = child;
    }
    heap[at] = last;
  }
}

const isBefore = (one: Due, other: Due): boolean => one.dueAtMs < other.dueAtMs || (one.dueAtMs === other.dueAtMs && one.serial < other.serial);
