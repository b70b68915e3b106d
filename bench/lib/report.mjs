import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { versionOf } from './tools.mjs';

const short = (value) => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2));

/** The table that people read. */
export function tableOf(rows) {
  const lines = [['case', 'unit', 'ours', 'peer', 'ratio', 'spread', 'goal', '', 'CPU µs/op ours : peer']];
  for (const row of rows) {
    lines.push([
      row.case, row.unit, short(row.ours), `${short(row.peer)} (${row.peerName})`, row.ratio.toFixed(2), row.spread.map((value) => value.toFixed(2)).join('–'),
      `≥ ${row.goal.toFixed(2)}`, row.ratio >= row.goal ? 'met' : 'MISSED', row.cpuMicros ? `${short(row.cpuMicros.ours)} : ${short(row.cpuMicros.peer)}` : '',
    ]);
  }
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd()).join('\n');
}

function commit(root) {
  try {
    return execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

/** Writes bench/results/NAME.json. The path. */
export function writeResult({ root, folder, name, tools, rows }) {
  const [cpu] = cpus();
  const machine = { cpu: cpu?.model ?? 'unknown', cpuCount: cpus().length, memoryBytes: totalmem(), kernel: release() };
  const versions = { node: process.version, tidemark: commit(root), ...Object.fromEntries(tools.filter((tool) => tool !== 'taskset').map((tool) => [tool, versionOf(tool)])) };
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}.json`);
  writeFileSync(path, `${JSON.stringify({ name, machine, versions, rows }, undefined, 2)}\n`);
  return path;
}
