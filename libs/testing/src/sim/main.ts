import { execFileSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { PLANTS, type Plant } from './plants.js';
import { run, type RunResult } from './run.js';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '200' },
    seed: { type: 'string' },
    planted: { type: 'boolean', default: false },
    plant: { type: 'string' },
    first: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown commit';
  }
}

function report({ seed, violation, options }: RunResult, plant?: Plant): void {
  console.log(`seed ${seed} at ${commit()}: ${violation?.stack ?? 'held'}`);
  if (values.verbose) console.log({ ...options, faults: Object.fromEntries(options.faults) });
  const planted = plant === undefined ? '' : ` --plant ${plant.name}`;
  console.log(`replay: npm run sim -- --seed ${seed}${planted} --verbose`);
}

/** Seeds from `first` on; ends at the first violation if `isFirstEnough`. */
function runSeeds(first: number, count: number): number {
  const beganAt = performance.now();
  let failed = 0;
  let listed = 0;
  let images = 0;
  for (let seed = first; seed < first + count; seed += 1) {
    const result = run(seed);
    listed += result.listedCount;
    images += result.imageChecks;
    if (result.violation === undefined) continue;
    failed += 1;
    report(result);
  }
  const minutes = (performance.now() - beganAt) / 60_000;
  console.log(`${count} seeds, ${failed} failed; ${Math.round(count / minutes)} seeds/min; ${listed} checkpoints listed, ${images} images compared`);
  return failed;
}

/** A run that fails without the bug as well says nothing about the bug. */
function isCaught(seed: number, plant: Plant): RunResult | undefined {
  const result = run(seed, plant);
  return result.violation !== undefined && run(seed).violation === undefined ? result : undefined;
}

/** Each planted bug must be noticed within its budget of seeds; after three hits its rate is known well enough. */
function runPlanted(plants: readonly Plant[], first: number): number {
  let missed = 0;
  const hitsMax = values.first ? 1 : 3;
  for (const plant of plants) {
    let hits = 0;
    let firstHit: RunResult | undefined;
    let tried = 0;
    for (let seed = first; seed < first + plant.seedBudget && hits < hitsMax; seed += 1) {
      tried += 1;
      const caught = isCaught(seed, plant);
      if (caught === undefined) continue;
      hits += 1;
      firstHit ??= caught;
    }
    if (hits === 0) missed += 1;
    const how = firstHit === undefined ? 'MISSED' : `seed ${firstHit.seed}: ${firstHit.violation?.message ?? ''}`;
    console.log(`${plant.name.padEnd(32)} ${`${hits} of ${tried} seeds`.padEnd(18)} ${how}`);
  }
  console.log(`${plants.length - missed} caught, ${missed} missed`);
  return missed;
}

function main(): number {
  const plants = values.plant === undefined ? PLANTS : PLANTS.filter((plant) => plant.name === values.plant);
  if (plants.length === 0) throw new Error(`no planted bug of that name: ${PLANTS.map((plant) => plant.name).join(', ')}`);
  const isOne = values.seed !== undefined && process.argv.every((argument) => !argument.startsWith('--seeds'));
  const first = Number(values.seed ?? Math.floor(Date.now() / 1000) % 1_000_000_000);
  if (values.planted) return runPlanted(plants, Number(values.seed ?? 1));
  if (isOne) {
    const plant = values.plant === undefined ? undefined : plants[0];
    const result = run(first, plant);
    report(result, plant);
    return result.violation === undefined ? 0 : 1;
  }
  return runSeeds(first, Number(values.seeds));
}

process.exitCode = main() === 0 ? 0 : 1;
