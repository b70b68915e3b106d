import { type Inventory, readStoredInventory } from '@tidemark/hypervisor';
import type { Lab } from './identity.js';
import { SITE_NAMES, type SiteLayout } from './layout.js';
import { inStartOrder, isAlive, ProcessRegistry } from './process/process-registry.js';
import { managerOf, statePath } from './servers/hypervisor.js';
import { ADMINISTRATOR, caPath, readPassword } from './servers/zvm.js';

const INVENTORY_TIMEOUT_MS = 1500;

export interface DiskStatus {
  readonly location: string;
  readonly sizeBytes: number;
  /** Where a guest reads and writes; any NBD client can be the guest. */
  readonly nbdUri: string;
}

export interface VmStatus {
  /** The REST `VmIdentifier`. */
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly powerState: string;
  readonly disks: readonly DiskStatus[];
}

export interface ProcessStatus {
  readonly name: string;
  readonly pid: number;
  readonly isAlive: boolean;
}

export interface SiteStatus {
  readonly name: string;
  readonly siteId: string;
  readonly restUrl: string;
  readonly user: string;
  /** null before the ZVM's first start. */
  readonly password: string | null;
  /** The site's CA: `curl --cacert`. */
  readonly caFile: string;
  readonly hosts: readonly { readonly name: string; readonly address: string }[];
  readonly processes: readonly ProcessStatus[];
  readonly vms: readonly VmStatus[];
}

export interface LabStatus {
  readonly folder: string | null;
  readonly sites: readonly SiteStatus[];
}

/** What runs, and what each site knows or knew last: nothing here waits for a ZVM, NATS or a database. */
export async function labStatus(lab: Lab | undefined): Promise<LabStatus> {
  if (!lab) return { folder: null, sites: [] };
  const sites = SITE_NAMES.map((name) => siteStatus(lab.layout.sites[name], lab.identity.sites[name].siteId));
  return { folder: lab.layout.folder, sites: await Promise.all(sites) };
}

async function siteStatus(site: SiteLayout, siteId: string): Promise<SiteStatus> {
  const records = inStartOrder(await new ProcessRegistry(site.runFolder).list());
  const processes = records.map((record) => ({ name: record.name, pid: record.pid, isAlive: isAlive(record) }));
  const isManagerAlive = processes.some((process) => process.name === 'hypervisor' && process.isAlive);
  const inventory = (isManagerAlive ? await askedInventory(site) : undefined) ?? (await readStoredInventory(statePath(site)));
  return {
    name: site.name,
    siteId,
    restUrl: site.restUrl,
    user: ADMINISTRATOR,
    password: await readPassword(site),
    caFile: caPath(site),
    hosts: site.hosts.map(({ name, address }) => ({ name, address })),
    processes,
    vms: inventory ? vmsOf(inventory) : [],
  };
}

/** Undefined when the manager does not answer in time: a stopped process is alive and silent. */
async function askedInventory(site: SiteLayout): Promise<Inventory | undefined> {
  const asked = managerOf(site).inventory().catch(() => undefined);
  const late = new Promise<undefined>((resolve) => {
    setTimeout(() => resolve(undefined), INVENTORY_TIMEOUT_MS).unref();
  });
  return await Promise.race([asked, late]);
}

export function vmsOf(inventory: Inventory): VmStatus[] {
  return inventory.vms.map((vm) => {
    const host = inventory.hosts.find((candidate) => candidate.id === vm.hostId);
    const socket = host?.nbdSocketPath ?? '';
    return {
      id: vm.id,
      name: vm.name,
      host: host?.name ?? vm.hostId,
      powerState: vm.powerState,
      disks: vm.disks.map(({ location, sizeBytes, exportName }) => ({ location, sizeBytes, nbdUri: nbdUri(exportName, socket) })),
    };
  });
}

export const nbdUri = (exportName: string, socketPath: string): string => `nbd+unix:///${encodeURIComponent(exportName)}?socket=${socketPath}`;
