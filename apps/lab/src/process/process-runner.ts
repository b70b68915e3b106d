import { spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from '../lab-error.js';
import { assertPortFree } from './ports.js';
import { childrenOf, isRunning, procStat } from './proc.js';
import { isAlive, type ProcessRecord, type ProcessRegistry, type ProcessSpec } from './process-registry.js';

const END_TIMEOUT_MS = 5000;
const LOG_TAIL_BYTES = 3000;

/** Starts processes that outlive this one, each with its own log file and none of our standard streams, and ends them by pid. */
export class ProcessRunner {
  constructor(readonly registry: ProcessRegistry) {}

  /** Resolves when it runs (not: answers). One that runs already is left alone. */
  async start(spec: ProcessSpec): Promise<ProcessRecord> {
    const known = await this.registry.get(spec.name);
    if (known && isAlive(known)) return known;
    for (const listen of spec.listens) await assertPortFree(listen, spec.name);
    const record = await spawnDetached(spec);
    await this.registry.put(record);
    return record;
  }

  /** SIGKILL: nothing is flushed, as when the machine fails. Children of it go too (PostgreSQL's have sessions of their own). */
  async kill(record: ProcessRecord): Promise<void> {
    if (!isAlive(record)) return;
    const family = await this.#familyOf(record);
    for (const member of family) signal(member, 'SIGKILL');
    await waitUntilGone(family, END_TIMEOUT_MS);
  }

  /** It and its children, but for those that are processes of the lab themselves: the hypervisor manager starts the VRAs. */
  async #familyOf(record: ProcessRecord): Promise<Running[]> {
    const known = new Set((await this.registry.list()).map((other) => other.pid));
    return [record, ...childrenOf(record.pid).filter((child) => !known.has(child.pid))];
  }

  /** Asks first, then kills. */
  async end(record: ProcessRecord): Promise<void> {
    if (!isAlive(record)) return;
    const family = await this.#familyOf(record);
    signal(record, record.endSignal);
    await waitUntilGone(family, END_TIMEOUT_MS);
    for (const member of family) signal(member, 'SIGKILL');
    await waitUntilGone(family, END_TIMEOUT_MS);
  }

  async endAll(): Promise<void> {
    await Promise.all((await this.registry.list()).map((record) => this.end(record)));
  }
}

async function spawnDetached(spec: ProcessSpec): Promise<ProcessRecord> {
  await mkdir(dirname(spec.logPath), { recursive: true, mode: 0o700 });
  const log = await open(spec.logPath, 'a', 0o600);
  try {
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: { ...inheritedEnvironment(), ...spec.env },
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
      ...(spec.uid === undefined ? {} : { uid: spec.uid }),
      ...(spec.gid === undefined ? {} : { gid: spec.gid }),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (cause) => {
        reject(new LabError('LAB_PROGRAM_MISSING', `${spec.name} cannot be started: ${cause.message}`, { cause }));
      });
    });
    child.unref();
    const pid = child.pid ?? 0;
    // Gone within microseconds: the record still names the process that was, and everyone sees it as dead.
    return { ...spec, pid, startTime: procStat(pid)?.startTime ?? 0 };
  } finally {
    await log.close();
  }
}

/** What a program needs to find its libraries and its language; nothing of the caller's own settings. */
function inheritedEnvironment(): Record<string, string> {
  const names = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'HOME', 'NODE_EXTRA_CA_CERTS'];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
}

interface Running {
  readonly pid: number;
  readonly startTime: number;
}

function signal(target: Running, name: NodeJS.Signals): void {
  if (!isRunning(target)) return;
  try {
    process.kill(target.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function waitUntilGone(targets: readonly Running[], timeoutMs: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < timeoutMs && targets.some(isRunning); waitedMs += 20) await sleep(20);
}

/** Repeats `probe` until it resolves. Throws LAB_PROCESS_DIED with the end of its log as soon as the process is gone. */
export async function waitUntilAnswers(record: ProcessRecord, probe: () => Promise<unknown>, timeoutMs = 60_000): Promise<void> {
  const startedAtMs = performance.now();
  for (let lastProblem = ''; ; ) {
    try {
      await probe();
      return;
    } catch (error) {
      lastProblem = error instanceof Error ? error.message : String(error);
    }
    if (!isAlive(record)) throw new LabError('LAB_PROCESS_DIED', `${record.name} ended by itself; the end of ${record.logPath}:\n${await tail(record.logPath)}`);
    if (performance.now() - startedAtMs > timeoutMs) {
      throw new LabError('LAB_TIMEOUT', `${record.name} does not answer after ${Math.round(timeoutMs / 1000)} s (${lastProblem}); its log is ${record.logPath}`);
    }
    await sleep(100);
  }
}

async function tail(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '(no log)');
  return text.slice(-LOG_TAIL_BYTES).trimEnd();
}
