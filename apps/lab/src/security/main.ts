/**
 * npm run test:security
 *
 * Two whole sites, and a third one that is paired with the first, on loopback addresses. Every socket that a process of them listens on is found in /proc and attacked: by outsiders with nothing and with what they made
 * themselves, by the third site outside its pairing, by VRAs of the other and of the own site, by each role of the REST API, by another user of the machine. A table says who could do what, and what was expected; a listener that
 * nobody has described, and any difference, fail. Then keys are rotated and every component is killed and comes back. Exit code 1 on a difference.
 */
import { parseArgs } from 'node:util';
import { paint, Screen, secondsText } from '../terminal.js';
import { carryOut, type Result } from './attempt.js';
import { Stage } from './stage.js';
import { attemptsOn } from './plan.js';
import { restoreAll } from './restore.js';
import { resultTable } from './table.js';

const { values } = parseArgs({ options: { only: { type: 'string', default: '' }, keep: { type: 'boolean', default: false }, differences: { type: 'boolean', default: false } } });
const screen = new Screen(process.stdout);
const startedAtMs = performance.now();
const tell = (line: string): void => screen.line(`${paint.dim('·')} ${line}`);

async function walk(stage: Stage): Promise<Result[]> {
  const { attempts, undescribed } = await attemptsOn(stage);
  const chosen = attempts.filter(({ who, port, tried }) => `${who} ${port} ${tried}`.includes(values.only));
  tell(`${chosen.length} attempts at ${new Set(attempts.map(({ port }) => port)).size} ports`);
  const results: Result[] = [];
  // One after the other: what is refused to one must not be because of what another one does at the moment.
  for (const attempt of chosen) results.push(await carryOut(attempt));
  return [...undescribed, ...results];
}

function conclude(results: readonly Result[]): number {
  const differences = results.filter(({ isAsExpected }) => !isAsExpected);
  screen.line(resultTable(values.differences ? differences : results));
  screen.line(`${results.length} attempts, ${differences.length} differences from what is expected, ${secondsText(performance.now() - startedAtMs)}`);
  return differences.length === 0 && results.length > 0 ? 0 : 1;
}


async function main(): Promise<number> {
  const stage = await Stage.raise(tell);
  try {
    const walked = await walk(stage);
    return conclude([...walked, ...(values.only === '' ? await restoreAll(stage.pair, stage.vpgId, tell) : [])]);
  } finally {
    if (!values.keep) await stage.remove();
  }
}

main().then((code) => process.exit(code), (error: unknown) => {
  screen.line(`${paint.red('✘')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exit(1);
});
