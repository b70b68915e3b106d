import { shownText } from '@tidemark/base';
import type { Output } from './output.js';

const WIDTH = 28;
/** Without a terminal: a line when the text changes, or at every tenth. */
const STEP_PERCENT = 10;

/** A bar on standard error, redrawn in place; plain lines where there is no terminal. */
export class ProgressBar {
  #label = '';
  #tenth = -1;

  constructor(private readonly output: Output) {}

  show(percent: number, text: string): void {
    const label = shownText(text);
    const clamped = Math.max(0, Math.min(100, percent));
    if (this.output.err.isTTY) this.#draw(clamped, label);
    else this.#print(clamped, label);
  }

  /** Leaves the line; what was drawn stays. */
  end(): void {
    if (this.output.err.isTTY && this.#label !== '') this.output.err.write('\n');
    this.#label = '';
    this.#tenth = -1;
  }

  #draw(percent: number, label: string): void {
    this.#label = label;
    const { columns } = this.output.err;
    const filled = Math.round((percent / 100) * WIDTH);
    const bar = `${this.output.colors.cyan('━'.repeat(filled))}${this.output.colors.dim('─'.repeat(WIDTH - filled))}`;
    const room = Math.max(10, (columns > 0 ? columns : 100) - WIDTH - 8);
    this.output.err.write(`\r\u001b[K${bar} ${String(Math.floor(percent)).padStart(3)} % ${label.slice(0, room)}`);
  }

  #print(percent: number, label: string): void {
    const tenth = Math.floor(percent / STEP_PERCENT);
    const steady = label.replace(/[\d.]+/g, '#');
    if (tenth === this.#tenth && steady === this.#label.replace(/[\d.]+/g, '#')) return;
    this.#label = label;
    this.#tenth = tenth;
    this.output.err.write(`${Math.floor(percent)} % ${label}\n`);
  }
}
