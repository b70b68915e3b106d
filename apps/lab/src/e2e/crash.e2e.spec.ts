import { expect, it } from '@jest/globals';
import { appEntry } from '../servers/node-programs.js';
import { runCommand } from './site-pair.js';

it('npm run crash: kills, examines a checkpoint after each, fails over, and says that nothing was violated', async () => {
  const { exitCode, stdout } = await runCommand(process.execPath, [appEntry('lab/dist/crash/main.js'), '--cycles', '2', '--seed', '4', '--only', 'kill b/vra'], {}, 200_000);
  expect({ exitCode, stdout: exitCode === 0 ? '' : stdout }).toEqual({ exitCode: 0, stdout: '' });
  expect(stdout.trimEnd().split('\n').at(-1)).toBe('2 cycles, 0 violations');
}, 210_000);
