import { Random } from './random.js';

/** What may never happen, happened. */
export class Violation extends Error {
  override readonly name = 'Violation';
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

  /** Runs everything that is due up to then. */
  runUntil(endMs: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.dueAtMs <= endMs; next = this.#heap[0]) {
      this.#pop();
      this.#nowMs = next.dueAtMs;
      next.run();
    }
    this.#nowMs = endMs;
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
