import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';

const MAIN = join(import.meta.dirname, '../../dist/activity/mutations-run.js');

it('every known mutation of the activity log is caught by a crash between two of its steps', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN], { timeout: 60_000 });
  expect(stdout.trim().split('\n').at(-1)).toBe('6 caught, 0 missed');
}, 70_000);
