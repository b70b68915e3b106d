/**
 * npm run database-guest -- [--seconds N]
 *
 * A real database as the guest: PostgreSQL under pgbench on two protected disks (data and log, each an ext4) while clients keep their own memory of what was committed when. Three tagged
 * checkpoints; the protected site is killed; the VPG fails over to each checkpoint in turn (rolled back twice, then committed). Each time PostgreSQL must recover by itself, pass
 * pg_amcheck and a full dump, hold every transaction committed before the checkpoint's time, and none that is torn. Root; exit code 1 if anything of that does not hold.
 */
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { missingForBlockDevices } from '../block-device/nbd-block-device.js';
import { SitePair } from '../e2e/site-pair.js';
import { findLab } from '../identity.js';
import { labUp } from '../lab.js';
import type { Checkpoint } from '../rest/vpg-client.js';
import type { VmStatus } from '../status.js';
import { paint, Screen, secondsText } from '../terminal.js';
import { DatabaseGuest } from './database-guest.js';
import { bankProblems, LedgerClients } from './ledger.js';

const SUBNETS = '43,44';
const SCALE = 2;
const PGBENCH_CLIENTS = 4;
const LEDGER_CLIENTS = 4;
const VM = 'db01';

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } });
const seconds = Number(values.seconds);
const screen = new Screen(process.stdout);
const startedAtMs = performance.now();
const say = (text: string): void => screen.line(`${paint.dim(secondsText(performance.now() - startedAtMs).padStart(6))}  ${text}`);

const disksOf = (vms: readonly VmStatus[]): string[] => {
  const vm = vms.find(({ name, powerState }) => name.startsWith(VM) && powerState === 'poweredOn');
  if (!vm) throw new Error(`there is no VM ${VM}`);
  return vm.disks.map(({ nbdUri }) => nbdUri);
};

/** Those whose disks are in use: after a failure, too, they are given back. */
const running = new Set<DatabaseGuest>();

async function boot(uris: readonly string[], options: { readonly folder: string; readonly isNew: boolean }): Promise<DatabaseGuest> {
  const guest = await DatabaseGuest.boot(uris, options);
  running.add(guest);
  return guest;
}

/** @returns the checkpoints, and the clients with their memory, after the protected site has died under load. */
async function protectUnderLoad(pair: SitePair, folder: string): Promise<{ readonly vpgId: string; readonly checkpoints: readonly Checkpoint[]; readonly clients: LedgerClients }> {
  const guest = await boot(disksOf(await pair.vms('a')), { folder: join(folder, 'protected'), isNew: true });
  await guest.createBank(SCALE);
  say(`PostgreSQL runs in ${VM}: data on one disk, log on the other; pgbench with ${PGBENCH_CLIENTS} clients, ${LEDGER_CLIENTS} clients that remember`);
  const load = guest.startLoad(PGBENCH_CLIENTS);
  const clients = new LedgerClients();
  clients.start(guest, LEDGER_CLIENTS);
  const vpgId = await pair.protect('database', [VM]);
  say('protected, the initial sync has ended');
  const vpg = await pair.vpg('a', vpgId);
  const checkpoints: Checkpoint[] = [];
  for (const tag of ['first', 'second', 'third']) {
    await sleep((seconds * 1000) / 4);
    checkpoints.push(await vpg.insertTagged(tag));
    say(`checkpoint '${tag}' with ${clients.committedCount} transactions committed`);
  }
  await sleep((seconds * 1000) / 4);
  await pair.kill('a');
  say(paint.red('site a is dead'));
  load.kill('SIGKILL');
  if (load.exitCode === null && load.signalCode === null) await once(load, 'exit');
  running.delete(guest);
  await guest.losePower();
  await clients.stop();
  return { vpgId, checkpoints, clients };
}

async function examine(pair: SitePair, checkpoint: Checkpoint, { folder, clients }: { readonly folder: string; readonly clients: LedgerClients }): Promise<string[]> {
  const bootedAtMs = performance.now();
  const guest = await boot(disksOf(await pair.recovered(1)), { folder, isNew: false });
  const recoveryMs = performance.now() - bootedAtMs;
  try {
    const problems = await guest.check().then((): string[] => [], (error: unknown) => [String(error)]);
    const ledger = await clients.examine(guest, Date.parse(checkpoint.TimeStamp));
    problems.push(...(await bankProblems(guest)), ...ledger.problems.slice(0, 10));
    const mark = problems.length === 0 ? paint.green('holds') : paint.red('DOES NOT HOLD');
    say(`'${checkpoint.Tag ?? ''}': PostgreSQL recovered in ${secondsText(recoveryMs)}; pg_amcheck and dump; ${ledger.committedBefore} transactions were committed before it, ${ledger.keptCount} are there: ${mark}`);
    for (const problem of problems) say(`        ${paint.red(problem)}`);
    return problems;
  } finally {
    running.delete(guest);
    await guest.shutDown();
  }
}

async function run(): Promise<number> {
  const environment = await SitePair.makeEnvironment(SUBNETS);
  const folder = await mkdtemp('/var/tmp/tm-database-');
  // PostgreSQL runs as a user of its own, who must get through to its disks.
  await chmod(folder, 0o755);
  try {
    await labUp(environment, () => undefined);
    const pair = await SitePair.attach(environment);
    const { vpgId, checkpoints, clients } = await protectUnderLoad(pair, folder);
    const vpg = await pair.vpg('b', vpgId);
    let problemCount = 0;
    for (const [index, checkpoint] of checkpoints.entries()) {
      await vpg.failover(checkpoint.CheckpointIdentifier);
      problemCount += (await examine(pair, checkpoint, { folder: join(folder, `recovered-${index}`), clients })).length;
      if (index < checkpoints.length - 1) await vpg.rollback();
      else await vpg.commit();
    }
    say(problemCount === 0 ? paint.bold(paint.green(`${checkpoints.length} checkpoints, 0 problems`)) : paint.bold(paint.red(`${checkpoints.length} checkpoints, ${problemCount} problems`)));
    return problemCount === 0 ? 0 : 1;
  } catch (error) {
    screen.line(paint.red(error instanceof Error ? (error.stack ?? error.message) : String(error)));
    return 2;
  } finally {
    for (const guest of running) await guest.losePower();
    if (await findLab(environment)) await SitePair.remove(environment);
    await rm(folder, { recursive: true, force: true });
  }
}

const missing = await missingForBlockDevices();
if (missing !== undefined) {
  console.error(`database-guest: ${missing}`);
  process.exit(2);
}
process.exitCode = await run();
