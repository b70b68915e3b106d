/**
 * `npm test`: every lane in order, one line each, then `N passed, N failed[, N skipped]`.
 * Arguments: lane names (default: all) and path filters for the Jest lanes, as in `npm test -- unit libs/core/journal`.
 * A lane fails when a test fails, when it does not end in its time, or when it has test files but ran none of them.
 */
import { LANES } from './test/lanes.mjs';
import { runCommandLane } from './test/command-lane.mjs';
import { runJestLane } from './test/jest-lane.mjs';

const isTerminal = process.stdout.isTTY === true;
const words = process.argv.slice(2);
const unknownOptions = words.filter((word) => word.startsWith('-'));
const filters = words.filter((word) => !(word in LANES));
const chosen = words.filter((word) => word in LANES);
const names = Object.keys(LANES).filter((name) => chosen.length === 0 || chosen.includes(name));

const colour = (code, text) => (isTerminal ? `\u001b[${code}m${text}\u001b[0m` : text);

function describe({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}

function printLane(name, lane, seconds) {
  const mark = lane.failed > 0 ? colour(31, 'FAIL') : colour(32, 'ok  ');
  if (isTerminal) process.stdout.write('\r\u001b[K');
  if (lane.failed > 0) process.stdout.write(`${lane.output.trimEnd()}\n\n`);
  console.log(`${mark}  ${name.padEnd(12)} ${describe(lane).padEnd(34)} ${seconds.toFixed(1).padStart(6)} s`);
}

async function runLane(name) {
  if (isTerminal) process.stdout.write(`      ${name} …`);
  const startedAt = performance.now();
  const definition = LANES[name];
  const lane = definition.command ? await runCommandLane(definition) : await runJestLane(name, definition, filters);
  printLane(name, lane, (performance.now() - startedAt) / 1000);
  return lane;
}

if (unknownOptions.length > 0) {
  console.error(`unknown option ${unknownOptions.join(' ')}; lanes are ${Object.keys(LANES).join(', ')}`);
  process.exit(2);
}
const total = { passed: 0, failed: 0, skipped: 0 };
for (const name of names) {
  const lane = await runLane(name);
  for (const key of Object.keys(total)) total[key] += lane[key];
}
console.log(`\n${describe(total)}`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
