import { mix } from '../guest/described-block.js';

/** Numbers that follow from a seed: the same plan of faults for the same seed. */
export class SeededRandom {
  #count = 0;

  constructor(private readonly seed: number) {}

  /** From 0 up to, not including, 1. */
  next(): number {
    this.#count += 1;
    return mix(this.seed, this.#count) / 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.next() * items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }
}
