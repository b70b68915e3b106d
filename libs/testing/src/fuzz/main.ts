/**
 * npm run fuzz -- [--seconds N] [--seed S] [--target NAME]      runs all targets in turns, seeds from S on (S random and printed when absent)
 * npm run fuzz -- --target NAME --seed S --count 1              replays one execution
 *
 * Exit code 1 on a finding: it names target and seed, which are all that an input is made of.
 */
import { parseArgs } from 'node:util';
import { Random } from '../sim/random.js';
import { execute, type Finding, type FuzzTarget } from './target.js';
import { TARGETS } from './targets.js';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' }, target: { type: 'string' }, count: { type: 'string' } },
});

const FINDINGS_MAX = 10;
/** Seeds of one target in a row: enough that the clock is not looked at all the time. */
const TURN = 25;
/** Targets with so few executions in the gate write files, and take a hundred times as long. */
const IS_SLOW_BELOW = 100;

async function turn(target: FuzzTarget, first: number, count: number, findings: Finding[]): Promise<void> {
  for (let seed = first; seed < first + count && findings.length < FINDINGS_MAX; seed += 1) {
    const finding = await execute(target, seed, (from) => new Random(from));
    if (!finding) continue;
    findings.push(finding);
    console.error(`FINDING in ${finding.target}, seed ${finding.seed}: ${finding.what}\nreplay: npm run fuzz -- --target ${finding.target} --seed ${finding.seed} --count 1\n`);
  }
}

async function main(): Promise<number> {
  const targets = TARGETS.filter(({ name }) => values.target === undefined || name === values.target);
  if (targets.length === 0) {
    console.error(`no target ${values.target ?? ''}; there are ${TARGETS.map(({ name }) => name).join(', ')}`);
    return 64;
  }
  const firstSeed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const countMax = values.count === undefined ? Infinity : Number(values.count);
  const untilMs = values.count === undefined ? performance.now() + Number(values.seconds) * 1000 : Infinity;
  const executions = new Map(targets.map(({ name }) => [name, 0]));
  const findings: Finding[] = [];
  for (let offset = 0; offset < countMax && performance.now() < untilMs && findings.length < FINDINGS_MAX; offset += TURN) {
    for (const target of targets) {
      const count = countMax === Infinity && target.gateCount < IS_SLOW_BELOW ? 1 : Math.min(countMax - offset, TURN);
      await turn(target, firstSeed + offset, count, findings);
      executions.set(target.name, (executions.get(target.name) ?? 0) + count);
    }
  }
  const total = [...executions.values()].reduce((sum, count) => sum + count, 0);
  console.log(`seed ${firstSeed}: ${total} executions (${[...executions].map(([name, count]) => `${name} ${count}`).join(', ')}), ${findings.length} findings`);
  return findings.length === 0 ? 0 : 1;
}

process.exit(await main());
