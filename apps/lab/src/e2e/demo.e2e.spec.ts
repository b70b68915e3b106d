import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { appEntry } from '../servers/node-programs.js';
import { runCommand, SitePair } from './site-pair.js';

describe('npm run demo -- --once', () => {
  let environment: Record<string, string>;

  beforeAll(async () => {
    environment = await SitePair.makeEnvironment('23,24');
  });
  afterAll(async () => {
    await SitePair.remove(environment);
  }, 60_000);

  it('plays to the end, the proof holds, nothing is left behind', async () => {
    const { exitCode, stdout, stderr } = await runCommand(process.execPath, [appEntry('lab/dist/demo/main.js'), '--once'], environment, 300_000);
    expect({ exitCode, stderr, output: exitCode === 0 ? '' : stdout }).toEqual({ exitCode: 0, stderr: '', output: '' });
    expect(stdout).toMatch(/e2fsck -fn: clean/);
    expect(stdout).toMatch(/files: all \d+ are there, SHA-256 equal/);
    expect(stdout).toMatch(/dependencies: no write is there without/);
    expect(stdout).toMatch(/RTO[^\n]*\d s/);
    expect(stdout).toMatch(/The proof held/);
    expect(stdout).not.toContain('\u001b[');
    expect(existsSync(environment['TIDEMARK_LAB_DIR']!)).toBe(false);
  }, 320_000);
});
