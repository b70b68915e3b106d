/** Seeded random numbers (mulberry32). The only source of chance in the simulation. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) | 0;
    for (let warmUp = 0; warmUp < 4; warmUp += 1) this.unit();
  }

  /** 0 ≤ x < 1. */
  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  below(max: number): number {
    return this.unit() * max;
  }

  between(min: number, max: number): number {
    return min + this.unit() * (max - min);
  }

  /** 0 ≤ n < count. */
  int(count: number): number {
    return Math.floor(this.unit() * count);
  }

  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  pick<T>(from: readonly T[]): T {
    const item = from[this.int(from.length)];
    if (item === undefined) throw new RangeError('pick from an empty list');
    return item;
  }
}
