/**
 * For `npm run bench -- failover`: a failover as its caller sees it, measured on two whole sites of processes. Arguments: bytes of a disk, then for how many VMs a VPG is wanted
 * each. Says `{"progress": text}` and `{"isReady": true}` on standard output, a JSON document a line; each line of standard input is a number of VMs, answered by `{"ms": number}`:
 * from the REST call for a failover test of that VPG until the last recovered disk has answered a read of its first sector. Ends with its standard input.
 */
import type { HypervisorManager, Inventory, Vm } from '@tidemark/hypervisor';
import { createInterface } from 'node:readline';
import { SitePair } from '../e2e/site-pair.js';
import { COMMAND, NbdConnection } from '../guest/nbd-connection.js';
import { LabError } from '../lab-error.js';
import { managerOf } from '../servers/hypervisor.js';

const CREATED_AT_ONCE = 8;
const SECTOR_BYTES = 512;

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

/** VMs of one disk each, powered on, in one VPG that is protected. @returns its id */
async function protectedVms(pair: SitePair, count: number, diskBytes: number): Promise<string> {
  const manager = managerOf(pair.lab.layout.sites.a);
  const inventory = await manager.inventory();
  const names = Array.from({ length: count }, (_, index) => `bench-${count}-${index}`);
  for (let from = 0; from < count; from += CREATED_AT_ONCE) {
    await Promise.all(names.slice(from, from + CREATED_AT_ONCE).map((name, index) => createVm(manager, inventory, { name, number: from + index, diskBytes })));
  }
  return await pair.protect(`bench of ${count}`, names);
}

async function createVm(manager: HypervisorManager, { hosts, datastores, networks }: Inventory, { name, number, diskBytes }: { readonly name: string; readonly number: number; readonly diskBytes: number }): Promise<void> {
  const [host, datastore, network] = [hosts[number % hosts.length], datastores[0], networks[0]];
  if (!host || !datastore || !network) throw new LabError('LAB_UNKNOWN', 'site a has no place for a VM');
  const disks = [{ id: 'scsi:0:0', sizeBytes: diskBytes, datastoreId: datastore.id, isFile: true }];
  const { id } = await manager.createVm({ requestKey: name, name, hostId: host.id, cpuCount: 1, memoryMiB: 512, guestOs: 'Debian 12', disks, nics: [{ networkId: network.id }] });
  await manager.powerOn(id);
}

/** Resolves when `count` VMs run at the site and each of their disks has answered. Looks when the manager says that something has changed: looking all the time would be measured too. */
async function untilAllAnswer(manager: HypervisorManager, count: number): Promise<void> {
  const answered = new Map<string, Promise<void>>();
  const stop = new AbortController();
  for await (const _change of manager.watch(stop.signal)) {
    const { hosts, vms } = await manager.inventory();
    for (const vm of vms.filter(({ id, powerState }) => powerState === 'poweredOn' && !answered.has(id))) {
      answered.set(vm.id, readDisks(vm, hosts.find(({ id }) => id === vm.hostId)?.nbdSocketPath ?? ''));
    }
    if (answered.size === count) break;
  }
  stop.abort();
  await Promise.all(answered.values());
}

async function readDisks({ disks }: Vm, socketPath: string): Promise<void> {
  await Promise.all(disks.map(async ({ exportName }) => {
    const connection = await NbdConnection.open(socketPath, exportName);
    await connection.request({ command: COMMAND.read, offset: 0, length: SECTOR_BYTES });
    connection.close();
  }));
}

async function measured(pair: SitePair, vpgId: string, count: number): Promise<number> {
  const vpg = await pair.vpg('b', vpgId);
  const newest = (await vpg.checkpoints()).at(-1);
  if (!newest) throw new LabError('LAB_UNKNOWN', `VPG ${vpgId} has no checkpoint`);
  const startedAtMs = performance.now();
  const task = vpg.startTest(newest.CheckpointIdentifier);
  // A test that fails shows no VMs: its error is the answer then.
  const [ms] = await Promise.all([untilAllAnswer(managerOf(pair.lab.layout.sites.b), count).then(() => performance.now() - startedAtMs), task]);
  await vpg.stopTest();
  return ms;
}

async function run(diskBytes: number, counts: readonly number[]): Promise<void> {
  const pair = await SitePair.up();
  try {
    const vpgs = new Map<number, string>();
    for (const count of counts) {
      vpgs.set(count, await protectedVms(pair, count, diskBytes));
      say({ progress: `two sites: VPG of ${count} protected` });
    }
    say({ isReady: true });
    for await (const line of createInterface({ input: process.stdin })) {
      const count = Number(line);
      say({ ms: await measured(pair, vpgs.get(count) ?? '', count) });
    }
  } finally {
    await pair.down();
  }
}

const [diskBytes = 0, ...counts] = process.argv.slice(2).map(Number);
run(diskBytes, counts).catch((error: unknown) => {
  console.error(error instanceof Error ? (error.stack ?? error.message) : error);
  process.exit(1);
});
