import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { TidemarkError } from '@tidemark/base';
import { currentStatus, labAddVba, labDown, labKill, labStart, labUp, parseTarget } from './lab.js';
import { labDiskAdd, labDiskGrow, labDiskRemove, labMigrate } from './vm-changes.js';
import { statusText } from './status-table.js';
import { paint, Screen, secondsText } from './terminal.js';

const REFRESH_MS = 1000;
const screen = new Screen(process.stderr);
const tell = (line: string): void => {
  screen.line(`${paint.dim('·')} ${line}`);
};

async function up({ detach }: { readonly detach?: boolean }): Promise<void> {
  const startedAtMs = performance.now();
  const stop = detach ? undefined : interruption();
  const raised = labUp(process.env, tell);
  const isUp = await (stop ? Promise.race([raised.then(() => true), aborted(stop).then(() => false)]) : raised.then(() => true));
  if (isUp) screen.line(`${paint.green('✔')} two sites are up (${secondsText(performance.now() - startedAtMs)})`);
  if (!stop) {
    process.stdout.write(`${statusText(await currentStatus(process.env))}\n`);
    return;
  }
  if (isUp && !screen.isLive) screen.line(statusText(await currentStatus(process.env)));
  await showUntil(stop);
  raised.catch(() => undefined); // It fails because the lab is taken from under it.
  await down();
  process.exit();
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve());
  });

/** Aborts at the first Ctrl-C or SIGTERM; a second one ends at once. */
function interruption(): AbortSignal {
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  return stop.signal;
}

async function showUntil(stop: AbortSignal): Promise<void> {
  while (!stop.aborted) {
    const text = statusText(await currentStatus(process.env));
    screen.live([...text.split('\n'), paint.dim('Ctrl-C takes the lab down')]);
    await sleep(REFRESH_MS, undefined, { signal: stop }).catch(() => undefined);
  }
  screen.keep();
}

async function down(): Promise<void> {
  const wasUp = await labDown(process.env);
  screen.line(wasUp ? `${paint.green('✔')} the lab is down, its folder is removed` : 'nothing to take down');
}

async function status({ json }: { readonly json?: boolean }): Promise<void> {
  const current = await currentStatus(process.env);
  process.stdout.write(`${json ? JSON.stringify(current, null, 2) : statusText(current)}\n`);
}

async function kill(text: string): Promise<void> {
  const killed = await labKill(process.env, parseTarget(text));
  screen.line(killed.length > 0 ? `killed: ${killed.join(', ')}` : 'nothing of it was running');
}

async function start(text: string): Promise<void> {
  const started = await labStart(process.env, parseTarget(text));
  screen.line(started.length > 0 ? `started: ${started.join(', ')}` : 'all of it is running');
}

const program = new Command('lab').description('two whole sites as processes on loopback addresses');
program.command('up').description('bring both sites up; without --detach they go down with Ctrl-C').option('--detach', 'return when everything answers').action(up);
program.command('status').description('what runs, where, and how to reach it').option('--json', 'for scripts').action(status);
program.command('kill').description('SIGKILL a site or one process of it').argument('<site[/process]>').action(kill);
program.command('start').description('start again what is dead').argument('<site[/process]>').action(start);

program.command('migrate').description('move a VM to another host of its site, running or not').argument('<VM>').argument('<HOST>').action(async (vm: string, host: string) => {
  await labMigrate(process.env, vm, host);
  screen.line(`${vm} runs on ${host}`);
});
program.command('disk-add').description('add a disk to a VM').argument('<VM>').argument('<DISK>', 'e.g. scsi:0:2').argument('<MiB>').action(async (vm: string, disk: string, size: string) => {
  const { nbdUri } = await labDiskAdd(process.env, vm, { id: disk, sizeMiB: Number(size) });
  screen.line(`${vm} has a disk ${disk}: ${nbdUri}`);
});
program.command('disk-grow').description('make a disk of a VM larger').argument('<VM>').argument('<DISK>').argument('<MiB>', 'the new size').action(async (vm: string, disk: string, size: string) => {
  await labDiskGrow(process.env, vm, { id: disk, sizeMiB: Number(size) });
  screen.line(`disk ${disk} of ${vm} has ${size} MiB`);
});
program.command('disk-remove').description('take a disk from a VM and delete its file').argument('<VM>').argument('<DISK>').action(async (vm: string, disk: string) => {
  await labDiskRemove(process.env, vm, disk);
  screen.line(`${vm} has no disk ${disk} any more`);
});
program.command('vba').description('add a backup appliance to a site').argument('<site>').action(async (site: string) => {
  await labAddVba(process.env, parseTarget(site));
  screen.line(`site ${site} has a VBA`);
});
program.command('down').description('end and remove everything').action(down);

program.parseAsync().catch((error: unknown) => {
  const isExpected = error instanceof TidemarkError;
  screen.line(`${paint.red('✘')} ${isExpected ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  process.exitCode = 1;
});
