import type { Fault, KnownHost, ProtectableVm, SettingsFacts } from './facts.js';
import { VPG_LIMITS } from './limits.js';
import { placementOf } from './placement.js';
import { checkScripts } from './script-settings.js';
import { checkLimits } from './validate-limits.js';
import { VOLUME_SYNC, type BasicSettings, type VmSettings, type VpgSettings } from './settings.js';
import { checkStorage } from './validate-storage.js';
import { checkUnsupported } from './validate-unsupported.js';

/**
 * Everything that stands in the way of protecting these VMs so; empty when nothing does. All faults at once: nobody
 * should have to commit ten times to learn ten things.
 */
export function validateVpgSettings(settings: VpgSettings, facts: SettingsFacts): Fault[] {
  return distinct([
    ...checkBasic(settings.basic, facts),
    ...checkSites(settings.basic, facts),
    ...checkBootGroups(settings),
    ...checkClusters('Recovery', { hostClusterId: settings.recovery.defaultHostClusterIdentifier, datastoreClusterId: settings.recovery.defaultDatastoreClusterIdentifier, resourcePoolId: settings.recovery.resourcePoolIdentifier }),
    ...checkVms(settings, facts),
    ...checkLimits(settings),
    ...checkScripts(settings),
    ...checkStorage(settings, facts),
    ...checkUnsupported(settings),
  ]);
}

/** A wrong default is one fault, however many VMs inherit it. */
function distinct(faults: readonly Fault[]): Fault[] {
  return faults.filter((fault, index) => faults.findIndex((other) => other.path === fault.path && other.message === fault.message) === index);
}

/** The faults as one text for a `Message`. */
export const faultsText = (faults: readonly Fault[]): string => faults.map(({ path, message }) => `${path}: ${message}`).join('; ');

function checkBasic(basic: BasicSettings, facts: SettingsFacts): Fault[] {
  return [...checkName(basic.name, facts), ...outOfRange('Basic.JournalHistoryInHours', basic.journalHistoryInHours, {
    min: VPG_LIMITS.historyHoursMin, max: VPG_LIMITS.historyHoursMax, what: 'hours of history',
  }), ...outOfRange('Basic.RpoInSeconds', basic.rpoInSeconds, {
    min: VPG_LIMITS.rpoSecondsMin, max: VPG_LIMITS.rpoSecondsMax, what: 'seconds of target RPO',
  })];
}

function checkName(name: string | null, facts: SettingsFacts): Fault[] {
  const path = 'Basic.Name';
  const trimmed = (name ?? '').trim();
  if (trimmed === '') return [{ path, message: 'the VPG needs a name' }];
  if (trimmed.length > VPG_LIMITS.nameLengthMax) return [{ path, message: `the name has ${trimmed.length} characters, ${VPG_LIMITS.nameLengthMax} are allowed` }];
  const isTaken = facts.vpgs.some((vpg) => vpg.vpgId !== facts.vpgId && vpg.name.trim().toLowerCase() === trimmed.toLowerCase());
  return isTaken ? [{ path, message: `a VPG named '${trimmed}' exists already` }] : [];
}

function outOfRange(path: string, value: number | null, range: { min: number; max: number; what: string }): Fault[] {
  if (value !== null && Number.isInteger(value) && value >= range.min && value <= range.max) return [];
  return [{ path, message: `${value ?? 'nothing'} given, ${range.min} to ${range.max} ${range.what} are allowed` }];
}

function checkSites(basic: BasicSettings, facts: SettingsFacts): Fault[] {
  const { protectedSiteIdentifier: from, recoverySiteIdentifier: to } = basic;
  const faults = [...checkSite('Basic.ProtectedSiteIdentifier', from, facts), ...checkSite('Basic.RecoverySiteIdentifier', to, facts)];
  if (from !== null && from === to && !facts.isReplicationToSelfEnabled) {
    faults.push({ path: 'Basic.RecoverySiteIdentifier', message: 'the recovery site is the protected site, and replication to self is not enabled' });
  }
  return faults;
}

function checkSite(path: string, siteId: string | null, facts: SettingsFacts): Fault[] {
  if (siteId === null || siteId === '') return [{ path, message: 'a site must be chosen' }];
  return facts.sites.some((site) => site.siteId === siteId) ? [] : [{ path, message: `site ${siteId} is not this site and not paired with it` }];
}

function checkBootGroups(settings: VpgSettings): Fault[] {
  const groups = settings.bootGroups.bootGroups;
  const faults: Fault[] = [];
  groups.forEach((group, index) => {
    const path = `BootGroups.BootGroups[${index}]`;
    const id = group.bootGroupIdentifier;
    if (id === null || id === '') faults.push({ path: `${path}.BootGroupIdentifier`, message: 'a boot group needs an identifier' });
    else if (groups.findIndex((other) => other.bootGroupIdentifier === id) !== index) faults.push({ path: `${path}.BootGroupIdentifier`, message: `boot group ${id} is there twice` });
    if ((group.name ?? '').trim() === '') faults.push({ path: `${path}.Name`, message: 'a boot group needs a name' });
  });
  return faults;
}

function checkVms(settings: VpgSettings, facts: SettingsFacts): Fault[] {
  if (settings.vms.length === 0) return [{ path: 'Vms', message: 'a VPG needs at least one VM' }];
  return settings.vms.flatMap((vm, index) => {
    const path = `Vms[${index}]`;
    const isTwice = settings.vms.findIndex((other) => other.vmIdentifier === vm.vmIdentifier) !== index;
    if (isTwice) return [{ path: `${path}.VmIdentifier`, message: `VM ${vm.vmIdentifier ?? 'without identifier'} is in the list twice` }];
    const known = facts.vms.find((candidate) => candidate.vmId === vm.vmIdentifier);
    if (known === undefined) return [{ path: `${path}.VmIdentifier`, message: `the protected site has no VM ${vm.vmIdentifier ?? 'without identifier'}` }];
    return [...checkProtectable(known, path, settings, facts), ...checkPlaces({ settings, vm, known, path, facts })];
  });
}

function checkProtectable(vm: ProtectableVm, path: string, settings: VpgSettings, facts: SettingsFacts): Fault[] {
  const others = facts.vpgs.filter((vpg) => vpg.vpgId !== facts.vpgId && vpg.vmIds.includes(vm.vmId));
  const same = others.find((vpg) => vpg.recoverySiteId === settings.basic.recoverySiteIdentifier);
  const at = `${path}.VmIdentifier`;
  const faults: Fault[] = [];
  if (same !== undefined) faults.push({ path: at, message: `VM '${vm.name}' is already protected to that site by VPG '${same.name}'` });
  if (others.length >= VPG_LIMITS.vpgsPerVmMax) faults.push({ path: at, message: `VM '${vm.name}' is already in ${others.length} VPGs, ${VPG_LIMITS.vpgsPerVmMax} are allowed` });
  if (vm.disks.length === 0) faults.push({ path: at, message: `VM '${vm.name}' has no disk` });
  if (vm.disks.length > VPG_LIMITS.disksPerVmMax) faults.push({ path: at, message: `VM '${vm.name}' has ${vm.disks.length} disks, ${VPG_LIMITS.disksPerVmMax} are allowed` });
  return faults;
}

interface VmCheck {
  readonly settings: VpgSettings;
  readonly vm: VmSettings;
  readonly known: ProtectableVm;
  readonly path: string;
  readonly facts: SettingsFacts;
}

function checkPlaces({ settings, vm, known, path, facts }: VmCheck): Fault[] {
  const place = placementOf(settings, vm);
  const faults: Fault[] = [];
  const groupIds = settings.bootGroups.bootGroups.map((group) => group.bootGroupIdentifier);
  if (!groupIds.includes(place.bootGroupId)) faults.push({ path: `${path}.BootGroupIdentifier`, message: `there is no boot group ${place.bootGroupId}` });
  faults.push(...checkClusters(`${path}.Recovery`, {
    hostClusterId: vm.recovery?.hostClusterIdentifier, datastoreClusterId: vm.recovery?.datastoreClusterIdentifier, resourcePoolId: vm.recovery?.resourcePoolIdentifier,
  }));
  const host = facts.recovery.hosts.find((candidate) => candidate.hostId === place.hostId);
  const isOwnHost = (vm.recovery?.hostIdentifier ?? '') !== '';
  faults.push(...checkHost(isOwnHost ? `${path}.Recovery.HostIdentifier` : 'Recovery.DefaultHostIdentifier', place.hostId, host));
  if (place.folderId !== null && !facts.recovery.folders.some(({ id }) => id === place.folderId)) {
    faults.push({ path: `${path}.Recovery.FolderIdentifier`, message: `the recovery site has no folder ${place.folderId}` });
  }
  faults.push(...unknownEntries('VolumeIdentifier', `${path}.Volumes`, (vm.volumes ?? []).map((volume) => volume.volumeIdentifier), known.disks.map((disk) => disk.diskId)));
  faults.push(...checkPreseeds(vm, path), ...checkVolumeSync(vm, path));
  faults.push(...unknownEntries('NicIdentifier', `${path}.Nics`, (vm.nics ?? []).map((nic) => nic.nicIdentifier), known.nicIds));
  known.nicIds.forEach((nicId) => {
    const nic = place.nicOf(nicId);
    faults.push(...checkNetwork(`${path}.Nics.${nicId}.Failover`, nic.failoverNetworkId, host, facts));
    faults.push(...checkNetwork(`${path}.Nics.${nicId}.FailoverTest`, nic.testNetworkId, host, facts));
  });
  return faults;
}

/** That the disk is there, as large as the protected one and nobody's, its VRA finds out when it opens it. */
function checkPreseeds(vm: VmSettings, path: string): Fault[] {
  const paths = (vm.volumes ?? []).map((volume) => volume.preseed?.path ?? null);
  return (vm.volumes ?? []).flatMap(({ preseed }, index) => {
    if (preseed === null) return [];
    const at = `${path}.Volumes[${index}].Preseed`;
    if ((preseed.datastoreIdentifier ?? '') === '') return [{ path: `${at}.DatastoreIdentifier`, message: 'the datastore of the existing disk must be named' }];
    const name = preseed.path ?? '';
    if (name === '' || name.length > 2000 || name.includes('\0') || name.split('/').includes('..')) return [{ path: `${at}.Path`, message: `'${name.slice(0, 200)}' is no path of a disk in its datastore` }];
    return paths.indexOf(name) < index ? [{ path: `${at}.Path`, message: `'${name}' is named for two volumes` }] : [];
  });
}

function checkVolumeSync(vm: VmSettings, path: string): Fault[] {
  return (vm.volumes ?? []).flatMap(({ volumeSyncSettings: wish }, index) =>
    wish === null || wish === '' || VOLUME_SYNC.some((known) => known === wish) ? [] : [{
      path: `${path}.Volumes[${index}].VolumeSyncSettings`, message: `'${wish.slice(0, 50)}' is not known, one of ${VOLUME_SYNC.join(', ')} is`,
    }]);
}

function checkHost(path: string, hostId: string | null, host: KnownHost | undefined): Fault[] {
  if (hostId === null) return [{ path, message: 'a recovery host must be chosen, for all VMs or for each' }];
  if (host === undefined) return [{ path, message: `the recovery site has no host ${hostId}` }];
  return host.hasVra ? [] : [{ path, message: `host '${host.name}' has no VRA` }];
}

function unknownEntries(field: string, path: string, given: readonly (string | null)[], existing: readonly string[]): Fault[] {
  return given.flatMap((id, index) => {
    if (id === null || !existing.includes(id)) return [{ path: `${path}[${index}].${field}`, message: `the VM has no '${id ?? ''}'` }];
    return given.indexOf(id) === index ? [] : [{ path: `${path}[${index}].${field}`, message: `${id} is there twice` }];
  });
}

/** No network is allowed: the NIC is then left unconnected. */
function checkNetwork(path: string, networkId: string | null, host: KnownHost | undefined, facts: SettingsFacts): Fault[] {
  if (networkId === null) return [];
  const network = facts.recovery.networks.find(({ id }) => id === networkId);
  if (network === undefined) return [{ path, message: `the recovery site has no network ${networkId}` }];
  if (host === undefined || host.networkIds.includes(networkId)) return [];
  return [{ path, message: `host '${host.name}' is not connected to network '${network.name}'` }];
}

interface Clusters {
  readonly hostClusterId: string | null | undefined;
  readonly datastoreClusterId: string | null | undefined;
  readonly resourcePoolId: string | null | undefined;
}

/** No adapter of this version knows clusters and pools; dropping the wish silently would place the VM somewhere else. */
function checkClusters(path: string, clusters: Clusters): Fault[] {
  const isAsked = Object.values(clusters).some((id: string | null | undefined) => (id ?? '') !== '');
  return isAsked ? [{ path, message: 'the recovery site has hosts and datastores only: no clusters, no resource pools' }] : [];
}
