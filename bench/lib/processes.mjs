import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** /proc counts CPU time in ticks of 1/100 s on every Linux architecture that Node runs on (USER_HZ). */
const MICROS_PER_TICK = 10_000;

/**
 * A child process, ended by `stop()` alone. `cpu`: the only CPU it may run on (taskset); any if not given.
 * @param {string} command @param {readonly string[]} args @param {{ cpu?: number, env?: Record<string, string> }} [options]
 */
export function startProcess(command, args, options = {}) {
  const pinned = options.cpu === undefined ? [command, ...args] : ['taskset', '-c', String(options.cpu), command, ...args];
  const child = spawn(pinned[0], pinned.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.env } });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { output = (output + String(text)).slice(-4000); });
  const exited = once(child, 'exit');
  exited.catch(() => undefined); // a failed spawn; `assertAlive` tells
  return {
    pid: child.pid,
    get output() { return output; },
    get isAlive() { return child.pid !== undefined && child.exitCode === null && child.signalCode === null; },
    async stop() {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const isEnded = await Promise.race([exited.then(() => true), delay(3000, false)]);
      if (isEnded) return;
      child.kill('SIGKILL');
      await exited;
    },
  };
}

/** Waits until somebody listens on a UNIX socket. Rejects when the process ends before, with what it said. */
export async function waitForSocket(path, running) {
  for (let i = 0; i < 500; i += 1) {
    if (!running.isAlive) throw new Error(`server ended: ${running.output}`);
    if (existsSync(path) && (await isAnswered(path))) return;
    await delay(10);
  }
  throw new Error(`nobody listens on ${path}: ${running.output}`);
}

function isAnswered(path) {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}

/** CPU time of a process with all its threads so far, in µs (steps of 10 ms). */
export function cpuMicrosOf(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name may hold spaces; field 3 of proc(5) comes first here
  return (Number(fields[11]) + Number(fields[12])) * MICROS_PER_TICK;
}
