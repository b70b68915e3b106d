import { createColors } from 'picocolors';

/** A cheap screen: lines that stay, and a block below them that is redrawn. Without a terminal only the lines. */
export class Screen {
  #liveLines = 0;

  constructor(private readonly stream: NodeJS.WriteStream) {}

  get isLive(): boolean {
    return this.stream.isTTY;
  }

  get columns(): number {
    return this.stream.isTTY ? Math.min(this.stream.columns, 120) : 100;
  }

  line(text = ''): void {
    this.#erase();
    this.stream.write(`${text}\n`);
  }

  /** Replaces the block below the lines. Nothing without a terminal. */
  live(lines: readonly string[]): void {
    if (!this.isLive) return;
    this.#erase();
    this.stream.write(lines.map((line) => `${line}\n`).join(''));
    this.#liveLines = lines.length;
  }

  /** Leaves the block as it stands. */
  keep(): void {
    this.#liveLines = 0;
  }

  #erase(): void {
    if (this.#liveLines > 0) this.stream.write(`\u001b[${this.#liveLines}A\u001b[0J`);
    this.#liveLines = 0;
  }
}

/** Colours for a person at a terminal; a file, a pipe and CI get plain text. */
// isTTY is undefined where there is no terminal, and createColors takes undefined for "decide by the environment": CI has colours there.
const isColourful = (process.stdout as { isTTY?: boolean }).isTTY === true && process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb';
export const paint = createColors(isColourful);

/** `━━━━━━╸────`: `fraction` from 0 to 1. */
export function bar(fraction: number, width: number): string {
  const filled = Math.round(Math.max(0, Math.min(1, fraction)) * width);
  return `${paint.cyan('━'.repeat(filled))}${paint.dim('─'.repeat(width - filled))}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${value >= 100 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, '')} ${UNITS[unit] ?? ''}`;
}

export const secondsText = (ms: number): string => (ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`);
