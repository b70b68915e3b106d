import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { checkedResult, isMet } from './result.mjs';
import { versionOf } from './tools.mjs';

const short = (value) => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2));

export const HEADINGS = ['case', 'unit', 'ours', 'peer', 'ratio', 'spread', 'goal', '', 'CPU µs/op ours : peer'];

/** One row in words, by {@link HEADINGS}. */
export function cellsOf(row) {
  const peer = row.peer === undefined || row.peer === null ? '' : short(row.peer);
  return [
    row.case, row.unit, short(row.ours), row.peerName ? `${peer} (${row.peerName})`.trim() : peer, row.ratio.toFixed(2),
    row.spread ? row.spread.map((value) => value.toFixed(2)).join('–') : '', `≥ ${row.goal.toFixed(2)}`, isMet(row) ? 'met' : 'MISSED',
    row.cpuMicros ? `${short(row.cpuMicros.ours)} : ${short(row.cpuMicros.peer)}` : '',
  ];
}

/** The table that people read. */
export function tableOf(rows) {
  const lines = [HEADINGS, ...rows.map(cellsOf)];
  const widths = HEADINGS.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd()).join('\n');
}

function commit(root) {
  try {
    return execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/** Writes bench/results/NAME.json; throws ResultError, before that, when the rows do not say what they must. The path. */
export function writeResult({ root, folder, name, tools, rows }) {
  const [cpu] = cpus();
  const machine = { cpu: cpu?.model ?? 'unknown', cpuCount: cpus().length, memoryBytes: totalmem(), kernel: release() };
  const versions = { node: process.version, tidemark: commit(root), ...Object.fromEntries(tools.filter((tool) => tool !== 'taskset').map((tool) => [tool, versionOf(tool)])) };
  const result = checkedResult({ name, measuredAt: new Date().toISOString(), machine, versions, rows });
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.json`);
  writeFileSync(path, `${JSON.stringify(result, undefined, 2)}\n`);
  return path;
}
