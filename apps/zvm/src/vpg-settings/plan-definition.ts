import type { PeerVraV1 } from '@tidemark/contracts';
import type { Datastore, Inventory, Vm } from '@tidemark/hypervisor';
import { placementOf, type SettingsFacts, type VmSettings, type VpgSettings } from '@tidemark/vpg';
import { invalid } from '../errors.js';
import type { SiteInventory } from '../site/site-inventory.service.js';
import { areDisksChanged, liveDisks, withDisksOf } from '../vpg/followed-disks.js';
import type { VpgDefinition, VpgVm } from '../vpg/vpg-model.js';
import { preseedPath, type PreseedRules } from './preseed-path.js';

const HOUR_MS = 3_600_000;

/** One part of a path: whatever is not plainly harmless is written as hexadecimal, so that two ids never share a name. */
export const pathPart = (id: string): string => id.replace(/[^A-Za-z0-9-]/g, (char) => `_${char.charCodeAt(0).toString(16)}`);

export interface PlanContext {
  readonly vpgId: string;
  readonly protectedSite: { readonly siteId: string; readonly name: string; readonly known: SiteInventory };
  readonly recoverySite: { readonly siteId: string; readonly name: string; readonly known: SiteInventory };
  readonly checkpointIntervalMs: number;
  readonly preseeds: PreseedRules;
}

/** Settings that passed validation as what both sites will hold. */
export function planDefinition(settings: VpgSettings, context: PlanContext): VpgDefinition {
  return {
    vpgId: context.vpgId,
    name: (settings.basic.name ?? '').trim(),
    protectedSiteId: context.protectedSite.siteId,
    protectedSiteName: context.protectedSite.name,
    recoverySiteId: context.recoverySite.siteId,
    recoverySiteName: context.recoverySite.name,
    checkpointIntervalMs: 1000 * (settings.basic.checkpointIntervalInSeconds ?? 0) || context.checkpointIntervalMs,
    historyMs: (settings.basic.journalHistoryInHours ?? 24) * HOUR_MS,
    settings: { ...settings, vpgIdentifier: context.vpgId, vpgSettingsIdentifier: null },
    vms: settings.vms.map((vm) => planVm(settings, vm, context)),
  };
}

function planVm(settings: VpgSettings, wish: VmSettings, context: PlanContext): VpgVm {
  const place = placementOf(settings, wish);
  const vm = required(context.protectedSite.known.inventory.vms.find(({ id }) => id === place.vmId), 'VM', place.vmId);
  const { inventory, vras } = context.recoverySite.known;
  const vra = required(vras.find(({ hostId }) => hostId === place.hostId), 'VRA on host', place.hostId);
  const journalDatastore = datastoreOf(inventory, place.journalDatastoreId);
  const folder = `tidemark/${context.vpgId}/${pathPart(vm.id)}`;
  return {
    vmId: vm.id,
    name: vm.name,
    cpuCount: vm.cpuCount,
    memoryMiB: vm.memoryMiB,
    guestOs: vm.guestOs,
    bootGroupId: place.bootGroupId,
    recoveryHostId: vra.hostId,
    recoveryFolderId: place.folderId,
    recoveringVra: { vraId: vra.vraId, address: vra.address, controlPort: vra.controlPort, dataPort: vra.dataPort },
    journalFolder: `${journalDatastore.path}/${folder}/journal`,
    journalDatastore: { id: journalDatastore.id, path: journalDatastore.path, capacityBytes: journalDatastore.capacityBytes },
    disks: vm.disks.map((disk) => {
      const datastore = datastoreOf(inventory, place.datastoreOf(disk.id));
      const preseed = place.preseedOf(disk.id);
      const made = {
        diskId: disk.id, sizeBytes: disk.sizeBytes, exportName: disk.exportName, recoveryDatastoreId: datastore.id, mirrorPath: `${datastore.path}/${folder}/${pathPart(disk.id)}.raw`,
        ...(place.isTempData(disk.id) && { isTempData: true }),
      };
      return preseed === null ? made : { ...made, mirrorPath: preseedPath(preseed, datastore, { inventory, rules: context.preseeds }), isPreseeded: true };
    }),
    nics: vm.nics.map((nic) => ({ nicId: nic.id, mac: nic.mac, ...place.nicOf(nic.id) })),
  };
}

/** The definition with the disks that its VMs have now; what is added gets a place beside the VM's first disk. */
export function planDisks(definition: VpgDefinition, protectedSite: SiteInventory, recoverySite: SiteInventory): VpgDefinition {
  return {
    ...definition,
    vms: definition.vms.map((vm) => {
      const actual = protectedSite.inventory.vms.find(({ id }) => id === vm.vmId);
      if (!areDisksChanged(vm, actual) || !actual) return vm;
      const datastore = datastoreOf(recoverySite.inventory, liveDisks(vm)[0]?.recoveryDatastoreId ?? vm.journalDatastore.id);
      return withDisksOf(vm, actual, (disk, index) => ({
        recoveryDatastoreId: datastore.id, mirrorPath: `${datastore.path}/tidemark/${definition.vpgId}/${pathPart(vm.vmId)}/${pathPart(disk.id)}-${index}.raw`,
      }));
    }),
  };
}

function datastoreOf(inventory: Inventory, id: string | null): Datastore {
  return required(inventory.datastores.find((datastore) => datastore.id === id), 'datastore', id);
}

/** The inventory changed between validation and plan. */
function required<T>(found: T | undefined, what: string, id: string | null): T {
  if (found === undefined) throw invalid(`${what} ${id ?? '(none chosen)'} does not exist (any more)`);
  return found;
}

/** What the checks of @tidemark/vpg need to know. */
export function factsOf(options: {
  readonly vpgId: string | null;
  readonly sites: SettingsFacts['sites'];
  readonly vpgs: readonly VpgDefinition[];
  readonly protectedSite: SiteInventory;
  readonly recoverySite: SiteInventory;
}): SettingsFacts {
  const { inventory, vras } = options.recoverySite;
  return {
    vpgId: options.vpgId,
    sites: options.sites,
    isReplicationToSelfEnabled: false,
    vpgs: options.vpgs.map(({ vpgId, name, recoverySiteId, vms }) => ({ vpgId, name, recoverySiteId, vmIds: vms.map((vm) => vm.vmId) })),
    vms: options.protectedSite.inventory.vms.map(protectableOf),
    recovery: {
      hosts: inventory.hosts.map((host) => ({
        hostId: host.id, name: host.name, datastoreIds: host.datastoreIds, networkIds: host.networkIds, hasVra: vras.some((vra: PeerVraV1) => vra.hostId === host.id),
      })),
      datastores: inventory.datastores.map(({ id, name, capacityBytes, freeBytes }) => ({ datastoreId: id, name, capacityBytes, freeBytes })),
      networks: inventory.networks,
      folders: inventory.folders,
    },
  };
}

const protectableOf = (vm: Vm): SettingsFacts['vms'][number] => ({
  vmId: vm.id,
  name: vm.name,
  disks: vm.disks.map((disk) => ({ diskId: disk.id, sizeBytes: disk.sizeBytes })),
  nicIds: vm.nics.map(({ id }) => id),
});
