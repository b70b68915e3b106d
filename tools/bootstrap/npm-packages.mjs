import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SetupError, say } from './say.mjs';

const root = dirname(dirname(import.meta.dirname));
const STAMP = join(root, 'node_modules', '.tidemark-lock');

const HEARTBEAT_MS = 30_000;

/** What node_modules was made from: the lock file and the platform its binaries are for. */
function wantedStamp() {
  const lock = readFileSync(join(root, 'package-lock.json'));
  return createHash('sha256').update(lock).update(`${process.platform}-${process.arch}`).digest('hex');
}

/** Wanted packages that npm's own record of node_modules lacks or has in another version; optional ones may be missing. */
export function findMissing(wanted, installed) {
  return Object.entries(wanted)
    .filter(([path]) => path.startsWith('node_modules/') || path.includes('/node_modules/'))
    .filter(([path, entry]) => (installed[path] ? installed[path].version !== entry.version : !entry.optional))
    .map(([path]) => path);
}

/** True if somebody's `npm install` already brought node_modules to what package-lock.json says. */
function isAlreadyInstalled() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const packagesOf = (file) => JSON.parse(readFileSync(file, 'utf8')).packages ?? {};
  return findMissing(packagesOf(join(root, 'package-lock.json')), packagesOf(record)).length === 0;
}

/** Where npm itself stands when we were started by it; else the one on PATH. */
function npmCommand() {
  const cli = process.env.npm_execpath;
  return cli && /npm-cli\.[cm]?js$/.test(cli) ? [process.execPath, cli] : ['npm'];
}

/** npm is silent for as long as it works, or waits for a registry that does not answer: say that time goes by. */
function runWithHeartbeat(command, args) {
  const startedAt = performance.now();
  const beat = setInterval(() => say(`… npm is at work since ${Math.round((performance.now() - startedAt) / 1000)} s`), HEARTBEAT_MS);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code));
  }).finally(() => clearInterval(beat));
}

/** `npm ci`, unless node_modules was made from exactly this package-lock.json. */
export async function ensureNpmPackages() {
  const wanted = wantedStamp();
  if (existsSync(STAMP) && readFileSync(STAMP, 'utf8') === wanted) return;
  if (isAlreadyInstalled()) {
    writeFileSync(STAMP, wanted);
    return;
  }
  say('installing npm packages (npm ci), a minute or two …');
  const [command, ...prefix] = npmCommand();
  // Scripts run with NODE_ENV=production or an omit= in ~/.npmrc would leave out the compiler; npm_config_ignore_scripts in the environment would beat .npmrc.
  const args = [...prefix, 'ci', '--include=dev', '--include=optional', '--ignore-scripts', '--loglevel=error', '--no-progress', '--fetch-retry-maxtimeout=10000'];
  const status = await runWithHeartbeat(command, args).catch((error) => {
    throw new SetupError(`cannot run npm ci: ${error.message}`);
  });
  if (status !== 0) throw new SetupError('npm ci failed; its messages are above');
  writeFileSync(STAMP, wanted);
}

if (process.argv[1] === import.meta.filename && process.argv[2] === '--stamp') writeFileSync(STAMP, wantedStamp());
