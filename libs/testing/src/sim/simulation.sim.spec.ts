import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { mutated } from './planted-run.js';
import { PLANTS } from './plants.js';

/** The simulation runs as it does for people: in a process of its own, on the build. */
const MAIN = join(import.meta.dirname, '../../dist/sim/main.js');
const TIMEOUT_MS = 110_000;

async function sim(...options: string[]): Promise<{ readonly code: number; readonly stdout: string }> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...options], { timeout: TIMEOUT_MS });
    return { code: 0, stdout };
  } catch (error) {
    const { code, stdout, stderr } = error as { readonly code?: unknown; readonly stdout?: string; readonly stderr?: string };
    if (typeof code !== 'number') throw error;
    return { code, stdout: `${stdout ?? ''}${stderr ?? ''}` };
  }
}

describe('simulation of two sites', () => {
  it('is the same run again for the same seed', async () => {
    const runs = await Promise.all([sim('--seed', '4', '--json'), sim('--seed', '4', '--json')]);
    const [first, second] = runs.map(({ stdout }) => JSON.parse(stdout) as { readonly listedCount: number; readonly eventCount: number });
    expect(first).toEqual(second);
    expect(first?.listedCount).toBeGreaterThan(0);
  });

  it('holds for the seeds that once found something, and a spread', async () => {
    const { code, stdout } = await sim('--corpus');
    expect(stdout).toMatch(/ 0 failed; /);
    expect(code).toBe(0);
  });

  it('holds for new seeds', async () => {
    const { code, stdout } = await sim('--seeds', '8');
    expect(`${stdout}${code}`).toMatch(/ 0 failed; [^]*0$/);
  });
});

describe('planted bugs', () => {
  it('each has a name of its own and a guarantee that it breaks', () => {
    expect(new Set(PLANTS.map(({ name }) => name)).size).toBe(PLANTS.length);
    expect(PLANTS.length).toBeGreaterThanOrEqual(30);
    for (const { flag, mutation, expects } of PLANTS) {
      expect([flag, mutation].filter((one) => one !== undefined)).toHaveLength(1);
      expect(expects.length).toBeGreaterThan(0);
    }
  });

  it('each has its place in the source, once', () => {
    for (const { mutation } of PLANTS) if (mutation !== undefined) expect(mutated(mutation)).toContain(mutation.replace);
  });

  it('one in twelve is caught within its budget', async () => {
    const { code, stdout } = await sim('--planted', '--subset', '12');
    expect(stdout).toMatch(/ caught, 0 missed\n$/);
    expect(code).toBe(0);
  });

  it('a run with one ends with an exit code, and its replay is the same', async () => {
    const planted = await sim('--planted', '--plant', 'ack-on-arrival');
    const seed = /seed (\d+)/.exec(planted.stdout)?.[1] ?? '';
    const replayed = await sim('--seed', seed, '--plant', 'ack-on-arrival');
    expect(replayed.code).toBe(1);
    expect(replayed.stdout).toContain(`replay: npm run sim -- --seed ${seed} --plant ack-on-arrival`);
  });
});
