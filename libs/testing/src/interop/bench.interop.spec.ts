import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { describeWithTools, run, runOk } from './tools.js';

const RUNNER = join(import.meta.dirname, '../../../../bench/run.mjs');
let folder: string;
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'tidemark-bench-test-')); });
afterEach(() => rmSync(folder, { recursive: true }));

interface Row {
  readonly case: string;
  readonly ours: number;
  readonly peer: number;
  readonly ratio: number;
  readonly goal: number;
  readonly spread: readonly number[];
}

/** No figure is judged: it must run, and say something about every case. */
describeWithTools('bench nbd', ['fio', 'qemu-nbd', 'nbdkit'], () => {
  it('measures every case on tiny input, prints the table and writes the JSON', async () => {
    const table = await runOk(process.execPath, [RUNNER, 'nbd', '--tiny', '--results', folder]);
    const { name, machine, versions, rows } = JSON.parse(readFileSync(join(folder, 'nbd.json'), 'utf8')) as
      { name: string; machine: { cpuCount: number }; versions: Record<string, string>; rows: Row[] };
    expect([name, machine.cpuCount > 0, Object.keys(versions).sort()]).toEqual(['nbd', true, ['fio', 'nbdkit', 'node', 'qemu-nbd', 'tidemark']]);
    expect(rows.map((row) => row.case)).toEqual(['4k random write qd1', '4k random write qd16', '4k random write qd32', '4k random read qd32',
      '64k random write qd8', '1M random write qd4', 'geometric mean']);
    for (const row of rows) {
      expect(table).toContain(row.case);
      expect([row.ours > 0, row.peer > 0, row.ratio > 0, row.goal > 0, row.spread.length]).toEqual([true, true, true, true, 2]);
    }
  });
});

describeWithTools('benches of the syncs', ['nbdcopy', 'qemu-img', 'rsync', 'fio'], () => {
  it.each(['initial-sync', 'delta-sync', 'bitmap-sync'])('%s copies a tiny volume right, and says how long it took and what was sent', async (name) => {
    await runOk(process.execPath, [RUNNER, name, '--tiny', '--results', folder]);
    const { rows } = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { rows: (Row & { readonly sentShare?: number; readonly sentPerChangedByte?: number })[] };
    for (const row of rows) expect([row.ours > 0, row.peer > 0, row.goal > 0]).toEqual([true, true, true]);
    // Bytes, unlike times, are the same on any machine.
    if (name === 'initial-sync') expect(rows[0]?.sentShare).toBeLessThan(0.62);
    if (name === 'delta-sync') expect(rows[0]?.sentPerChangedByte).toBeLessThan(1.05);
    if (name === 'bitmap-sync') expect(rows[0]?.ratio).toBeGreaterThan(1 / 1.05);
  });
});

describeWithTools('bench wire and wan', ['zstd', 'taskset'], () => {
  it.each([
    ['wire', ['incompressible', 'text', 'database page updates']],
    ['wan', ['RPO p50, no resets', 'RPO p99, no resets', 'back inside after a reset', 'RPO p50, one reset a minute', 'RPO p99, one reset a minute']],
  ])('%s measures every case on tiny input', async (name, cases) => {
    await runOk(process.execPath, [RUNNER, name, '--tiny', '--results', folder]);
    const { rows } = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { rows: Row[] };
    expect(rows.map((row) => row.case.replace(/ \(.*/, ''))).toEqual(cases);
    for (const row of rows) expect([row.ours > 0, row.peer > 0, row.ratio > 0, row.goal > 0]).toEqual([true, true, true, true]);
  });
});

it('a benchmark whose tools are missing names them and ends with 2', async () => {
  const result = await run('/usr/bin/env', ['-i', 'PATH=/nonexistent', process.execPath, RUNNER, 'nbd', '--tiny', '--results', folder]);
  expect([result.code, result.stderr]).toEqual([2, expect.stringContaining('fio (package fio), qemu-nbd (package qemu-utils), nbdkit (package nbdkit)')]);
});

it('an unknown benchmark is named with those that exist', async () => {
  const result = await run(process.execPath, [RUNNER, 'nope']);
  expect([result.code, result.stderr]).toEqual([64, expect.stringContaining('nbd')]);
});

/** Also here: it must run, and say something about every case. */
describeWithTools('benchmarks of whole VRAs', ['taskset', 'qemu-nbd', 'qemu-img'], () => {
  it.each(['scale-volumes', 'failover'])('%s', async (name) => {
    await runOk(process.execPath, [RUNNER, name, '--tiny', '--results', folder]);
    const { rows } = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { rows: Row[] };
    expect(rows.length).toBeGreaterThan(1);
    for (const row of rows) expect([row.case, row.ours > 0, row.ratio > 0, row.goal > 0]).toEqual([row.case, true, true, true]);
  });
});

it.each([['open-point', 10], ['restart', 2]])('%s runs on tiny input', async (name, rowCount) => {
  await runOk(process.execPath, [RUNNER, name, '--tiny', '--results', folder]);
  const { rows } = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as { rows: Row[] };
  expect([rows.length, rows.every(({ ours, ratio }) => ours >= 0 && ratio > 0)]).toEqual([rowCount, true]);
});
