import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { OutputTail } from './output-tail.js';
import { ScriptError } from './script-error.js';

/** For the pipes to run dry when everything that had them open should be gone. */
const DRAIN_MS = 1000;
const CLOEXEC = 0o2000000;

export interface GroupSpec {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly folder: string;
  readonly timeoutMs: number;
  /** Between SIGTERM and SIGKILL. */
  readonly graceMs: number;
  readonly signal: AbortSignal;
}

export interface GroupEnd {
  readonly exitCode: number | null;
  readonly endedBy: string | null;
  readonly isTimedOut: boolean;
  readonly isStopped: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** One process and its descendants in a session and process group of their own; nothing of the group runs any more when it resolves. @throws ScriptError SCRIPT_START */
export async function runGroup(spec: GroupSpec): Promise<GroupEnd> {
  const { child, output } = start(spec);
  const tails = output.map((stream) => new OutputTail(stream));
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const why = { isTimedOut: false, isStopped: false };
  const terminate = (): void => {
    signalGroup(child, 'SIGTERM');
    kill = setTimeout(() => signalGroup(child, 'SIGKILL'), spec.graceMs);
  };
  let kill: NodeJS.Timeout | undefined;
  const timeout = setTimeout(() => {
    why.isTimedOut = true;
    terminate();
  }, spec.timeoutMs);
  const stop = (): void => {
    if (why.isTimedOut || why.isStopped) return;
    why.isStopped = true;
    clearTimeout(timeout);
    terminate();
  };
  spec.signal.addEventListener('abort', stop);
  if (spec.signal.aborted) stop();
  try {
    const [exitCode, endedBy] = await exitOf(child);
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, DRAIN_MS).unref())]);
    return { exitCode, endedBy, ...why, stdout: tails[0]?.text() ?? '', stderr: tails[1]?.text() ?? '' };
  } finally {
    clearTimeout(timeout);
    clearTimeout(kill);
    spec.signal.removeEventListener('abort', stop);
    for (const tail of tails) tail.close();
  }
}

async function exitOf(child: ChildProcess): Promise<readonly [number | null, string | null]> {
  return await new Promise((resolve, reject) => {
    child.once('exit', (code, signal) => {
      // Before its number can be given to anybody else: whatever it has left behind in its group.
      signalGroup(child, 'SIGKILL');
      resolve([code, signal]);
    });
    child.once('error', (cause) => reject(notStarted(cause)));
  });
}

function start({ command, args, environment, folder }: GroupSpec): { readonly child: ChildProcess; readonly output: readonly Readable[] } {
  const nothing = openSync('/dev/null', 'r+');
  try {
    const child = spawn(command, args, {
      cwd: folder, env: { ...environment }, stdio: ['ignore', 'pipe', 'pipe', ...covered(nothing)], detached: true, shell: false, windowsHide: true,
    });
    return { child, output: [child.stdout, child.stderr].filter((stream) => stream !== null) };
  } catch (cause) {
    throw notStarted(cause);
  } finally {
    closeSync(nothing);
  }
}

/** Node closes what it opened itself; what this process inherited, and would hand on, is replaced by /dev/null. */
function covered(nothing: number): (number | 'ignore')[] {
  const inherited = readdirSync('/proc/self/fd').map(Number).filter((fd) => fd > 2 && isInheritable(fd));
  const stdio: (number | 'ignore')[] = [];
  for (let fd = 3; fd <= Math.max(2, ...inherited); fd += 1) stdio.push(inherited.includes(fd) ? nothing : 'ignore');
  return stdio;
}

function isInheritable(fd: number): boolean {
  try {
    const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & CLOEXEC) === 0;
  } catch {
    // The one that the listing itself had open.
    return false;
  }
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch {
    // Nothing of it is left, or nothing that this user may end.
  }
}

function notStarted(cause: unknown): ScriptError {
  const { message, code, path } = cause as NodeJS.ErrnoException;
  const what = code === 'ENOENT' && path !== undefined ? `${path} is not there; setpriv is part of util-linux, install it` : message;
  return new ScriptError('SCRIPT_START', `the script could not be started: ${what}`, { cause });
}
