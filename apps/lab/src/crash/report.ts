import Table from 'cli-table3';
import { secondsText } from '../terminal.js';
import type { CycleResult } from './crash-loop.js';

interface Run {
  readonly results: readonly CycleResult[];
  readonly lastProblems: readonly string[];
  readonly seed: number;
  readonly elapsedMs: number;
}

export interface Report {
  readonly table: string;
  readonly markdown: string;
  readonly lastLine: string;
  readonly violationCount: number;
}

const HEAD = ['fault', 'cycles', 'recovered in, median', 'longest', 'slowest write', 'violations'];

/** One row per fault, and the line that ends the lane: `N cycles, N violations`. */
export function reportOf({ results, lastProblems, seed, elapsedMs }: Run): Report {
  const rows = [...new Set(results.map(({ fault }) => fault))].sort().map((fault) => rowOf(fault, results.filter((result) => result.fault === fault)));
  const violationCount = results.reduce((sum, { violations }) => sum + violations.length, 0) + lastProblems.length;
  const table = new Table({ head: HEAD, style: { head: [], border: [] } });
  table.push(...rows);
  const lastLine = `${results.length} cycles, ${violationCount} violations`;
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const markdown = [`Seed ${seed}, ${secondsText(elapsedMs)}: ${lastLine}.`, '', line(HEAD), line(HEAD.map(() => '---')), ...rows.map(line), ''].join('\n');
  return { table: table.toString(), markdown, lastLine, violationCount };
}

function rowOf(fault: string, results: readonly CycleResult[]): string[] {
  const recovered = results.map(({ recoveredMs }) => recoveredMs).sort((a, b) => a - b);
  const slowest = Math.max(...results.map(({ guestWaitMs }) => guestWaitMs));
  const violations = results.reduce((sum, result) => sum + result.violations.length, 0);
  const median = recovered[Math.floor(recovered.length / 2)] ?? 0;
  return [fault, String(results.length), secondsText(median), secondsText(recovered.at(-1) ?? 0), `${Math.round(slowest)} ms`, String(violations)];
}
