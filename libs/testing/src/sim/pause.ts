import type { World } from './world.js';

/** A process that is stopped and goes on (SIGSTOP, a VM that is suspended, a host that swaps). */
export class Pause {
  readonly #spans: { readonly fromMs: number; toMs: number }[] = [];
  #waiting: (() => void)[] = [];
  isOn = false;

  constructor(private readonly world: World) {}

  /** Pauses so far. */
  get count(): number {
    return this.#spans.length;
  }

  begin(): void {
    this.isOn = true;
    this.#spans.push({ fromMs: this.world.nowMs, toMs: Infinity });
  }

  /** What waited is done now, in the order in which it came. */
  end(): void {
    const last = this.#spans.at(-1);
    if (!this.isOn || last === undefined) return;
    this.isOn = false;
    last.toMs = this.world.nowMs;
    for (const run of this.#waiting.splice(0)) this.world.after(0, run);
  }

  whenRunning(run: () => void): void {
    if (this.isOn) this.#waiting.push(run);
    else run();
  }

  /** Of this span, ms. */
  ms(fromMs: number, toMs: number): number {
    return this.#spans.reduce((sum, span) => sum + Math.max(0, Math.min(toMs, span.toMs) - Math.max(fromMs, span.fromMs)), 0);
  }
}
