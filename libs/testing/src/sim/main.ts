import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { CORPUS } from './corpus.js';
import { PLANTS, type Plant } from './plants.js';
import { loadPlanted } from './planted-run.js';
import { run, type RunResult } from './run.js';

const USAGE = `npm run sim -- [--seeds N] [--seed S]   N seeds from S on (random and printed when absent); without --seeds and with --seed: that one
npm run sim -- --planted [--plant NAME]   every planted bug, or one, must be caught within its budget of seeds
npm run sim -- --corpus                   the fixed seeds of every test
--verbose: options of each failing run · --seed with --plant and without --planted: replay`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    planted: { type: 'boolean', default: false },
    plant: { type: 'string' },
    subset: { type: 'string' },
    corpus: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const SEEDS_DEFAULT = 200;
/** Where the search for planted bugs begins: another place every time would do as well, but then a miss could not be looked at again. */
const PLANTED_FIRST_SEED = 1000;

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return 'unknown commit';
  }
}

/** On a terminal: one line that is written over. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

function report({ seed, violation, options }: RunResult, plant?: Plant): void {
  progress('');
  console.log(`seed ${seed} at ${commit()}: ${violation?.stack ?? 'held'}`);
  if (values.verbose) console.log({ ...options, faults: Object.fromEntries(options.faults) });
  const planted = plant === undefined ? '' : ` --plant ${plant.name}`;
  console.log(`replay: npm run sim -- --seed ${seed}${planted} --verbose`);
}

async function runSeeds(seeds: readonly number[]): Promise<number> {
  const beganAt = performance.now();
  const totals = { listed: 0, images: 0, writes: 0, tests: 0, commits: 0, rollbacks: 0, moves: 0, reversals: 0, compactedBytes: 0 };
  let failed = 0;
  let done = 0;
  for (const seed of seeds) {
    const result = await run(seed);
    totals.listed += result.listedCount;
    totals.images += result.imageChecks;
    totals.writes += result.writeCount;
    totals.tests += result.testCount;
    totals.commits += result.commitCount;
    totals.rollbacks += result.rollbackCount;
    totals.moves += result.moveCount;
    totals.reversals += result.reversalCount;
    totals.compactedBytes += result.compactedBytes;
    done += 1;
    if (result.violation !== undefined) {
      failed += 1;
      report(result);
    }
    progress(`${done} of ${seeds.length} seeds, ${failed} failed, ${perMinute(done, beganAt)} seeds/min`);
  }
  progress('');
  console.log(`${done} seeds, ${failed} failed; ${perMinute(done, beganAt)} seeds/min; ${totals.writes} writes, ${totals.listed} checkpoints listed, ${totals.images} images compared, `
    + `${totals.tests} failover tests, ${totals.commits} failovers committed, ${totals.rollbacks} rolled back, ${totals.moves} of them moves, ${totals.reversals} turned round, ${Math.round(totals.compactedBytes / 1024)} KiB given back by compaction`);
  return failed;
}

const perMinute = (done: number, beganAt: number): number => Math.round(done / ((performance.now() - beganAt) / 60_000));

interface Found {
  readonly tried: number;
  /** Violations of another kind than the plant is there for. */
  readonly unrelated: number;
  readonly caught: RunResult | undefined;
}

/** The same choices, without the bug. */
const healthy = ({ flag: _flag, mutation: _mutation, ...plant }: Plant): Plant => plant;

/** The first seed of the budget that notices what the bug is there to violate, and holds without it: a run that fails anyway says nothing about the bug. */
async function search(plant: Plant, first: number): Promise<Found> {
  const runPlanted = await loadPlanted(plant);
  let unrelated = 0;
  for (let tried = 1; tried <= plant.seedBudget; tried += 1) {
    const result = await runPlanted(first + tried - 1);
    progress(`${plant.name}: ${tried} of ${plant.seedBudget} seeds`);
    if (result.kind === undefined) continue;
    if (!plant.expects.includes(result.kind)) {
      unrelated += 1;
      if (values.verbose) report(result, plant);
    } else if ((await run(result.seed, healthy(plant))).violation === undefined) return { tried, unrelated, caught: result };
  }
  return { tried: plant.seedBudget, unrelated, caught: undefined };
}

async function runPlanted(plants: readonly Plant[], first: number): Promise<number> {
  let missed = 0;
  for (const plant of plants) {
    const { tried, unrelated, caught } = await search(plant, first);
    progress('');
    if (caught === undefined) missed += 1;
    const how = caught === undefined ? `MISSED: ${plant.breaks}` : `seed ${caught.seed}: ${caught.kind}: ${caught.violation?.message ?? ''}`;
    const others = unrelated === 0 ? '' : `, ${unrelated} unrelated`;
    console.log(`${plant.name.padEnd(34)} ${`${tried} of ${plant.seedBudget}${others}`.padEnd(10)} ${how}`);
  }
  console.log(`${plants.length - missed} caught, ${missed} missed`);
  return missed;
}

function chosenPlants(): readonly Plant[] {
  const { plant, subset } = values;
  if (subset !== undefined) return PLANTS.filter((_, index) => index % Number(subset) === 0);
  if (plant === undefined) return PLANTS;
  const named = PLANTS.filter(({ name }) => name === plant);
  if (named.length === 0) throw new Error(`no planted bug of that name: ${PLANTS.map(({ name }) => name).join(', ')}`);
  return named;
}

async function replay(seed: number, plant: Plant | undefined): Promise<number> {
  const result = plant === undefined ? await run(seed) : await (await loadPlanted(plant))(seed);
  if (values.json) console.log(JSON.stringify({ ...result, options: undefined, violation: result.violation?.message }));
  else report(result, plant);
  return result.violation === undefined ? 0 : 1;
}

async function main(): Promise<number> {
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  if (values.planted) return await runPlanted(chosenPlants(), Number(values.seed ?? PLANTED_FIRST_SEED));
  if (values.corpus) return await runSeeds(CORPUS);
  const first = Number(values.seed ?? Math.floor(Date.now() / 1000) % 1_000_000_000);
  if (values.seed !== undefined && values.seeds === undefined) return await replay(first, values.plant === undefined ? undefined : chosenPlants()[0]);
  if (values.seed === undefined) console.log(`from seed ${first} on`);
  return await runSeeds(Array.from({ length: Number(values.seeds ?? SEEDS_DEFAULT) }, (_, index) => first + index));
}

process.exitCode = (await main()) === 0 ? 0 : 1;
