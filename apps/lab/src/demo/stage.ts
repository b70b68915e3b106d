import { bar, bytesText, paint, Screen } from '../terminal.js';

export type TimelineMark = 'automatic' | 'tagged' | 'damage';

export interface TimelineEntry {
  readonly kind: TimelineMark;
  readonly caption: string;
}

const SYMBOL: Readonly<Record<TimelineMark, string>> = {
  automatic: paint.cyan('●'),
  tagged: paint.green('◆'),
  damage: paint.red('✖'),
};

/** Columns from one mark to the next. */
const STRIDE = 5;

/** How the demo looks: sections with numbers, facts below them, one live block. Plain lines when nobody watches. */
export class Stage {
  readonly #screen: Screen;
  #section = 0;

  constructor(stream: NodeJS.WriteStream) {
    this.#screen = new Screen(stream);
  }

  title(): void {
    this.#screen.line();
    this.#screen.line(`  ${paint.bold(paint.cyan('Tidemark'))}  ${paint.dim('continuous data protection, two sites on this machine')}`);
  }

  section(title: string): void {
    this.#section += 1;
    this.#screen.line();
    this.#screen.line(`${paint.bold(paint.cyan(` ${this.#section} `))} ${paint.bold(title)}`);
  }

  say(text: string): void {
    this.#screen.line(`   ${text}`);
  }

  step(text: string): void {
    this.#screen.line(`   ${paint.dim('·')} ${text}`);
  }

  good(text: string): void {
    this.#screen.line(`   ${paint.green('✔')} ${text}`);
  }

  bad(text: string): void {
    this.#screen.line(`   ${paint.red('✘')} ${text}`);
  }

  /** `fraction` from 0 to 1. */
  progress(label: string, fraction: number, detail: string): void {
    const percent = `${Math.floor(fraction * 100)} %`.padStart(5);
    this.#screen.live([`   ${label}  ${bar(fraction, 36)} ${percent}  ${paint.dim(detail)}`]);
  }

  timeline(entries: readonly TimelineEntry[], facts: string): void {
    this.#screen.live(this.#timelineLines(entries, facts));
  }

  /** Leaves the timeline standing, with or without a terminal. */
  keepTimeline(entries: readonly TimelineEntry[], facts: string): void {
    this.#screen.live([]);
    for (const line of this.#timelineLines(entries, facts)) this.#screen.line(line);
  }

  #timelineLines(entries: readonly TimelineEntry[], facts: string): string[] {
    const shown = entries.slice(-Math.floor((this.#screen.columns - 10) / STRIDE));
    const marks = shown.map((entry) => SYMBOL[entry.kind]).join(paint.dim('─'.repeat(STRIDE - 1)));
    const prefix = shown.length < entries.length ? '… ' : '';
    const indent = ' '.repeat(3 + prefix.length);
    const damage = shown.some((entry) => entry.kind === 'damage') ? [indent + paint.red(captions(shown, (entry) => entry.kind === 'damage'))] : [];
    const named = captions(shown, (entry, index) => index === 0 || entry.kind === 'tagged');
    return ['', `   ${paint.dim(prefix)}${marks || paint.dim('no checkpoint yet')}`, indent + paint.dim(named), ...damage, `   ${facts}`];
  }

  table(rows: readonly (readonly [string, string])[]): void {
    const width = Math.max(...rows.map(([name]) => name.length));
    this.#screen.line();
    for (const [name, value] of rows) this.#screen.line(`   ${paint.dim(name.padEnd(width))}   ${paint.bold(value)}`);
    this.#screen.line();
  }

  clearLive(): void {
    this.#screen.live([]);
  }
}

/** The chosen entries' captions, each below its mark; one that would run into another is left out. */
function captions(entries: readonly TimelineEntry[], isChosen: (entry: TimelineEntry, index: number) => boolean): string {
  let line = '';
  for (const [index, entry] of entries.entries()) {
    const column = index * STRIDE;
    if (isChosen(entry, index) && column >= line.length) line = `${line.padEnd(column)}${entry.caption} `;
  }
  return line.trimEnd();
}

/** `10:42:07` of an instant. */
export const clockText = (instant: string | number | Date): string => new Date(instant).toISOString().slice(11, 19);

export const ratioText = (writtenBytes: number, sentBytes: number): string =>
  sentBytes > 0 ? `${bytesText(writtenBytes)} written, ${bytesText(sentBytes)} sent: ${(writtenBytes / sentBytes).toFixed(2)} : 1` : 'nothing sent';
