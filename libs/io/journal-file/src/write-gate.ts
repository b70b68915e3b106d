/** Lets guest writes pass, counts those inside, and can be shut for the short end of a promotion. */
export class WriteGate {
  #inside = 0;
  #isShut = false;
  readonly #waiting: (() => void)[] = [];
  readonly #whenEmpty: (() => void)[] = [];

  constructor(private readonly hasRoom: () => boolean) {}

  async run<T>(write: () => Promise<T>): Promise<T> {
    while (this.#isShut || !this.hasRoom()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#inside += 1;
    try {
      return await write();
    } finally {
      this.#inside -= 1;
      if (this.#inside === 0) for (const resolve of this.#whenEmpty.splice(0)) resolve();
    }
  }

  /** Resolves when no write is inside any more; none enters before `open`. */
  async shut(): Promise<void> {
    this.#isShut = true;
    if (this.#inside > 0) await new Promise<void>((resolve) => this.#whenEmpty.push(resolve));
  }

  open(): void {
    this.#isShut = false;
    this.wake();
  }

  /** There may be room again. */
  wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
