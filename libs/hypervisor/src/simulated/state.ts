import { HypervisorError } from '../hypervisor-error.js';
import type { ApplianceSpec, HypervisorHost, Network, PowerState, Vm, VmDisk, VmFolder, VmNic, VmSpec } from '../port.js';

/** What the simulated manager keeps on disk. Ids are `<serverGuid>.vm-1`, `<serverGuid>.host-1`, … and never used twice. */
export interface SimulatedState {
  readonly format: 1;
  readonly serverGuid: string;
  revision: number;
  nextNumbers: Record<ObjectKind, number>;
  hosts: StoredHost[];
  datastores: StoredDatastore[];
  networks: Network[];
  folders: VmFolder[];
  vms: StoredVm[];
  /** Without their tokens: those are for the appliance alone. */
  appliances: Omit<ApplianceSpec, 'enrolmentToken'>[];
}

export type ObjectKind = 'vm' | 'host' | 'datastore' | 'network' | 'group-v' | 'disk';
export type StoredHost = Omit<HypervisorHost, 'datastoreIds' | 'networkIds'>;
export interface StoredDatastore {
  readonly id: string;
  readonly name: string;
  readonly path: string;
  readonly capacityBytes: number;
}
export interface StoredVm extends Omit<Vm, 'hostId' | 'powerState' | 'disks'> {
  readonly requestKey: string;
  hostId: string;
  powerState: PowerState;
  disks: VmDisk[];
}

export function emptyState(serverGuid: string): SimulatedState {
  return {
    format: 1,
    serverGuid,
    revision: 0,
    nextNumbers: { vm: 1, host: 1, datastore: 1, network: 1, 'group-v': 1, disk: 1 },
    hosts: [],
    datastores: [],
    networks: [],
    folders: [],
    vms: [],
    appliances: [],
  };
}

/** The stored document, or HYPERVISOR_INVALID when it is not one of ours. */
export function stateFrom(document: unknown, path: string): SimulatedState {
  const state = document as Partial<SimulatedState> | null;
  if (typeof state !== 'object' || state === null || state.format !== 1 || typeof state.serverGuid !== 'string' || !Array.isArray(state.vms)) {
    throw new HypervisorError('HYPERVISOR_INVALID', `${path} is not an inventory of format 1`);
  }
  return state as SimulatedState;
}

/** `group-v` has no dash before its number, as in vCenter's `group-v3`. */
export function takeId(state: SimulatedState, kind: ObjectKind): string {
  const number = state.nextNumbers[kind]++;
  return `${state.serverGuid}.${kind}${kind === 'group-v' ? '' : '-'}${number}`;
}

/** `vm-3` of `<guid>.vm-3`. */
export const localPart = (id: string): string => id.slice(id.indexOf('.') + 1);

export const exportNameOf = (vmId: string, diskId: string): string => `${localPart(vmId)}-${diskId.replaceAll(':', '-')}`;

/** What a disk that was added later is called in paths and exports: never the name of one that had its id before. */
export const laterDiskName = (state: SimulatedState, diskId: string): string => `${diskId}:${state.nextNumbers.disk++}`;

export function find<T extends { readonly id: string }>(list: readonly T[], id: string, what: string): T {
  const found = list.find((item) => item.id === id);
  if (!found) throw new HypervisorError('HYPERVISOR_NOT_FOUND', `no ${what} ${id} here`);
  return found;
}

export function vmFrom(state: SimulatedState, spec: VmSpec, { id, disks }: { readonly id: string; readonly disks: VmDisk[] }): StoredVm {
  const folder = spec.folderId === undefined ? state.folders[0] : find(state.folders, spec.folderId, 'folder');
  if (!folder) throw new HypervisorError('HYPERVISOR_INVALID', 'this site has no folder for virtual machines');
  return {
    requestKey: spec.requestKey,
    id,
    name: spec.name,
    hostId: find(state.hosts, spec.hostId, 'host').id,
    folderId: folder.id,
    powerState: 'poweredOff',
    cpuCount: spec.cpuCount,
    memoryMiB: spec.memoryMiB,
    guestOs: spec.guestOs,
    disks,
    nics: spec.nics.map((nic, index) => nicFrom(state, nic, { vmId: id, index })),
  };
}

function nicFrom(state: SimulatedState, nic: VmSpec['nics'][number], { vmId, index }: { readonly vmId: string; readonly index: number }): VmNic {
  const networkId = find(state.networks, nic.networkId, 'network').id;
  return { id: `nic-${index + 1}`, networkId, mac: nic.mac?.toLowerCase() ?? madeUpMac(vmId, index) };
}

/** Stable for a VM's NIC: 52:54:00 (QEMU's locally administered prefix), then VM number and NIC index. */
function madeUpMac(vmId: string, index: number): string {
  const number = Number(localPart(vmId).replace('vm-', ''));
  return ['52', '54', '00', hex(number >> 8), hex(number), hex(index)].join(':');
}

const hex = (value: number): string => (value & 0xff).toString(16).padStart(2, '0');

export function publicVm(vm: StoredVm): Vm {
  const { requestKey: _requestKey, ...shown } = vm;
  return structuredClone(shown);
}
