import { MiB } from '@tidemark/base';
import { type HypervisorManager, type Inventory, type Vm } from '@tidemark/hypervisor';
import { existingLab } from './lab.js';
import { LabError } from './lab-error.js';
import { SITE_NAMES } from './layout.js';
import { type DiskStatus, vmsOf } from './status.js';
import { managerOf } from './servers/hypervisor.js';

type Environment = Readonly<Record<string, string | undefined>>;

interface Found {
  readonly manager: HypervisorManager;
  readonly inventory: Inventory;
  readonly vm: Vm;
}

/** What an administrator does in the hypervisor's own tools. Nothing here tells a ZVM: it has to notice. */
async function findVm(environment: Environment, name: string): Promise<Found> {
  const lab = await existingLab(environment);
  for (const site of SITE_NAMES) {
    const manager = managerOf(lab.layout.sites[site]);
    const inventory = await manager.inventory();
    const vm = inventory.vms.find((candidate) => candidate.name === name || candidate.id === name);
    if (vm) return { manager, inventory, vm };
  }
  throw new LabError('LAB_UNKNOWN', `neither site has a VM ${name}`);
}

export async function labMigrate(environment: Environment, vmName: string, hostName: string): Promise<void> {
  const { manager, inventory, vm } = await findVm(environment, vmName);
  const host = inventory.hosts.find((candidate) => candidate.name === hostName || candidate.id === hostName);
  if (!host) throw new LabError('LAB_UNKNOWN', `the site of ${vmName} has no host ${hostName}: ${inventory.hosts.map(({ name }) => name).join(', ')}`);
  await manager.migrateVm(vm.id, { hostId: host.id });
}

export interface DiskWish {
  /** `scsi:0:2` */
  readonly id: string;
  readonly sizeMiB: number;
}

/** On the datastore of the VM's first disk. */
export async function labDiskAdd(environment: Environment, vmName: string, { id, sizeMiB }: DiskWish): Promise<DiskStatus> {
  const { manager, inventory, vm } = await findVm(environment, vmName);
  const datastoreId = vm.disks[0]?.datastoreId ?? inventory.datastores[0]?.id ?? '';
  const disk = await manager.addDisk(vm.id, { id, sizeBytes: sizeMiB * MiB, datastoreId, isFile: true });
  const shown = vmsOf({ ...inventory, vms: [{ ...vm, disks: [disk] }] })[0]?.disks[0];
  if (!shown) throw new LabError('LAB_UNKNOWN', `${vmName} is gone`);
  return shown;
}

export async function labDiskGrow(environment: Environment, vmName: string, { id, sizeMiB }: DiskWish): Promise<void> {
  const { manager, vm } = await findVm(environment, vmName);
  await manager.growDisk(vm.id, { diskId: id, sizeBytes: sizeMiB * MiB });
}

export async function labDiskRemove(environment: Environment, vmName: string, diskId: string): Promise<void> {
  const { manager, vm } = await findVm(environment, vmName);
  if (!vm.disks.some(({ id }) => id === diskId)) throw new LabError('LAB_UNKNOWN', `${vmName} has no disk ${diskId}: ${vm.disks.map(({ id }) => id).join(', ')}`);
  await manager.removeDisk(vm.id, { diskId, isFileKept: false });
}
