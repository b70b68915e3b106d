import { Logger } from '@nestjs/common';
import { messageOf } from './errors.js';

/**
 * One recurring piece of work: runs every `everyMs`, at once when poked, never twice at a time. A failure is logged when its text
 * changes, and the work is simply tried again: everything that runs here compares what is with what should be.
 */
export class Background {
  readonly #log: Logger;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isPoked = false;
  #isStopped = false;
  #lastProblem = '';

  constructor(
    name: string,
    private readonly everyMs: number,
    private readonly work: () => Promise<void>,
  ) {
    this.#log = new Logger(name);
  }

  start(): void {
    this.#timer = setInterval(() => this.poke(), this.everyMs);
    this.poke();
  }

  poke(): void {
    if (this.#isStopped) return;
    if (this.#running) {
      this.#isPoked = true;
      return;
    }
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    do {
      this.#isPoked = false;
      try {
        await this.work();
        this.#lastProblem = '';
      } catch (error) {
        const text = messageOf(error);
        if (text !== this.#lastProblem) this.#log.warn(text);
        this.#lastProblem = text;
      }
    } while (this.#isPoked && !this.#isStopped);
    this.#running = undefined;
  }

  /** Resolves when the last run has ended. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }
}

/** What fails for one keeps none of the others from its turn. @throws the first error, when all had theirs */
export async function eachAlone<T>(items: Iterable<T>, work: (item: T) => Promise<void> | void): Promise<void> {
  const problems: unknown[] = [];
  for (const item of items) {
    try {
      await work(item);
    } catch (error) {
      problems.push(error);
    }
  }
  if (problems.length > 0) throw problems[0];
}
