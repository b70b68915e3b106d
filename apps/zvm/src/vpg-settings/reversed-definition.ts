import { isNbdUri } from '@tidemark/base';
import type { PeerVraV1 } from '@tidemark/contracts';
import type { Datastore, Vm, VmDisk } from '@tidemark/hypervisor';
import { defaultVmSettings, type VmSettings, type VpgSettings } from '@tidemark/vpg';
import { conflict } from '../errors.js';
import type { SiteInventory } from '../site/site-inventory.service.js';
import { actualDisk } from '../vpg/followed-disks.js';
import { settingsOf } from '../vpg/vpg-definition.js';
import type { RecoveredVm, VpgDefinition, VpgRecord, VpgVm } from '../vpg/vpg-model.js';
import { pathPart } from './plan-definition.js';

export interface ReverseFacts {
  /** The committed failover, with its recovered VMs. */
  readonly record: VpgRecord;
  /** Where the VMs ran: this site, which recovers them from now on. */
  readonly oldSite: SiteInventory;
  /** Where they run now. */
  readonly newSite: SiteInventory;
}

/** The checkpoint view that the VM runs on since the move, and what the old disks looked like then. */
type Rest = NonNullable<VpgVm['basis']>;

/** One VM on its way into the other direction: as its VPG knew it, as it runs now, and what is left of it where it ran. */
interface Turned {
  readonly before: VpgVm;
  readonly now: Vm;
  readonly old: Vm | undefined;
  /** By volume index before; undefined: not moved, or not all of it is known. */
  readonly rest: Rest | undefined;
}

interface Place {
  readonly vra: PeerVraV1;
  readonly datastore: Datastore;
}

/**
 * The VPG in the other direction. Each old disk of the size that its VM has now becomes the recovery volume of that disk, to be compared; for the others new volumes are made
 * beside them, and the old file is left alone. @throws ZvmError ZVM_CONFLICT, saying what stands in the way
 */
export function reversedDefinition({ record, oldSite, newSite }: ReverseFacts): VpgDefinition {
  const { definition, failover } = record;
  const restOf = ({ vmId, viewId }: RecoveredVm): Rest | undefined => {
    const settled = failover?.kind === 'move' ? failover.settled?.find((vm) => vm.vmId === vmId) : undefined;
    return settled && { basisId: viewId, fingerprints: settled.fingerprints };
  };
  const turned = (failover?.vms ?? []).map((recovered) => ({ ...turnedOf(recovered, definition, { oldSite, newSite }), rest: restOf(recovered) }));
  if (turned.length === 0) throw conflict(`VPG '${definition.name}' has no recovered VMs to protect`);
  const vms = turned.map((one) => reversedVm(one, definition, oldSite));
  return {
    ...definition,
    protectedSiteId: definition.recoverySiteId,
    protectedSiteName: definition.recoverySiteName,
    recoverySiteId: definition.protectedSiteId,
    recoverySiteName: definition.protectedSiteName,
    isPaused: false,
    settings: reversedSettings(settingsOf(definition), definition, vms),
    vms,
  };
}

function turnedOf(recovered: RecoveredVm, definition: VpgDefinition, { oldSite, newSite }: Pick<ReverseFacts, 'oldSite' | 'newSite'>): Omit<Turned, 'rest'> {
  const before = definition.vms.find(({ vmId }) => vmId === recovered.vmId);
  const now = newSite.inventory.vms.find(({ id }) => id === recovered.recoveredVmId);
  if (!before || !now) throw conflict(`the recovered VM '${recovered.name}' is not at site ${definition.recoverySiteName} any more: it cannot be protected from there`);
  return { before, now, old: oldSite.inventory.vms.find(({ id }) => id === recovered.vmId) };
}

function reversedVm({ before, now, old, rest }: Turned, definition: VpgDefinition, site: SiteInventory): VpgVm {
  const { vra, datastore } = placeOf(before, old, site);
  const basis = rest && basisOf(rest, before, now);
  const folder = `tidemark/${definition.vpgId}/${pathPart(now.id)}`;
  return {
    vmId: now.id,
    name: before.name,
    cpuCount: now.cpuCount,
    memoryMiB: now.memoryMiB,
    guestOs: now.guestOs,
    bootGroupId: before.bootGroupId,
    recoveryHostId: vra.hostId,
    recoveryFolderId: old?.folderId ?? null,
    recoveringVra: { vraId: vra.vraId, address: vra.address, controlPort: vra.controlPort, dataPort: vra.dataPort },
    journalFolder: `${datastore.path}/${folder}/journal`,
    journalDatastore: { id: datastore.id, path: datastore.path, capacityBytes: datastore.capacityBytes },
    disks: now.disks.map((disk) => {
      const known = before.disks.find(({ diskId, isRemoved }) => diskId === disk.id && isRemoved !== true);
      const left = known && actualDisk(old, known);
      return {
        diskId: disk.id, sizeBytes: disk.sizeBytes, exportName: disk.exportName, ...volumeOf(disk, left, { datastore, folder }), ...(known?.isTempData === true && { isTempData: true }),
      };
    }),
    // A test beside production must not meet it: unconnected until somebody chooses a network.
    nics: now.nics.map((nic, index) => ({
      nicId: nic.id, mac: nic.mac, failoverNetworkId: old?.nics[index]?.networkId ?? null, isFailoverMacNew: false, testNetworkId: null, isTestMacNew: false,
    })),
    ...(basis && { basis }),
  };
}

/** In the order of the disks that the VM has now. The recovering VRA looks whether the files are still what they were. */
function basisOf({ basisId, fingerprints }: Rest, before: VpgVm, now: Vm): Rest | undefined {
  const ofNow = now.disks.map(({ id }) => fingerprints[before.disks.findIndex(({ diskId, isRemoved }) => diskId === id && isRemoved !== true)] ?? '');
  return ofNow.every((fingerprint) => fingerprint !== '') ? { basisId, fingerprints: ofNow } : undefined;
}

function volumeOf(disk: VmDisk, left: VmDisk | undefined, made: { readonly datastore: Datastore; readonly folder: string }): Pick<VpgVm['disks'][number], 'recoveryDatastoreId' | 'mirrorPath' | 'isPreseeded'> {
  // A mirror is a file of this site's: what lay behind an NBD server gets a new one.
  if (left?.isFile === true && !isNbdUri(left.location) && left.sizeBytes === disk.sizeBytes) return { recoveryDatastoreId: left.datastoreId, mirrorPath: left.location, isPreseeded: true };
  return { recoveryDatastoreId: made.datastore.id, mirrorPath: `${made.datastore.path}/${made.folder}/${pathPart(disk.id)}.raw` };
}

/** On the host where the VM ran, beside its first disk; a VM that is gone goes to the first host that has a VRA. */
function placeOf(before: VpgVm, old: Vm | undefined, { inventory, vras }: SiteInventory): Place {
  const datastoreId = old?.disks[0]?.datastoreId;
  const sees = (hostId: string): boolean => datastoreId === undefined || inventory.hosts.find(({ id }) => id === hostId)?.datastoreIds.includes(datastoreId) === true;
  const vra = vras.find(({ hostId }) => hostId === old?.hostId) ?? vras.find(({ hostId }) => sees(hostId));
  if (!vra) throw conflict(`no host that sees the disks of '${before.name}' has a VRA: install one, then protect the VM anew`);
  const wanted = datastoreId ?? inventory.hosts.find(({ id }) => id === vra.hostId)?.datastoreIds[0];
  const datastore = inventory.datastores.find(({ id }) => id === wanted);
  if (!datastore) throw conflict(`the host of VRA ${vra.name} sees no datastore for '${before.name}'`);
  return { vra, datastore };
}

/** What a user finds when the VPG is edited in its new direction: every VM's own places, none for the whole VPG but the first VM's. */
function reversedSettings(settings: VpgSettings, before: VpgDefinition, vms: readonly VpgVm[]): VpgSettings {
  const noNetwork = { ...settings.networks.failover, hypervisor: { defaultNetworkIdentifier: null } };
  return {
    ...settings,
    basic: { ...settings.basic, protectedSiteIdentifier: before.recoverySiteId, recoverySiteIdentifier: before.protectedSiteId },
    recovery: {
      ...settings.recovery, defaultHostIdentifier: vms[0]?.recoveryHostId ?? null, defaultDatastoreIdentifier: vms[0]?.journalDatastore.id ?? null, defaultFolderIdentifier: null,
    },
    journal: { ...settings.journal, datastoreIdentifier: null },
    scratch: { ...settings.scratch, datastoreIdentifier: null },
    networks: { failover: noNetwork, failoverTest: noNetwork },
    vms: vms.map((vm, index) => reversedVmSettings(vm, settings.vms.find(({ vmIdentifier }) => vmIdentifier === before.vms[index]?.vmId))),
  };
}

function reversedVmSettings(vm: VpgVm, old: VmSettings | undefined): VmSettings {
  const fresh = defaultVmSettings({ vmId: vm.vmId, diskIds: vm.disks.map(({ diskId }) => diskId), nicIds: vm.nics.map(({ nicId }) => nicId) });
  const own = fresh.recovery;
  return {
    ...fresh,
    bootGroupIdentifier: vm.bootGroupId,
    recovery: own && { ...own, hostIdentifier: vm.recoveryHostId, datastoreIdentifier: vm.journalDatastore.id, folderIdentifier: vm.recoveryFolderId },
    journal: old?.journal ? { ...old.journal, datastoreIdentifier: null } : fresh.journal,
    scratch: old?.scratch ? { ...old.scratch, datastoreIdentifier: null } : fresh.scratch,
    volumes: (fresh.volumes ?? []).map((volume, index) => ({
      ...volume,
      datastore: volume.datastore && { ...volume.datastore, datastoreIdentifier: vm.disks[index]?.recoveryDatastoreId ?? null },
      volumeSyncSettings: vm.disks[index]?.isTempData === true ? 'InitialSyncOnly' : null,
    })),
    nics: (fresh.nics ?? []).map((nic, index) => ({
      ...nic,
      failover: nic.failover?.hypervisor ? { ...nic.failover, hypervisor: { ...nic.failover.hypervisor, networkIdentifier: vm.nics[index]?.failoverNetworkId ?? null } } : nic.failover,
    })),
  };
}
