import { isNbdUri } from '@tidemark/base';
import { mkdir, rm } from 'node:fs/promises';
import { HypervisorError } from '../hypervisor-error.js';
import type {
  ApplianceSpec, Datastore, HypervisorHost, HypervisorManager, Inventory, InventoryChange, Network, Vm, VmDisk, VmDiskSpec, VmFolder, VmSpec,
} from '../port.js';
import { DatastoreUsage } from './datastore-usage.js';
import { assertInside, chosenLocation, createSparse, deleteDisk, fileBytes, growSparse } from './disk-files.js';
import { loadDocument, saveDocument } from './document-file.js';
import { applySeed } from './seed.js';
import {
  checked, checkedApplianceSpec, checkedDiskSpec, checkedVmSpec, DISKS_MAX, growSchema, type HypervisorSeed, migrateSchema, removeDiskSchema,
} from './schemas.js';
import { StateChanges } from './state-changes.js';
import { emptyState, exportNameOf, find, laterDiskName, publicVm, type SimulatedState, type StoredHost, type StoredVm, stateFrom, takeId, vmFrom } from './state.js';

/** Starts and ends the VRA processes of a simulated site; what it starts outlives the manager. Both are idempotent by vraId. */
export interface ApplianceRunner {
  /** Resolves when the process runs, not when it answers. */
  start(spec: ApplianceSpec, host: HypervisorHost): Promise<void>;
  stop(vraId: string): Promise<void>;
}

export interface SimulatedHypervisorOptions {
  /** Where the inventory is kept; everything survives a kill -9. */
  readonly statePath: string;
  /** Part of every id. Used when there is no inventory yet. */
  readonly serverGuid: string;
  readonly appliances: ApplianceRunner;
  readonly usage?: DatastoreUsage;
}

/**
 * A hypervisor manager whose hosts are addresses, whose datastores are folders and whose VMs have real disk files but no processor: any NBD
 * client plays the guest. Changes happen one at a time, and each is durable before its call resolves; those that wait together are made durable together.
 */
export class SimulatedHypervisor implements HypervisorManager {
  readonly #usage: DatastoreUsage;
  readonly #appliances: ApplianceRunner;
  readonly #changes: StateChanges;

  private constructor(state: SimulatedState, options: SimulatedHypervisorOptions) {
    this.#usage = options.usage ?? new DatastoreUsage();
    this.#appliances = options.appliances;
    this.#changes = new StateChanges(state, async (next) => await saveDocument(options.statePath, next));
  }

  static async open(options: SimulatedHypervisorOptions): Promise<SimulatedHypervisor> {
    const document = await loadDocument(options.statePath);
    const state = document === undefined ? emptyState(options.serverGuid) : stateFrom(document, options.statePath);
    return new SimulatedHypervisor(state, options);
  }

  get revision(): number {
    return this.#changes.state.revision;
  }

  inventory(): Promise<Inventory> {
    return inventoryOf(this.#changes.state, this.#usage);
  }

  /** Fills an empty inventory with what `seed` names; later calls do nothing. */
  seed(seed: HypervisorSeed): Promise<void> {
    return this.#changes.make((draft) => applySeed(draft, seed, (spec) => this.#create(draft, spec)));
  }

  addHost(host: Omit<StoredHost, 'id' | 'isConnected'>): Promise<HypervisorHost> {
    return this.#changes.make(async (draft) => {
      const added = { ...host, id: takeId(draft, 'host'), isConnected: true };
      draft.hosts.push(added);
      return hostOf(draft, added);
    });
  }

  /** A host that lost power or its network, as the manager sees it. */
  setHostConnected(hostId: string, isConnected: boolean): Promise<void> {
    return this.#changes.make(async (draft) => {
      find(draft.hosts, hostId, 'host');
      draft.hosts = draft.hosts.map((host) => (host.id === hostId ? { ...host, isConnected } : host));
    });
  }

  addNetwork(name: string): Promise<Network> {
    return this.#changes.make(async (draft) => {
      const network = { id: takeId(draft, 'network'), name };
      draft.networks.push(network);
      return network;
    });
  }

  addFolder(name: string): Promise<VmFolder> {
    return this.#changes.make(async (draft) => {
      const folder = { id: takeId(draft, 'group-v'), name };
      draft.folders.push(folder);
      return folder;
    });
  }

  addDatastore(datastore: { readonly name: string; readonly path: string; readonly capacityBytes: number }): Promise<Datastore> {
    return this.#changes.make(async (draft) => {
      await mkdir(datastore.path, { recursive: true });
      const added = { ...datastore, id: takeId(draft, 'datastore') };
      draft.datastores.push(added);
      return datastoreOf(added, this.#usage);
    });
  }

  async createVm(untrusted: VmSpec): Promise<Vm> {
    const spec = checkedVmSpec(untrusted);
    return publicVm(await this.#changes.make((draft) => this.#create(draft, spec)));
  }

  async #create(draft: SimulatedState, spec: VmSpec): Promise<StoredVm> {
    const existing = draft.vms.find((vm) => vm.requestKey === spec.requestKey);
    if (existing) return existing;
    const id = takeId(draft, 'vm');
    const disks: VmDisk[] = spec.disks.map((disk) => diskOf(draft, disk, { id, name: spec.name }));
    const vm = vmFrom(draft, spec, { id, disks });
    await this.#prepareFiles(draft, spec.disks, disks);
    draft.vms.push(vm);
    return vm;
  }

  /** Checks everything before it touches anything: a refused VM or disk leaves no file behind. */
  async #prepareFiles(draft: SimulatedState, specs: readonly VmDiskSpec[], disks: readonly VmDisk[]): Promise<void> {
    const missing: VmDisk[] = [];
    for (const [index, disk] of disks.entries()) {
      const isChosenHere = specs[index]?.location === undefined;
      if (isNbdUri(disk.location)) {
        assertServed(disk);
        assertUnused(draft, disk.location);
        continue;
      }
      await assertInside(find(draft.datastores, disk.datastoreId, 'datastore').path, disk.location);
      if (!disk.isFile) continue;
      assertUnused(draft, disk.location);
      // A file at a place that this manager chose is the rest of a creation that a kill cut short: no inventory names it.
      const sizeBytes = isChosenHere ? undefined : await fileBytes(disk.location);
      if (sizeBytes === undefined) missing.push(disk);
      else if (sizeBytes !== disk.sizeBytes) {
        throw new HypervisorError('HYPERVISOR_INVALID', `${disk.location} has ${sizeBytes} bytes, the disk shall have ${disk.sizeBytes}`);
      }
    }
    await this.#assertRoom(draft, missing);
    for (const disk of missing) {
      await rm(disk.location, { force: true });
      await createSparse(disk.location, disk.sizeBytes);
      this.#usage.forget(find(draft.datastores, disk.datastoreId, 'datastore').path);
    }
  }

  async #assertRoom(draft: SimulatedState, disks: readonly VmDisk[]): Promise<void> {
    for (const stored of draft.datastores) {
      const wantedBytes = disks.filter((disk) => disk.datastoreId === stored.id).reduce((sum, disk) => sum + disk.sizeBytes, 0);
      if (wantedBytes === 0) continue;
      this.#usage.forget(stored.path);
      const { freeBytes } = await datastoreOf(stored, this.#usage);
      if (wantedBytes > freeBytes) {
        throw new HypervisorError('HYPERVISOR_FULL', `datastore ${stored.name} has ${freeBytes} bytes free, ${wantedBytes} are needed`);
      }
    }
  }

  deleteVm(vmId: string, { areDisksKept }: { readonly areDisksKept: boolean }): Promise<void> {
    return this.#changes.make(async (draft) => {
      const vm = draft.vms.find((candidate) => candidate.id === vmId);
      if (!vm) return;
      if (vm.powerState === 'poweredOn') throw new HypervisorError('HYPERVISOR_STATE', `${vm.name} is powered on`);
      draft.vms = draft.vms.filter((candidate) => candidate !== vm);
      if (!areDisksKept) await this.#deleteFiles(draft, vm.disks);
    }, { deletesFiles: !areDisksKept });
  }

  /** Files first, inventory after: a kill in between leaves a VM that can be deleted again, never a file that nothing names. */
  async #deleteFiles(draft: SimulatedState, disks: readonly VmDisk[]): Promise<void> {
    for (const disk of disks) {
      // A disk served from a checkpoint view names the mirror volume, which is not this VM's to delete.
      if (!disk.isFile || isNbdUri(disk.location) || isUsed(draft, disk.location)) continue;
      const { path } = find(draft.datastores, disk.datastoreId, 'datastore');
      await deleteDisk(path, disk.location);
      this.#usage.forget(path);
    }
  }

  powerOn(vmId: string): Promise<void> {
    return this.#changeVm(vmId, (vm) => {
      vm.powerState = 'poweredOn';
    });
  }

  /** There is no guest that could refuse: both ways end at once. */
  powerOff(vmId: string, _options: { readonly isForced: boolean }): Promise<void> {
    return this.#changeVm(vmId, (vm) => {
      vm.powerState = 'poweredOff';
    });
  }

  async migrateVm(vmId: string, untrusted: { readonly hostId: string }): Promise<void> {
    const { hostId } = checked(migrateSchema, untrusted, 'migration');
    await this.#changes.make(async (draft) => {
      const vm = find(draft.vms, vmId, 'virtual machine');
      const host = find(draft.hosts, hostId, 'host');
      if (vm.hostId === hostId) return;
      if (!host.isConnected) throw new HypervisorError('HYPERVISOR_STATE', `host ${host.name} is not connected`);
      vm.hostId = hostId;
    });
  }

  async addDisk(vmId: string, untrusted: VmDiskSpec): Promise<VmDisk> {
    const spec = checkedDiskSpec(untrusted);
    return await this.#changes.make(async (draft) => {
      const vm = find(draft.vms, vmId, 'virtual machine');
      const existing = vm.disks.find((disk) => disk.id === spec.id);
      if (existing?.sizeBytes === spec.sizeBytes) return structuredClone(existing);
      if (existing) throw new HypervisorError('HYPERVISOR_STATE', `${vm.name} has a disk ${spec.id} of ${existing.sizeBytes} bytes`);
      if (vm.disks.length >= DISKS_MAX) throw new HypervisorError('HYPERVISOR_INVALID', `${vm.name} has ${DISKS_MAX} disks already`);
      const disk = diskOf(draft, spec, vm, laterDiskName(draft, spec.id));
      await this.#prepareFiles(draft, [spec], [disk]);
      vm.disks = [...vm.disks, disk];
      return disk;
    });
  }

  async growDisk(vmId: string, untrusted: { readonly diskId: string; readonly sizeBytes: number }): Promise<void> {
    const { diskId, sizeBytes } = checked(growSchema, untrusted, 'disk');
    await this.#changes.make(async (draft) => {
      const vm = find(draft.vms, vmId, 'virtual machine');
      const disk = find(vm.disks, diskId, 'disk');
      if (sizeBytes < disk.sizeBytes) throw new HypervisorError('HYPERVISOR_INVALID', `disk ${diskId} of ${vm.name} has ${disk.sizeBytes} bytes and cannot shrink to ${sizeBytes}`);
      if (!disk.isFile) throw new HypervisorError('HYPERVISOR_STATE', `disk ${diskId} of ${vm.name} is served from a checkpoint until its promotion ends`);
      if (sizeBytes === disk.sizeBytes) return;
      if (isNbdUri(disk.location)) throw new HypervisorError('HYPERVISOR_STATE', `disk ${diskId} of ${vm.name} is an export of ${disk.location}: its size is that server's`);
      await this.#assertRoom(draft, [{ ...disk, sizeBytes: sizeBytes - disk.sizeBytes }]);
      // The file first: an inventory that promises more than there is would fail its VRA, which takes a file that is longer than its disk.
      await growSparse(disk.location, sizeBytes);
      vm.disks = vm.disks.map((each) => (each.id === diskId ? { ...each, sizeBytes } : each));
    });
  }

  async removeDisk(vmId: string, untrusted: { readonly diskId: string; readonly isFileKept: boolean }): Promise<void> {
    const { diskId, isFileKept } = checked(removeDiskSchema, untrusted, 'disk');
    await this.#changes.make(async (draft) => {
      const vm = find(draft.vms, vmId, 'virtual machine');
      const disk = vm.disks.find((each) => each.id === diskId);
      if (!disk) return;
      vm.disks = vm.disks.filter((each) => each !== disk);
      if (!isFileKept) await this.#deleteFiles(draft, [disk]);
    }, { deletesFiles: !isFileKept });
  }

  markDisksAsFiles(vmId: string): Promise<void> {
    return this.#changeVm(vmId, (vm) => {
      vm.disks = vm.disks.map((disk) => ({ ...disk, isFile: true }));
    });
  }

  async deployAppliance(untrusted: ApplianceSpec): Promise<void> {
    const spec = checkedApplianceSpec(untrusted);
    await this.#changes.make(async (draft) => {
      const host = find(draft.hosts, spec.hostId, 'host');
      find(draft.datastores, spec.datastoreId, 'datastore');
      find(draft.networks, spec.networkId, 'network');
      if (!host.isConnected) throw new HypervisorError('HYPERVISOR_STATE', `host ${host.name} is not connected`);
      const other = draft.appliances.find((appliance) => appliance.hostId === spec.hostId && appliance.vraId !== spec.vraId);
      if (other) throw new HypervisorError('HYPERVISOR_STATE', `host ${host.name} has the appliance ${other.name} already`);
      const { enrolmentToken: _token, ...kept } = spec;
      draft.appliances = [...draft.appliances.filter((appliance) => appliance.vraId !== spec.vraId), kept];
      await this.#appliances.start(spec, hostOf(draft, host));
    });
  }

  removeAppliance(vraId: string): Promise<void> {
    return this.#changes.make(async (draft) => {
      if (!draft.appliances.some((appliance) => appliance.vraId === vraId)) return;
      await this.#appliances.stop(vraId);
      draft.appliances = draft.appliances.filter((appliance) => appliance.vraId !== vraId);
    });
  }

  async *watch(signal: AbortSignal): AsyncGenerator<InventoryChange> {
    const isWanted = (): boolean => !signal.aborted;
    for (let seen = -1; isWanted(); ) {
      seen = await this.changedSince(seen, signal);
      if (isWanted()) yield { revision: seen };
    }
  }

  /** Resolves with the revision as soon as it is another one than `revision`, or when `signal` aborts. */
  changedSince(revision: number, signal: AbortSignal): Promise<number> {
    return this.#changes.changedSince(revision, signal);
  }

  #changeVm(vmId: string, change: (vm: StoredVm) => void): Promise<void> {
    return this.#changes.make(async (draft) => {
      change(find(draft.vms, vmId, 'virtual machine'));
    });
  }
}

/** The inventory that a dead manager left behind, or undefined when there is none. */
export async function readStoredInventory(statePath: string): Promise<Inventory | undefined> {
  const document = await loadDocument(statePath);
  return document === undefined ? undefined : await inventoryOf(stateFrom(document, statePath), new DatastoreUsage());
}

async function inventoryOf(state: SimulatedState, usage: DatastoreUsage): Promise<Inventory> {
  return {
    revision: state.revision,
    hosts: state.hosts.map((host) => hostOf(state, host)),
    networks: structuredClone(state.networks),
    folders: structuredClone(state.folders),
    vms: state.vms.map(publicVm),
    datastores: await Promise.all(state.datastores.map((datastore) => datastoreOf(datastore, usage))),
  };
}

/** Every host of a simulated site reaches every datastore and network of it. */
const hostOf = (state: SimulatedState, host: StoredHost): HypervisorHost => ({
  ...host,
  datastoreIds: state.datastores.map((datastore) => datastore.id),
  networkIds: state.networks.map((network) => network.id),
});

async function datastoreOf(stored: Omit<Datastore, 'freeBytes'>, usage: DatastoreUsage): Promise<Datastore> {
  const allocatedBytes = await usage.allocatedBytes(stored.path);
  return { ...stored, freeBytes: Math.max(0, stored.capacityBytes - allocatedBytes) };
}

function diskOf(state: SimulatedState, disk: VmDiskSpec, vm: { readonly id: string; readonly name: string }, name = disk.id): VmDisk {
  const datastore = find(state.datastores, disk.datastoreId, 'datastore');
  return {
    id: disk.id,
    sizeBytes: disk.sizeBytes,
    datastoreId: datastore.id,
    location: disk.location ?? chosenLocation(datastore.path, vm, name),
    exportName: exportNameOf(vm.id, name),
    isFile: disk.isFile,
  };
}

/** Somebody else's server has the bytes: there is nothing to make here, and a recovered disk is never one. */
function assertServed({ id, isFile }: VmDisk): void {
  if (!isFile) throw new HypervisorError('HYPERVISOR_INVALID', `disk ${id} is served from a checkpoint and cannot be an export of another server`);
}

const isUsed = (state: SimulatedState, location: string): boolean =>
  state.vms.some((vm) => vm.disks.some((disk) => disk.isFile && disk.location === location));

function assertUnused(state: SimulatedState, location: string): void {
  if (isUsed(state, location)) throw new HypervisorError('HYPERVISOR_STATE', `${location} is the disk of another virtual machine`);
}
