import { mkdir } from 'node:fs/promises';
import { HypervisorError } from '../hypervisor-error.js';
import type { VmSpec } from '../port.js';
import { checked, type HypervisorSeed, seedSchema, type SeedVm } from './schemas.js';
import { type SimulatedState, type StoredVm, takeId } from './state.js';

/** Fills an empty `draft`; one that was ever changed stays as it is, so that a restart brings nothing back that was deleted since. */
export async function applySeed(draft: SimulatedState, untrusted: HypervisorSeed, create: (spec: VmSpec) => Promise<StoredVm>): Promise<void> {
  const seed = checked(seedSchema, untrusted, 'seed');
  if (draft.revision > 0) return;
  draft.networks = seed.networks.map((network) => ({ ...network, id: takeId(draft, 'network') }));
  draft.folders = seed.folders.map((folder) => ({ ...folder, id: takeId(draft, 'group-v') }));
  draft.datastores = seed.datastores.map((datastore) => ({ ...datastore, id: takeId(draft, 'datastore') }));
  draft.hosts = seed.hosts.map((host) => ({ ...host, id: takeId(draft, 'host'), isConnected: true }));
  for (const { path } of draft.datastores) await mkdir(path, { recursive: true });
  for (const seedVm of seed.vms) {
    const vm = await create(specOf(draft, seedVm));
    vm.powerState = seedVm.isPoweredOn ? 'poweredOn' : 'poweredOff';
  }
}

function specOf(state: SimulatedState, vm: SeedVm): VmSpec {
  const datastoreId = idOf(state.datastores, vm.datastoreName, 'datastore');
  return {
    requestKey: `seed:${vm.name}`,
    name: vm.name,
    hostId: idOf(state.hosts, vm.hostName, 'host'),
    ...(vm.folderName === undefined ? {} : { folderId: idOf(state.folders, vm.folderName, 'folder') }),
    cpuCount: vm.cpuCount,
    memoryMiB: vm.memoryMiB,
    guestOs: vm.guestOs,
    disks: vm.diskBytes.map((sizeBytes, index) => ({ id: `scsi:0:${index}`, sizeBytes, datastoreId, isFile: true })),
    nics: vm.networkNames.map((name) => ({ networkId: idOf(state.networks, name, 'network') })),
  };
}

function idOf(list: readonly { readonly id: string; readonly name: string }[], name: string, what: string): string {
  const found = list.find((item) => item.name === name);
  if (!found) throw new HypervisorError('HYPERVISOR_INVALID', `the seed names a ${what} ${name} that it does not define`);
  return found.id;
}
