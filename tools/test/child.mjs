import { spawn } from 'node:child_process';
import { dirname } from 'node:path';

export const root = dirname(dirname(import.meta.dirname));
const KILL_AFTER_MS = 10_000;
const OUTPUT_CHARACTERS_MAX = 2_000_000;

const running = new Set();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    for (const child of running) endGroup(child, 'SIGKILL');
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
}

/** The lane leads a process group of its own, so that its workers and the servers they started end with it. */
function endGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Runs a command with its output collected; past `minutesMax` its process group is ended and `isLate` is set. */
export function collect([command, ...args], { minutesMax, env = {} }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NX_DAEMON: 'false', FORCE_COLOR: process.stdout.isTTY ? '1' : '0', ...env },
    });
    running.add(child);
    let output = '';
    let isLate = false;
    const take = (chunk) => (output = (output + chunk).slice(-OUTPUT_CHARACTERS_MAX));
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    const limit = setTimeout(() => {
      isLate = true;
      endGroup(child, 'SIGTERM');
      setTimeout(() => endGroup(child, 'SIGKILL'), KILL_AFTER_MS).unref();
    }, minutesMax * 60_000);
    child.once('error', reject);
    child.once('exit', () => {
      clearTimeout(limit);
      running.delete(child);
      // A server that a test left behind holds the pipes open: end it, and whatever else the lane leaves.
      endGroup(child, 'SIGKILL');
    });
    child.once('close', (code, signal) => resolve({ code, signal, isLate, output }));
  });
}

export const lateText = (minutesMax) => `\ndid not end within ${minutesMax} minutes\n`;
