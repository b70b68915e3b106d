import Table from 'cli-table3';
import { createColors } from 'picocolors';
import { shownValue, terminalJson, terminalText } from './terminal-text.js';

export type OutputFormat = 'table' | 'json';

/** The one place that writes to the terminal. Results go to standard output, everything else to standard error. */
export class Output {
  readonly colors: ReturnType<typeof createColors>;

  constructor(
    readonly format: OutputFormat,
    private readonly out: NodeJS.WriteStream,
    readonly err: NodeJS.WriteStream,
    environment: Readonly<Record<string, string | undefined>>,
  ) {
    // isTTY is undefined where there is no terminal, and createColors takes undefined for "decide by the environment".
    this.colors = createColors((out as { isTTY?: boolean }).isTTY === true && environment['NO_COLOR'] === undefined && environment['TERM'] !== 'dumb');
  }

  /** A list: a table for people, the objects as the API gave them for programs. */
  list<Row>(rows: readonly Row[], columns: Readonly<Record<string, (row: Row) => string>>, whenEmpty: string): void {
    if (this.format === 'json') return this.json(rows);
    if (rows.length === 0) {
      this.note(whenEmpty);
      return;
    }
    this.out.write(`${this.table(rows, columns)}\n`);
  }

  table<Row>(rows: readonly Row[], columns: Readonly<Record<string, (row: Row) => string>>): string {
    const table = new Table({ head: Object.keys(columns).map((name) => this.colors.bold(name)), style: { head: [], border: [], compact: true }, chars: PLAIN });
    for (const row of rows.map(shownValue)) table.push(Object.values(columns).map((cell) => terminalText(cell(row))));
    return table.toString().split('\n').map((line) => line.trimEnd()).join('\n');
  }

  /** One thing, as name and value. */
  facts(value: unknown, pairs: Readonly<Record<string, string>>): void {
    if (this.format === 'json') return this.json(value);
    const width = Math.max(...Object.keys(pairs).map((name) => name.length));
    for (const [name, text] of Object.entries(pairs)) this.out.write(`${this.colors.dim(name.padEnd(width))}  ${terminalText(text)}\n`);
  }

  /** The end of an operation: `result` for programs, a sentence for people. */
  done(result: object, sentence: string): void {
    if (this.format === 'json') this.json(result);
    else this.out.write(`${this.colors.green('✔')} ${terminalText(sentence)}\n`);
  }

  json(value: unknown): void {
    this.out.write(`${terminalJson(JSON.stringify(value, null, 2))}\n`);
  }

  /** One object per line, for streams. */
  jsonLine(value: unknown): void {
    this.out.write(`${terminalJson(JSON.stringify(value))}\n`);
  }

  text(text: string): void {
    this.out.write(`${terminalText(text)}\n`);
  }

  note(text: string): void {
    this.err.write(`${terminalText(text)}\n`);
  }

  /** Goes back over `lines` lines that were written before; nothing when this is no terminal. */
  rewind(lines: number): void {
    if (this.out.isTTY && lines > 0) this.out.write(`\u001b[${lines}A\u001b[0J`);
  }
}

/** Columns with two blanks between them and no lines: narrow, and easy to cut out of. */
const PLAIN = {
  top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '',
  left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: ' ',
};

export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const step = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return `${Number((bytes / 1024 ** step).toFixed(1))} ${units[step] ?? ''}`;
}

export const megabytesText = (mb: number | null | undefined): string => (mb === null || mb === undefined ? '–' : bytesText(mb * 2 ** 20));

/** `2026-11-22 02:04:05`, local time. */
export function timeText(iso: string | null | undefined): string {
  if (iso === null || iso === undefined) return '–';
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return iso;
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export const orDash = (text: string | number | null | undefined): string => (text === null || text === undefined || text === '' ? '–' : String(text));
