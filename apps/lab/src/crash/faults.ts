import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskServer } from '../block-device/disk-server.js';
import { PORTS, type SiteName } from '../layout.js';
import { parseTarget, processesOf } from '../lab.js';
import type { SitePair } from '../e2e/site-pair.js';
import type { FaultyDatastore } from './faulty-datastore.js';
import type { SeededRandom } from './random.js';
import { canRun, runTool } from '../block-device/run-tool.js';
import type { WallClock } from './wall-clock.js';

/** What faults act on. */
export interface FaultStage {
  readonly pair: SitePair;
  /** The recovery site's; undefined: this machine cannot make one. */
  readonly datastore: FaultyDatastore | undefined;
  readonly clocks: Readonly<Record<SiteName, WallClock>> | undefined;
  readonly nbdDisk: DiskServer;
}

export interface Fault {
  readonly name: string;
  /** A process that answers guests is hit: they wait for its restart. Else nothing may be felt. */
  readonly isCaptureHit: boolean;
  /** The server behind a guest's disk is hit: who writes there waits for it, nobody else. */
  readonly isNbdDiskHit: boolean;
  /** Times of checkpoints made meanwhile say nothing. */
  readonly isClockWrong: boolean;
  inject(stage: FaultStage): Promise<void>;
  heal(stage: FaultStage): Promise<void>;
}

const CLOCK_SETTLE_MS = 2500;
const DAY_SECONDS = 86_400;

const plain = { isCaptureHit: false, isNbdDiskHit: false, isClockWrong: false };

function kill(...targets: readonly string[]): Fault {
  return {
    ...plain,
    name: `kill ${targets.join(' and ')}`,
    isCaptureHit: targets.some((target) => target.startsWith('a/vra')),
    inject: async ({ pair }) => {
      for (const target of targets) await pair.kill(target);
    },
    heal: async ({ pair }) => {
      // All dead ones of a site at once, as its supervisor does.
      for (const site of new Set(targets.map((target) => parseTarget(target).site))) await pair.start(site);
    },
  };
}

/** SIGSTOP: it neither answers nor closes its connections. */
function stall(target: string): Fault {
  const send = async ({ pair }: FaultStage, signal: NodeJS.Signals): Promise<void> => {
    const { site, process: name = '' } = parseTarget(target);
    const record = await processesOf(pair.lab, site).runner.registry.get(name);
    if (record) process.kill(record.pid, signal);
  };
  return { ...plain, name: `stall ${target}`, inject: (stage) => send(stage, 'SIGSTOP'), heal: (stage) => send(stage, 'SIGCONT') };
}

const nbdFaults: readonly Fault[] = [
  { ...plain, name: 'kill the NBD server', isNbdDiskHit: true, inject: async ({ nbdDisk }) => await nbdDisk.kill(), heal: async ({ nbdDisk }) => await nbdDisk.start() },
  { ...plain, name: 'stall the NBD server', isNbdDiskHit: true, inject: async ({ nbdDisk }) => await Promise.resolve(nbdDisk.stop()), heal: async ({ nbdDisk }) => await Promise.resolve(nbdDisk.goOn()) },
  {
    // The VRA is back before the disk is: it has to be asked for again.
    ...kill('a/vra2'), name: 'kill a/vra2 and the NBD server', isNbdDiskHit: true,
    inject: async ({ pair, nbdDisk }) => {
      await nbdDisk.kill();
      await pair.kill('a/vra2');
    },
    heal: async ({ pair, nbdDisk }) => {
      await pair.start('a');
      await nbdDisk.start();
    },
  },
];

/** Segments are cut off wherever a frame happens to be; `reset`: with an RST, else they vanish. */
function cut(how: 'reset' | 'drop'): Fault {
  const rules = ({ pair }: FaultStage): string[][] =>
    pair.lab.layout.sites.b.hosts.flatMap(({ address }) =>
      [PORTS.vraControl, PORTS.vraData].map((port) => ['-p', 'tcp', '-d', address, '--dport', String(port), '-j', ...(how === 'reset' ? ['REJECT', '--reject-with', 'tcp-reset'] : ['DROP'])]),
    );
  return {
    ...plain,
    name: how === 'reset' ? 'cut the links' : 'lose every packet of the links',
    inject: async (stage) => {
      for (const rule of rules(stage)) await runTool('iptables', ['-I', 'INPUT', ...rule]);
    },
    heal: async (stage) => {
      for (const rule of rules(stage)) while (await canRun('iptables', ['-D', 'INPUT', ...rule]));
    },
  };
}

/** The disk is repaired with nobody on it, as an operator does: the recovery site's VRAs are stopped for that. */
async function repairDatastore({ pair, datastore }: FaultStage): Promise<void> {
  for (const vra of ['b/vra1', 'b/vra2']) await pair.kill(vra);
  await datastore?.repair();
  await pair.start('b');
}

const datastoreFaults: readonly Fault[] = [
  { ...plain, name: 'journal disk full', inject: async ({ datastore }) => await datastore?.fill(), heal: async ({ datastore }) => await datastore?.empty() },
  { ...plain, name: 'EIO on the journal disk', inject: async ({ datastore }) => await datastore?.breakWrites(), heal: repairDatastore },
  { ...plain, name: 'journal disk turns read-only', inject: async ({ datastore }) => await datastore?.turnReadOnly(), heal: repairDatastore },
];

function setClock(site: SiteName, days: number): Fault {
  const set = async ({ clocks }: FaultStage, offsetSeconds: number): Promise<void> => {
    await clocks?.[site].set(offsetSeconds);
    await sleep(CLOCK_SETTLE_MS);
  };
  return {
    ...plain,
    name: `clock of site ${site} ${Math.abs(days)} days ${days < 0 ? 'back' : 'forward'}`,
    isClockWrong: true,
    inject: (stage) => set(stage, days * DAY_SECONDS),
    heal: (stage) => set(stage, 0),
  };
}

const KILLED = ['a/vra1', 'a/vra2', 'b/vra1', 'b/vra2', 'a/zvm', 'b/zvm', 'a/nats', 'b/nats', 'a/postgres', 'b/postgres'];

/** Every fault that this machine can make. The kills come several times: they are what the mission names first. */
export function possibleFaults({ hasDatastore, hasClocks, hasFirewall }: { readonly hasDatastore: boolean; readonly hasClocks: boolean; readonly hasFirewall: boolean }): readonly Fault[] {
  const kills = KILLED.map((target) => kill(target));
  const pairs = [kill('a/vra1', 'b/vra1'), kill('a/vra1', 'a/vra2'), kill('b/vra1', 'b/vra2'), kill('b/zvm', 'b/vra2'), kill('a/zvm', 'a/nats', 'a/postgres'), kill('b/zvm', 'b/nats', 'b/postgres')];
  return [
    ...kills, ...kills, ...pairs, ...nbdFaults,
    stall('b/vra1'), stall('b/vra2'), stall('a/zvm'), stall('b/nats'),
    ...(hasFirewall ? [cut('reset'), cut('reset'), cut('drop')] : []),
    ...(hasDatastore ? [...datastoreFaults, ...datastoreFaults] : []),
    ...(hasClocks ? [setClock('a', -2), setClock('a', 3), setClock('b', -2), setClock('b', 3)] : []),
  ];
}

/** The same faults in the same order for one seed. All of them come once before any comes again. */
export function* faultOrder(faults: readonly Fault[], random: SeededRandom): Generator<Fault> {
  for (;;) {
    const left = [...faults];
    while (left.length > 0) yield left.splice(Math.floor(random.next() * left.length), 1)[0] ?? random.pick(faults);
  }
}
