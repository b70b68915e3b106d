import { pid } from 'node:process';
import { WaitMeter } from './wait-meter.js';

const TICK_MS = 10;

/** The longest turn of this process's event loop by a {@link WaitMeter}: what the process does to those who wait for it, not what the machine does to it. */
export class TurnWatch {
  readonly #meter = new WaitMeter(() => [pid]);
  readonly #timer = setInterval(() => this.#tick(), TICK_MS);
  #last = this.#meter.start();
  #longestMs = 0;

  /** Since this was asked last, milliseconds. */
  takeLongestMs(): number {
    this.#tick();
    const longestMs = this.#longestMs;
    this.#longestMs = 0;
    return longestMs;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    this.#longestMs = Math.max(this.#longestMs, this.#meter.waitedMs(this.#last) - TICK_MS);
    this.#last = this.#meter.start();
  }
}
