import { cp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TidemarkError } from '@tidemark/base';
import { findLab, labFolder } from '../identity.js';
import { currentStatus, labDown } from '../lab.js';
import { LabError } from '../lab-error.js';
import { SITE_NAMES } from '../layout.js';
import { statusText } from '../status-table.js';
import { paint } from '../terminal.js';
import { Stage } from './stage.js';
import { Story } from './story.js';

const stage = new Stage(process.stdout);

/** @returns whether the proof held. */
async function demo({ isOnce }: { readonly isOnce: boolean }, stop: AbortSignal): Promise<boolean> {
  await assertNoLab();
  const story = new Story(stage, process.env);
  try {
    const interrupted = new Promise<never>((_, reject) => {
      stop.addEventListener('abort', () => reject(new LabError('LAB_BUSY', 'interrupted')));
    });
    const proof = await Promise.race([story.play(), interrupted]);
    const hasHeld = proof.problems.length === 0;
    stage.say(hasHeld ? paint.bold(paint.green('The proof held.')) : paint.bold(paint.red(`The proof did not hold: ${proof.problems.length} problems, the first is: ${proof.problems[0] ?? ''}`)));
    if (!hasHeld) await keepLogs();
    if (!isOnce) await stayUp(stop);
    return hasHeld;
  } catch (error) {
    if (!stop.aborted) {
      stage.clearLive();
      await keepLogs();
    }
    throw error;
  } finally {
    await story.close();
    await labDown(process.env);
    stage.say(paint.dim('the lab is down, its folder is removed'));
  }
}

/** The demo changes its lab for good, so it takes none that somebody uses. */
async function assertNoLab(): Promise<void> {
  const { sites } = await currentStatus(process.env);
  const isRunning = sites.some((site) => site.processes.some((process) => process.isAlive));
  if (isRunning) {
    throw new LabError('LAB_BUSY', `a lab is up in ${labFolder(process.env)}: take it down (npm run lab -- down), or give the demo its own: TIDEMARK_LAB_DIR=/var/tmp/tidemark-demo TIDEMARK_LAB_SUBNETS=5,6`);
  }
  await labDown(process.env);
}

async function keepLogs(): Promise<void> {
  const lab = await findLab(process.env);
  if (!lab) return;
  const folder = join(tmpdir(), `tidemark-demo-logs-${process.pid}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
  for (const name of SITE_NAMES) await cp(lab.layout.sites[name].logFolder, join(folder, name), { recursive: true });
  stage.bad(`logs of both sites: ${folder}`);
}

async function stayUp(stop: AbortSignal): Promise<void> {
  stage.say('');
  for (const line of statusText(await currentStatus(process.env)).split('\n')) stage.say(line);
  stage.say('');
  stage.say(`${paint.bold('Both sites stay up.')} The failover waits for commit or rollback. Ctrl-C takes everything down.`);
  await new Promise<void>((resolve) => {
    // A pending promise keeps no process: this timer does, until Ctrl-C.
    const alive = setInterval(() => undefined, 60_000);
    stop.addEventListener('abort', () => {
      clearInterval(alive);
      resolve();
    });
    if (stop.aborted) resolve();
  });
}

function interruption(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(130);
      stop.abort();
    });
  }
  return stop.signal;
}

const unknown = process.argv.slice(2).filter((word) => word !== '--once');
if (unknown.length > 0) {
  console.error(`unknown: ${unknown.join(' ')}; usage: npm run demo [-- --once]`);
  process.exitCode = 2;
} else {
  demo({ isOnce: process.argv.includes('--once') }, interruption()).then(
    (hasHeld) => process.exit(hasHeld ? 0 : 1), // An interrupted story may still wait for something.
    (error: unknown) => {
      stage.bad(error instanceof TidemarkError ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error));
      process.exit(1);
    },
  );
}
