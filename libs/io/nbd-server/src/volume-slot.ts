import { assert } from '@tidemark/base';
import type { Volume } from '@tidemark/volume';

/** A volume under an export, and how many requests are on it: it may be closed when it was replaced and is idle. */
export class VolumeSlot {
  #inFlight = 0;
  #onIdle: (() => void)[] = [];

  constructor(readonly volume: Volume) {}

  get inFlight(): number {
    return this.#inFlight;
  }

  begin(): void {
    this.#inFlight += 1;
  }

  end(): void {
    assert(this.#inFlight > 0, 'request ended twice');
    this.#inFlight -= 1;
    if (this.#inFlight > 0 || this.#onIdle.length === 0) return;
    const waiting = this.#onIdle;
    this.#onIdle = [];
    for (const resolve of waiting) resolve();
  }

  /** Resolves when nothing is in flight. */
  idle(): Promise<void> {
    if (this.#inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }
}
