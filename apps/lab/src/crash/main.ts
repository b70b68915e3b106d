/**
 * npm run crash -- [--cycles N] [--seed S] [--only TEXT] [--report FILE]
 *
 * Two whole sites under load, one disk behind an NBD server; in each cycle one fault, chosen by the seed: processes killed or stalled, links cut, the journal's disk full, broken or read-only, clocks set. After
 * each: every checkpoint that was listed is listed, a new one appears, guests waited no longer than their bound, no disk was compared as a whole for a crash, and a checkpoint (newest, oldest or any) opened by a failover
 * test holds a prefix of the guests' own log of their writes. At the end the protected site is killed and the VPG fails over. Exit code 1 on a violation.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { SitePair } from '../e2e/site-pair.js';
import { findLab, findOrMakeLab } from '../identity.js';
import { labUp, processesOf } from '../lab.js';
import { SITE_NAMES } from '../layout.js';
import { protect } from '../rest/vpg-client.js';
import { paint, Screen, secondsText } from '../terminal.js';
import { CrashLoop, type CycleResult } from './crash-loop.js';
import { FaultyDatastore } from './faulty-datastore.js';
import { faultOrder, possibleFaults, type FaultStage } from './faults.js';
import { GuestProcess } from './guest-process.js';
import { CRASH_VMS, NBD_DISK } from './lanes.js';
import { SeededRandom } from './random.js';
import { reportOf } from './report.js';
import { DiskServer } from '../block-device/disk-server.js';
import { canRun } from '../block-device/run-tool.js';
import { WallClock } from './wall-clock.js';

const GiB = 1024 ** 3;
const SUBNETS = '41,42';
const PAUSE_MS = 4;

const { values } = parseArgs({
  options: { cycles: { type: 'string', default: '20' }, seed: { type: 'string' }, only: { type: 'string', default: '' }, report: { type: 'string' } },
});
const cycles = Number(values.cycles);
/** Sparse. The history window is longer than the run, so nothing is freed: some 11 MiB of journals a cycle. */
const datastoreBytes = 2 * GiB + cycles * 16 * 2 ** 20;
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
if (!Number.isInteger(cycles) || cycles < 1 || !Number.isInteger(seed)) {
  console.error('usage: npm run crash -- [--cycles N] [--seed S] [--only TEXT] [--report FILE]; N and S are whole numbers, N at least 1');
  process.exit(64);
}
const screen = new Screen(process.stdout);
const random = new SeededRandom(seed);
const startedAtMs = performance.now();

async function makeDatastore(environment: Record<string, string>): Promise<FaultyDatastore | undefined> {
  const missing = await FaultyDatastore.missing();
  if (missing !== undefined) {
    screen.line(`${paint.yellow('left out')} full, broken and read-only journal disk: ${missing}`);
    return undefined;
  }
  const lab = await findOrMakeLab(environment);
  const datastore = new FaultyDatastore(join(dirname(lab.layout.folder), 'disk'), lab.layout.sites.b.datastoreFolder);
  await datastore.create(datastoreBytes);
  return datastore;
}

/**
 * From their next start on VRAs run above, managers and their servers below everything else on this machine, and the recovery site has its last CPU
 * for itself: in real sites they are on other machines, and what a start of theirs costs on these few cores is no fault of the data plane. The
 * protected site may use every CPU, the last one before the other site's processes. Root may do all of that.
 */
async function setPriorities(pair: SitePair): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  const hasOwnCpu = cpus().length > 1 && (await canRun('taskset', ['--version']));
  for (const site of SITE_NAMES) {
    const { registry } = processesOf(pair.lab, site).runner;
    for (const record of await registry.list()) {
      const niceness = record.name.startsWith('vra') ? (isRoot && site === 'a' ? -10 : 0) : 10;
      const place = site === 'b' && hasOwnCpu ? ['taskset', '-c', String(cpus().length - 1)] : [];
      await registry.put({ ...record, command: 'nice', args: ['-n', String(niceness), ...place, record.command, ...record.args] });
    }
  }
}

async function makeClocks(pair: SitePair): Promise<FaultStage['clocks']> {
  const missing = WallClock.missing();
  if (missing !== undefined) {
    screen.line(`${paint.yellow('left out')} clocks set: ${missing}`);
    return undefined;
  }
  const folder = dirname(pair.lab.layout.folder);
  const clocks = { a: new WallClock(folder, 'a'), b: new WallClock(folder, 'b') };
  for (const site of SITE_NAMES) await clocks[site].install(processesOf(pair.lab, site));
  return clocks;
}

async function firewall(): Promise<boolean> {
  const isThere = process.getuid?.() === 0 && (await canRun('iptables', ['-S']));
  if (!isThere) screen.line(`${paint.yellow('left out')} links cut: iptables is needed, and root`);
  return isThere;
}

function show(number: number, result: CycleResult): void {
  const mark = result.violations.length === 0 ? paint.green('ok') : paint.red('VIOLATION');
  const wait = `${Math.round(result.guestWaitMs)} ms (≤ ${Math.round(result.guestWaitMsMax)})`;
  screen.line(
    `${String(number).padStart(4)}/${cycles}  ${result.fault.padEnd(36)} held ${secondsText(result.heldMs).padStart(6)}  recovered in ${secondsText(result.recoveredMs).padStart(6)}  ` +
      `slowest write ${wait.padEnd(22)} ${String(result.checkpointCount).padStart(4)} checkpoints, ${result.examinedId} examined  ${mark}`,
  );
  for (const violation of result.violations) screen.line(`           ${paint.red(violation)}`);
}

async function lastFailover({ pair, nbdDisk }: FaultStage, loop: CrashLoop, vpgId: string, guests: GuestProcess): Promise<readonly string[]> {
  const vpg = await pair.vpg('b', vpgId);
  const checkpoints = await vpg.checkpoints();
  const checkpoint = random.pick(checkpoints.slice(-20));
  await pair.kill('a');
  await nbdDisk.kill();
  await vpg.failover(checkpoint.CheckpointIdentifier);
  const problems = await loop.problemsAt(checkpoint, await pair.recovered(CRASH_VMS.length));
  await vpg.commit();
  await guests.end();
  return problems;
}

async function run(): Promise<number> {
  const environment = await SitePair.makeEnvironment(SUBNETS);
  const guests = new GuestProcess();
  let datastore: FaultyDatastore | undefined;
  let nbdDisk: DiskServer | undefined;
  const cleanUp = async (): Promise<void> => {
    await guests.end();
    if (await findLab(environment)) await (await SitePair.attach(environment)).endProcesses();
    await datastore?.remove();
    await nbdDisk?.remove();
    await SitePair.remove(environment);
  };
  process.once('SIGINT', () => void cleanUp().finally(() => process.exit(130)));
  try {
    screen.line(`crash loop: ${cycles} cycles, seed ${seed} (again: npm run crash -- --cycles ${cycles} --seed ${seed}), ${cpus().length} CPUs`);
    datastore = await makeDatastore(environment);
    await labUp(environment, (line) => screen.line(paint.dim(line)));
    const pair = await SitePair.attach(environment);
    const clocks = await makeClocks(pair);
    await setPriorities(pair);
    for (const site of SITE_NAMES) {
      await pair.kill(site);
      await pair.start(site);
    }
    nbdDisk = await DiskServer.create(join(dirname(pair.lab.layout.folder), 'nbd'), NBD_DISK.sizeBytes);
    await nbdDisk.giveTo(pair.lab.layout.sites.a, NBD_DISK.vm, NBD_DISK.diskId);
    await guests.start(await pair.vms('a'), PAUSE_MS);
    const vpgId = await protectAll(pair);
    const stage = { pair, datastore, clocks, nbdDisk };
    const loop = new CrashLoop(stage, await pair.vpg('b', vpgId), guests, random);
    const possible = possibleFaults({ hasDatastore: datastore !== undefined, hasClocks: clocks !== undefined, hasFirewall: await firewall() });
    const faults = possible.filter(({ name }) => name.includes(values.only));
    if (faults.length === 0) throw new Error(`no fault is called like '${values.only}'; there are: ${[...new Set(possible.map(({ name }) => name))].join(', ')}`);
    const results: CycleResult[] = [];
    for (const fault of faultOrder(faults, random)) {
      const result = await loop.cycle(fault);
      results.push(result);
      show(results.length, result);
      if (results.length === cycles) break;
    }
    const lastProblems = await lastFailover(stage, loop, vpgId, guests);
    for (const problem of lastProblems) screen.line(paint.red(`failover at the end: ${problem}`));
    const report = reportOf({ results, lastProblems, seed, elapsedMs: performance.now() - startedAtMs });
    screen.line(report.table);
    if (values.report !== undefined) {
      await mkdir(dirname(values.report), { recursive: true });
      await writeFile(values.report, report.markdown);
    }
    screen.line(report.lastLine);
    if (report.violationCount > 0) await keepLogs(pair);
    return report.violationCount === 0 ? 0 : 1;
  } finally {
    await cleanUp();
  }
}

async function protectAll(pair: SitePair): Promise<string> {
  const vms = (await pair.vms('a')).filter(({ name }) => CRASH_VMS.some((wanted) => wanted === name));
  const hosts = pair.lab.layout.sites.b.hosts;
  const hostNameOf = Object.fromEntries(vms.map(({ id }, index) => [id, hosts[index % hosts.length]?.name ?? '']));
  // The history window is longer than any run: whatever is listed must stay.
  const vpgId = await protect(await pair.api('a'), { name: 'crash', vmIds: vms.map(({ id }) => id), recoverySiteId: pair.siteId('b'), hostNameOf, journalHours: 24, checkpointIntervalSeconds: 1 });
  await pair.untilProtected(vpgId);
  return vpgId;
}

async function keepLogs(pair: SitePair): Promise<void> {
  const folder = `/var/tmp/tidemark-crash-logs-${process.pid}`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
  for (const site of SITE_NAMES) await canRun('cp', ['-r', pair.lab.layout.sites[site].logFolder, join(folder, site)]);
  screen.line(`logs of both sites: ${folder}`);
}

try {
  process.exitCode = await run();
} catch (error) {
  screen.line(paint.red(`the crash loop ended by itself: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`));
  process.exitCode = 2;
}
