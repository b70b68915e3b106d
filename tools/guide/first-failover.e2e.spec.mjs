import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const root = dirname(dirname(import.meta.dirname));
const GUIDE = join(root, 'docs/guide/first-failover.md');
const TIMEOUT_MS = 240_000;

/** A program of the guide that this machine lacks: skipped here, a failure where REQUIRE_INTEROP is set. */
const missing = ['curl', 'jq', 'qemu-io', 'nbdcopy'].filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
const itWithTools = missing.length === 0 || process.env.REQUIRE_INTEROP === '1' ? it : it.skip;

/** The ```bash blocks of a page, one after the other, as a reader would paste them. */
export function scriptOf(markdown) {
  return [...markdown.matchAll(/^```bash\n([\s\S]*?)^```$/gm)].map(([, block]) => block).join('\n');
}

function runBash(script, env) {
  const child = spawn('bash', ['-c', `set -euo pipefail\n${script}`], { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((resolve) => child.once('exit', (code) => resolve({ code, output })));
}

describe('the guide to a first failover', () => {
  let env;
  beforeAll(() => {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-guide-'));
    rmSync(folder, { recursive: true });
    // The set-up has been done by whoever runs the tests; addresses of its own, so that a lab may be up beside it.
    env = { ...process.env, TIDEMARK_LAB_DIR: folder, TIDEMARK_LAB_SUBNETS: '91,92', TIDEMARK_SKIP_SETUP: '1' };
  });
  afterAll(() => {
    spawnSync(process.execPath, ['apps/lab/dist/main.js', 'down'], { cwd: root, env, stdio: 'ignore' });
  });

  itWithTools('does what it says, block by block', async () => {
    const { code, output } = await runBash(scriptOf(readFileSync(GUIDE, 'utf8')), env);
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(output).toContain('the test sees the disk as it was');
    expect(output).toContain('failed over: every byte is that of the checkpoint');
  }, TIMEOUT_MS);
});
