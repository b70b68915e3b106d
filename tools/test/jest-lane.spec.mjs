import { describe, expect, it } from '@jest/globals';
import { countReport, findSilentFailure } from './jest-lane.mjs';

const report = (more) => ({ numPassedTests: 0, numFailedTests: 0, numRuntimeErrorTestSuites: 0, numPendingTests: 0, numTodoTests: 0, ...more });
const run = (more) => ({ code: 0, isLate: false, fileCount: 3, minutesMax: 5, ...more });

describe('counting a lane', () => {
  it('counts a file that could not run as a failure', () => {
    expect(countReport(report({ numPassedTests: 4, numFailedTests: 1, numRuntimeErrorTestSuites: 2 }))).toEqual({ passed: 4, failed: 3, skipped: 0 });
  });

  it('counts pending and todo tests as skipped', () => {
    expect(countReport(report({ numPendingTests: 2, numTodoTests: 1 }))).toEqual({ passed: 0, failed: 0, skipped: 3 });
  });
});

describe('a lane that fails without a failed test', () => {
  const passed = { passed: 4, failed: 0, skipped: 0 };
  it.each([
    ['ran nothing', { passed: 0, failed: 0, skipped: 0 }, run(), 'no test ran'],
    ['never ended', passed, run({ code: null, isLate: true }), 'did not end within 5 minutes'],
    ['ended badly', passed, run({ code: 1 }), 'Jest ended with 1'],
  ])('%s', (_name, counts, outcome, complaint) => {
    expect(findSilentFailure(counts, outcome)).toContain(complaint);
  });

  it('is content with passed tests, and with skipped ones', () => {
    expect(findSilentFailure(passed, run())).toBe('');
    expect(findSilentFailure({ passed: 0, failed: 0, skipped: 2 }, run())).toBe('');
  });
});
