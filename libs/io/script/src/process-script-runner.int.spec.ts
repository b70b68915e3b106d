import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OUTPUT_BYTES_MAX, ProcessScriptRunner, type ScriptEnd, type ScriptRun } from './index.js';

const isRoot = process.geteuid?.() === 0;
/** Others run no scripts. */
const describeAsRoot = isRoot ? describe : describe.skip;
const LONG_MS = 60_000;

let folder: string;
let secrets: string;
let runner: ProcessScriptRunner;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-scripts-'));
  await chmod(folder, 0o755);
  // As a ZVM keeps its keys.
  secrets = await mkdtemp(join(tmpdir(), 'tidemark-secrets-'));
  await mkdir(join(secrets, 'trust'), { mode: 0o700 });
  await writeFile(join(secrets, 'trust', 'key.pem'), 'KEY', { mode: 0o600 });
  runner = new ProcessScriptRunner({ folder, user: { uid: 65534, gid: 65534 }, graceMs: 300 });
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await rm(secrets, { recursive: true, force: true });
});

let count = 0;
async function script(text: string, interpreter = '/bin/sh'): Promise<string> {
  count += 1;
  await writeFile(join(folder, `s${count}`), `#!${interpreter}\n${text}\n`);
  await chmod(join(folder, `s${count}`), 0o755);
  return `s${count}`;
}

const run = async (text: string, over: Partial<ScriptRun> = {}): Promise<ScriptEnd> =>
  await runner.run({ file: await runner.check(await script(text)), args: [], environment: () => ({}), timeoutMs: LONG_MS, signal: new AbortController().signal, ...over });

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Zombies that nobody reaps (a container without an init) do nothing any more. */
async function isGone(pid: number): Promise<boolean> {
  const stats = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return !isAlive(pid) || stats === '' || / Z /.test(stats);
}

async function untilGone(pid: number): Promise<void> {
  const until = Date.now() + LONG_MS;
  while (!(await isGone(pid))) {
    if (Date.now() > until) throw new Error(`process ${pid} still runs`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function pidIn({ stdout }: ScriptEnd): number {
  expect(stdout).toMatch(/^\d+\n$/);
  return Number(stdout);
}

/** Has script `name` as `job` for a `runner` of another process, which does `work` with it. */
async function inOwnProcess(name: string, work: string, { descriptors = {}, setpriv = [] }: { readonly descriptors?: Readonly<Record<number, number>>; readonly setpriv?: readonly string[] } = {}): Promise<{ readonly signal: unknown; readonly said: string }> {
  const program = `
    import { ProcessScriptRunner } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    import { readFileSync } from 'node:fs';
    const runner = new ProcessScriptRunner({ folder: ${JSON.stringify(folder)}, user: { uid: 65534, gid: 65534 } });
    const refusal = await runner.check('${name}').then(() => undefined, ({ code, message }) => code + ': ' + message);
    const job = refusal === undefined && { file: await runner.check('${name}'), args: [], environment: () => ({}), timeoutMs: 60000, signal: new AbortController().signal };
    ${work}`;
  const stdio: ('ignore' | 'pipe' | 'inherit' | number)[] = ['ignore', 'pipe', 'inherit'];
  for (const [at, fd] of Object.entries(descriptors)) {
    while (stdio.length < Number(at)) stdio.push('ignore');
    stdio[Number(at)] = fd;
  }
  // Killed, it leaves its work folder.
  const node = [process.execPath, '--input-type=module', '-e', program];
  const [command = '', ...args] = setpriv.length === 0 ? node : ['/usr/bin/setpriv', ...setpriv, '--', ...node];
  const child = spawn(command, args, { stdio, env: { ...process.env, TMPDIR: folder } });
  let said = '';
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const signal = await new Promise((resolve) => child.once('close', (_code, by) => resolve(by)));
  return { signal, said };
}

describeAsRoot('a script', () => {
  it('tells how it ended, with what it wrote, and leaves no work folder', async () => {
    const end = await run('echo out; echo err >&2; mkdir -p a/b; echo x > a/b/c; pwd; read line && echo "got $line"; exit 3');
    const workFolder = /^\/\S*tidemark-script-\S+$/m.exec(end.stdout)?.[0] ?? '';
    expect(end).toMatchObject({ exitCode: 3, endedBy: null, isTimedOut: false, isStopped: false, stdout: `out\n${workFolder}\n`, stderr: 'err\n', leftFolder: null });
    await expect(stat(workFolder)).rejects.toThrow(/ENOENT/);
  });

  it('takes hostile names as they are: no shell looks at arguments and variables', async () => {
    const hostile = ['$(touch x)', '`touch x`', '; touch x', '"\'\\', 'a b', '', '-n', '*', 'é 東 👩‍💻', 'line\nend', '%s$IFS'];
    const end = await run('for a in "$@"; do printf "<%s>" "$a"; done; printf "[%s]" "$NAME"; ls -A', { args: hostile, environment: () => ({ NAME: hostile.join('|') }) });
    expect([end.exitCode, end.stdout]).toEqual([0, `${hostile.map((text) => `<${text}>`).join('')}[${hostile.join('|')}]`]);
  });

  it('has an environment of nothing but what is given', async () => {
    process.env['TIDEMARK_TEST_SECRET'] = 'secret';
    try {
      const end = await run('/usr/bin/env; echo "in $PWD"', { environment: (workFolder) => ({ ZertoVPGName: 'Shop', ZertoWorkingDir: workFolder, PATH: '/evil' }) });
      const names = end.stdout.split('\n').flatMap((line) => /^(\w+)=/.exec(line)?.[1] ?? []).sort();
      expect(names).toEqual(['HOME', 'LANG', 'PATH', 'PWD', 'TMPDIR', 'ZertoVPGName', 'ZertoWorkingDir']);
      expect(end.stdout).toMatch(/^PATH=\/usr\/local\/sbin:/m);
    } finally {
      delete process.env['TIDEMARK_TEST_SECRET'];
    }
  });

  it('that cannot take its arguments is not run, and says so', async () => {
    await expect(run('true', { args: ['a\0b'] })).rejects.toMatchObject({ code: 'SCRIPT_START' });
    await expect(run('true', { args: ['x'.repeat(200_000)] })).rejects.toMatchObject({ code: 'SCRIPT_START', message: expect.stringContaining('E2BIG') });
  });

  it('that floods its output is read on, and the last 64 KiB of it are kept', async () => {
    const end = await run('head -c 3000000 /dev/zero | tr "\\0" a; printf end; head -c 300000 /dev/zero | tr "\\0" b >&2');
    expect([end.exitCode, end.stdout.length, end.stderr.length]).toEqual([0, OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX]);
    expect([end.stdout.slice(-6), end.stderr.slice(-3)]).toEqual(['aaaend', 'bbb']);
  });

  it('that takes too long is ended with its children, also those that ignore SIGTERM', async () => {
    const end = await run('trap "" TERM; sh -c \'trap "" TERM; echo $$; while :; do sleep 1; done\' & wait', { timeoutMs: 1500 });
    expect(end).toMatchObject({ isTimedOut: true, exitCode: null, endedBy: 'SIGKILL' });
    await untilGone(pidIn(end));
  });

  it('is asked to end first', async () => {
    const end = await run('trap "echo bye; exit 7" TERM; echo begun; while :; do sleep 0.05; done', { timeoutMs: 1500 });
    expect(end).toMatchObject({ isTimedOut: true, exitCode: 7, stdout: 'begun\nbye\n' });
  });

  it('that ends leaves nothing running in its group', async () => {
    const end = await run('mkfifo p; sh -c \'echo $$; echo go > p; exec sleep 1000\' & read go < p');
    expect(end).toMatchObject({ exitCode: 0, isTimedOut: false });
    await untilGone(pidIn(end));
  });

  it('is waited for no longer than it runs when a process that has left its group holds its output', async () => {
    const end = await run('mkfifo p; setsid sh -c \'echo $$; echo go > p; exec sleep 1000\' & read go < p');
    expect([end.exitCode, isAlive(pidIn(end))]).toEqual([0, true]);
    process.kill(pidIn(end), 'SIGKILL');
  });

  it('is ended when its signal aborts, before the start as well as later', async () => {
    const stop = new AbortController();
    const running = run('echo $$; exec sleep 1000', { signal: stop.signal });
    setTimeout(() => stop.abort(), 200);
    expect(await running).toMatchObject({ isStopped: true, isTimedOut: false, endedBy: 'SIGTERM' });
    expect(await run('exec sleep 1000', { signal: AbortSignal.abort() })).toMatchObject({ isStopped: true });
  });

  it('does not outlive who runs it', async () => {
    const name = await script('exec 2>/dev/null; while :; do sleep 1; done');
    const { signal, said } = await inOwnProcess(name, `
      void runner.run(job);
      const children = () => readFileSync('/proc/self/task/' + process.pid + '/children', 'latin1').trim();
      const isScript = () => children() !== '' && readFileSync('/proc/' + children() + '/comm', 'latin1').trim() === '${name}';
      setInterval(() => {
        if (isScript()) process.stdout.write(children(), () => process.kill(process.pid, 'SIGKILL'));
      }, 20);`);
    expect([signal, said]).toEqual(['SIGKILL', expect.stringMatching(/^\d+$/)]);
    await untilGone(Number(said));
  });
});

describeAsRoot('the rights of a script', () => {
  it('are never more than it began with: nothing that it starts has more, and no descriptor but its three is open', async () => {
    const name = await script('grep NoNewPrivs /proc/self/status; for fd in 3 20; do readlink /proc/$$/fd/$fd || echo closed; done; ls -l /proc/$$/fd | grep -c key.pem');
    // One that Node closes by itself at its start, and one behind a gap, which it does not find.
    const key = await open(join(secrets, 'trust', 'key.pem'));
    const { said } = await inOwnProcess(name, 'process.stdout.write((await runner.run(job)).stdout);', { descriptors: { 3: key.fd, 20: key.fd } });
    await key.close();
    expect(said).toBe('NoNewPrivs:\t1\nclosed\n/dev/null\n0\n');
  });

  it('are those of an unprivileged user', async () => {
    const end = await run('id -u; id -g; id -G; grep -E "^Cap" /proc/self/status');
    expect(end.stdout).toMatch(/^65534\n65534\n65534\n/);
    expect([...end.stdout.matchAll(/^Cap(\w+):\t0{16}$/gm)].map(([, name]) => name)).toEqual(['Inh', 'Prm', 'Eff', 'Bnd', 'Amb']);
  });

  it('do not reach keys, environment, memory or processes of who runs it', async () => {
    const end = await run(`cat ${secrets}/trust/key.pem; ls ${secrets}/trust; cat /proc/${process.pid}/environ; head -c 1 /proc/${process.pid}/mem; ls /proc/${process.pid}/fd; kill -0 ${process.pid}; echo x > ${folder}/new; echo done`);
    expect(end.stdout).toBe('done\n');
    expect(end.stderr.split('\n').filter((line) => /ermission denied|not permitted/.test(line))).toHaveLength(7);
  });
});

describe('who cannot take its own rights from a script', () => {
  const keepsOwn = /SCRIPT_USER: this site manager runs no scripts, because they would have its rights, .*cannot become user 65534 \(setpriv: .*\): run the site manager as root with CAP_SETUID/;

  (isRoot ? it.each : it.skip.each)([['CAP_SETUID', 'setuid'], ['CAP_SETGID', 'setgid']])('runs none: root without %s', async (_name, right) => {
    const { said } = await inOwnProcess(await script('true'), 'process.stdout.write(String(refusal));', { setpriv: [`--bounding-set=-${right}`, `--inh-caps=-${right}`] });
    expect(said).toMatch(keepsOwn);
  });

  (isRoot ? it.skip : it)('runs none: anybody but root', async () => {
    const { said } = await inOwnProcess(await script('true'), 'process.stdout.write(String(refusal));');
    expect(said).toMatch(keepsOwn);
  });

  it('runs none as root, or as itself', async () => {
    const name = await script('true');
    for (const uid of [0, process.geteuid?.() ?? 0]) {
      await expect(new ProcessScriptRunner({ folder, user: { uid, gid: 65534 } }).check(name)).rejects.toMatchObject({ code: 'SCRIPT_USER', message: expect.stringContaining('TIDEMARK_SCRIPTS_USER') });
    }
  });
});
