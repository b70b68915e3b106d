/**
 * A failover as its caller sees it: two whole sites of processes (ZVM, PostgreSQL, NATS, VRAs, the simulated hypervisor managers, all connections over TLS), and one VPG for
 * each number of VMs. From the REST call for a failover test until the last recovered disk has answered a read of its first sector.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { SitePair } from '../../apps/lab/dist/e2e/site-pair.js';
import { managerOf } from '../../apps/lab/dist/servers/hypervisor.js';
import { readFirstSector } from './nbd-read.mjs';

/** As often as a client would ask, and often enough for what is measured. */
const LOOK_MS = 5;
const CREATED_AT_ONCE = 8;

/** VMs of one disk each, powered on, in one VPG that is protected. */
async function vpgOf(pair, { count, diskBytes }) {
  const manager = managerOf(pair.lab.layout.sites.a);
  const { hosts, datastores, networks } = await manager.inventory();
  const names = Array.from({ length: count }, (_, index) => `bench-${count}-${index}`);
  for (let from = 0; from < count; from += CREATED_AT_ONCE) {
    await Promise.all(names.slice(from, from + CREATED_AT_ONCE).map(async (name, index) => {
      const vm = await manager.createVm({
        requestKey: name, name, hostId: hosts[(from + index) % hosts.length].id, cpuCount: 1, memoryMiB: 512, guestOs: 'Debian 12',
        disks: [{ id: 'scsi:0:0', sizeBytes: diskBytes, datastoreId: datastores[0].id, isFile: true }], nics: [{ networkId: networks[0].id }],
      });
      await manager.powerOn(vm.id);
    }));
  }
  const vpgId = await pair.protect(`bench of ${count}`, names);
  return { vpgId, count };
}

/** Reads the first sector of each VM that runs at the recovery site, as soon as it does; resolves when `count` have answered. */
async function untilAllAnswer(manager, count) {
  const answered = new Map();
  while (answered.size < count) {
    const { hosts, vms } = await manager.inventory();
    for (const vm of vms.filter(({ id, powerState }) => powerState === 'poweredOn' && !answered.has(id))) {
      const host = hosts.find(({ id }) => id === vm.hostId);
      answered.set(vm.id, Promise.all(vm.disks.map(({ exportName }) => readFirstSector(host.nbdSocketPath, exportName))));
    }
    if (answered.size < count) await delay(LOOK_MS);
  }
  await Promise.all(answered.values());
}

export class LabFailover {
  #vpgs = new Map();

  static async raise({ counts, diskBytes, progress }) {
    const lab = new LabFailover();
    lab.pair = await SitePair.up();
    try {
      for (const count of counts) {
        lab.#vpgs.set(count, await vpgOf(lab.pair, { count, diskBytes }));
        progress(`two sites: VPG of ${count} protected`);
      }
      return lab;
    } catch (error) {
      await lab.remove();
      throw error;
    }
  }

  /** ms from the call until the last disk has answered. */
  async measure(count) {
    const { vpgId } = this.#vpgs.get(count);
    const vpg = await this.pair.vpg('b', vpgId);
    const manager = managerOf(this.pair.lab.layout.sites.b);
    const newest = (await vpg.checkpoints()).at(-1);
    const startedAtMs = performance.now();
    const started = vpg.startTest(newest.CheckpointIdentifier);
    started.catch(() => undefined);
    await Promise.race([untilAllAnswer(manager, count), started.then(() => new Promise(() => undefined))]);
    const ms = performance.now() - startedAtMs;
    await started;
    await vpg.stopTest();
    return ms;
  }

  async remove() {
    await this.pair.down();
  }
}
