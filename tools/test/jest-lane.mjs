import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { collect, lateText } from './child.mjs';

const JEST = ['node', '--experimental-vm-modules', '--no-warnings', 'node_modules/jest/bin/jest.js', '-c', 'tools/jest.config.mjs'];
const NOTHING = { passed: 0, failed: 0, skipped: 0, output: '' };

/**
 * Counts of one Jest report. A file that could not run at all (a syntax error, a failed import) has no tests in it: it
 * counts as one failure, or a broken file would look like a missing one.
 */
export function countReport(report) {
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** What the report does not say: Jest ended badly, or ran nothing although there are files. Returns a complaint or ''. */
export function findSilentFailure(counts, { code, isLate, fileCount, minutesMax }) {
  if (counts.failed > 0) return '';
  if (isLate) return lateText(minutesMax);
  if (code !== 0) return `\nJest ended with ${code} although no test failed\n`;
  if (counts.passed === 0 && counts.skipped === 0) return `\n${fileCount} test files, but no test ran\n`;
  return '';
}

async function listFiles(env, filters) {
  const { output } = await collect([...JEST, '--listTests', '--json', ...filters], { minutesMax: 2, env });
  const line = output.split('\n').find((text) => text.startsWith('['));
  if (!line) throw new Error(`Jest cannot list its tests:\n${output}`);
  return JSON.parse(line);
}

export async function runJestLane(lane, { minutesMax }, filters) {
  const env = { LANE: lane };
  const files = await listFiles(env, filters);
  if (files.length === 0) return NOTHING;
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-jest-'));
  const reportFile = join(folder, 'report.json');
  try {
    const run = await collect([...JEST, '--ci', '--json', '--outputFile', reportFile, ...filters], { minutesMax, env });
    const output = run.output;
    if (!existsSync(reportFile)) return { ...NOTHING, failed: 1, output: `${output}\nJest wrote no report${run.isLate ? lateText(minutesMax) : ''}\n` };
    const counts = countReport(JSON.parse(readFileSync(reportFile, 'utf8')));
    const complaint = findSilentFailure(counts, { ...run, fileCount: files.length, minutesMax });
    return { ...counts, failed: counts.failed + (complaint ? 1 : 0), output: output + complaint };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
