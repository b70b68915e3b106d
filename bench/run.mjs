/**
 * npm run bench -- NAME [--tiny] [--rounds N] [--only TEXT] [--results FOLDER]
 * npm run bench -- all     every benchmark, one after the other; ends with 1 when one could not run
 * npm run bench -- report  docs/performance.md with its charts, from bench/results/
 *
 * Runs the benchmark of bench/NAME.bench.mjs: prints one table, writes bench/results/NAME.json. Nothing fails on a time. Exit code 2: a
 * tool is missing (it is named; nothing is installed). --tiny: one short round on tiny input, so that tests can see that it runs.
 * --only: the cases whose name contains TEXT.
 *
 * A benchmark exports `tools` (what it needs from PATH) and `run(context)`, which gives the rows. `context`: `{ rounds, isTiny, only,
 * folder (temporary, on the disk that is measured; removed afterwards), progress(text) }`. lib/ has what they share.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { inOrder, writePage } from './lib/page.mjs';
import { tableOf, writeResult } from './lib/report.mjs';
import { MissingToolsError, requireTools } from './lib/tools.mjs';

const here = import.meta.dirname;
const root = dirname(here);
const { positionals: [name], values } = parseArgs({
  allowPositionals: true,
  options: { tiny: { type: 'boolean', default: false }, rounds: { type: 'string', default: '9' }, only: { type: 'string', default: '' }, results: { type: 'string', default: join(here, 'results') } },
});
const SUFFIX = '.bench.mjs';
const names = inOrder(readdirSync(here).filter((file) => file.endsWith(SUFFIX)).map((file) => file.slice(0, -SUFFIX.length)));

/** Each in a process of its own: none inherits the heap, or the failure, of another. */
function runAll() {
  const failed = [];
  for (const [index, each] of names.entries()) {
    console.error(`\n== ${each} (${index + 1} of ${names.length})`);
    const options = ['--rounds', values.rounds, '--results', values.results, ...(values.tiny ? ['--tiny'] : [])];
    const { status } = spawnSync(process.execPath, [import.meta.filename, each, ...options], { stdio: 'inherit' });
    if (status !== 0) failed.push(`${each} (exit code ${status})`);
  }
  console.error(failed.length === 0 ? `\nall ${names.length} ran` : `\nthese did not run: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
}

if (name === 'all') process.exit(runAll());
if (name === 'report') {
  const { path, lines } = writePage({ root, results: values.results });
  console.log([...lines, path].join('\n'));
  process.exit(0);
}
if (name === undefined || !names.includes(name)) {
  console.error(`usage: npm run bench -- NAME [--tiny] [--rounds N]; NAME is one of ${names.join(', ')}; or all, or report`);
  process.exit(64);
}

const { tools, run } = await import(`./${name}${SUFFIX}`);
try {
  requireTools(tools);
} catch (error) {
  if (!(error instanceof MissingToolsError)) throw error;
  console.error(`bench ${name}: ${error.message}`);
  process.exit(2);
}
execFileSync(process.execPath, [join(root, 'tools', 'build.mjs')], { stdio: 'inherit' });

const folder = mkdtempSync(join(tmpdir(), `tidemark-bench-${name}-`));
const startedAt = performance.now();
const progress = (text) => console.error(`${((performance.now() - startedAt) / 1000).toFixed(0).padStart(4)} s  ${text}`);
try {
  const rows = await run({ rounds: values.tiny ? 1 : Number(values.rounds), isTiny: values.tiny, only: values.only, folder, progress });
  console.log(tableOf(rows));
  console.log(`\nratio: median of the pairwise ratios of interleaved rounds, spread: its quartiles. ${writeResult({ root, folder: values.results, name, tools, rows })}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
