import { shownText } from '@tidemark/base';
import { paint } from '../terminal.js';
import type { Result } from './attempt.js';

const SEEN_LENGTH_MAX = 90;
const HEAD = ['port', 'tried', 'was', 'expected'] as const;

/** Who × port × what was tried × what came of it × what should have: a block for each who. */
export function resultTable(results: readonly Result[]): string {
  const rows = results.map(({ port, tried, isAllowed, isExpectedAllowed }) => [port, tried, wordOf(isAllowed), wordOf(isExpectedAllowed)]);
  const widths = HEAD.map((head, column) => Math.max(head.length, ...rows.map((row) => (row[column] ?? '').length)));
  const padded = (cells: readonly string[]): string => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ');
  const lines = [paint.bold(`${padded([...HEAD])}  seen`)];
  for (const who of new Set(results.map((result) => result.who))) {
    lines.push('', paint.bold(who));
    for (const [index, result] of results.entries()) {
      if (result.who !== who) continue;
      const line = `${padded(rows[index] ?? [])}  ${shownText(result.seen).slice(0, SEEN_LENGTH_MAX)}`;
      lines.push(result.isAsExpected ? line : paint.red(`${line}   <-- DIFFERENT`));
    }
  }
  return lines.join('\n');
}

const wordOf = (isAllowed: boolean): string => (isAllowed ? 'allowed' : 'refused');
