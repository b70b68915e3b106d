import { execFile } from 'node:child_process';
import { dirname } from 'node:path';

export const root = dirname(dirname(import.meta.dirname));
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** npm as the one that started us; else the one on PATH. */
function npmCommand() {
  const cli = process.env.npm_execpath;
  return cli && /npm-cli\.[cm]?js$/.test(cli) ? [process.execPath, cli] : ['npm'];
}

/** Runs npm in the checkout's root and answers what it printed, whatever its exit code: `npm audit` fails when it finds something. */
export function runNpm(args) {
  const [command, ...prefix] = npmCommand();
  return new Promise((resolve, reject) => {
    execFile(command, [...prefix, ...args], { cwd: root, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout) => {
      if (error && typeof error.code !== 'number') reject(new Error(`cannot run npm: ${error.message}`));
      else resolve(stdout);
    });
  });
}
