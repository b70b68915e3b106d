import type { World } from '../world.js';

const DELAY_MS_MAX = 80;
const ANSWER_MS = 1500;

/** A process that can die at any event: what is under way for it, or on its way to it, is lost. */
export abstract class Actor {
  #incarnation = 0;
  #isUp = true;

  constructor(
    readonly name: string,
    protected readonly world: World,
  ) {}

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Runs only if this process has not died since. */
  guarded(act: () => void): () => void {
    const incarnation = this.#incarnation;
    return () => {
      if (this.#isUp && this.#incarnation === incarnation) act();
    };
  }

  later(delayMs: number, act: () => void): void {
    this.world.after(delayMs, this.guarded(act));
  }

  every(periodMs: number, act: () => void): void {
    this.later(this.world.random.between(0.5, 1) * periodMs, () => {
      act();
      this.every(periodMs, act);
    });
  }

  crash(): void {
    this.#isUp = false;
    this.#incarnation += 1;
    this.forget();
  }

  restart(): void {
    if (this.#isUp) return;
    this.#isUp = true;
    this.begin();
  }

  /** What was only in memory is gone. */
  protected abstract forget(): void;
  /** With what is durable. */
  abstract begin(): void;
}

export type Answer<T> = { readonly isAnswered: true; readonly value: T } | { readonly isAnswered: false; readonly reason: string; readonly isRetryable: boolean };

/** Who reaches whom. A partition cuts a pair; what is under way between them is lost. */
export class Wires {
  readonly #cut = new Set<string>();

  constructor(private readonly world: World) {}

  #key(a: Actor, b: Actor): string {
    return [a.name, b.name].sort().join(' ');
  }

  setCut(a: Actor, b: Actor, isCut: boolean): void {
    if (isCut) this.#cut.add(this.#key(a, b));
    else this.#cut.delete(this.#key(a, b));
  }

  healAll(): void {
    this.#cut.clear();
  }

  reaches(a: Actor, b: Actor): boolean {
    return a.isUp && b.isUp && !this.#cut.has(this.#key(a, b));
  }

  send(from: Actor, to: Actor, act: () => void): void {
    if (!this.reaches(from, to)) return;
    const arrive = to.guarded(act);
    this.world.after(this.world.random.below(DELAY_MS_MAX), () => {
      if (!this.#cut.has(this.#key(from, to))) arrive();
    });
  }

  /** `handle` throws to refuse. Called back once, unless `from` has died. */
  ask<T>(from: Actor, to: Actor, handle: () => T, answered: (answer: Answer<T>) => void): void {
    let isOpen = true;
    const close = from.guarded(() => undefined);
    const settle = (answer: Answer<T>): void => {
      if (!isOpen) return;
      isOpen = false;
      close();
      from.guarded(() => answered(answer))();
    };
    from.later(ANSWER_MS, () => settle({ isAnswered: false, reason: `${to.name} does not answer`, isRetryable: true }));
    this.send(from, to, () => {
      let answer: Answer<T>;
      try {
        answer = { isAnswered: true, value: handle() };
      } catch (error) {
        answer = { isAnswered: false, reason: (error as Error).message, isRetryable: false };
      }
      this.send(to, from, () => settle(answer));
    });
  }
}
