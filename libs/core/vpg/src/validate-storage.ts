import { GiB } from '@tidemark/base';
import type { Fault, KnownDatastore, SettingsFacts } from './facts.js';
import { VPG_LIMITS } from './limits.js';
import { placementOf } from './placement.js';
import type { VpgSettings } from './settings.js';

/** Bytes that must stay free on a datastore that holds recovery volumes or journals (reference §2.3, VRA0006). */
export const guardBytesOf = (capacityBytes: number): number => Math.min(VPG_LIMITS.guardBytesMax, Math.floor(capacityBytes * VPG_LIMITS.guardShare));

interface Use {
  readonly vmId: string;
  readonly datastoreId: string | null;
  readonly path: string;
  readonly bytes: number;
  readonly hostId: string | null;
}

/** Datastores exist, are seen by the host that needs them, and have room for the volumes at full size above their guard. */
export function checkStorage(settings: VpgSettings, facts: SettingsFacts): Fault[] {
  const uses = usesOf(settings, facts);
  const faults = uses.flatMap((use) => checkUse(use, facts));
  const used = new Set(uses.map((use) => use.datastoreId));
  for (const datastore of facts.recovery.datastores) if (used.has(datastore.datastoreId)) faults.push(...checkRoom(datastore, uses, facts));
  return faults;
}

function usesOf(settings: VpgSettings, facts: SettingsFacts): Use[] {
  return settings.vms.flatMap((vm, index) => {
    const known = facts.vms.find((candidate) => candidate.vmId === vm.vmIdentifier);
    if (known === undefined) return [];
    const place = placementOf(settings, vm);
    const { hostId, vmId } = place;
    const volumes = known.disks.map((disk) => ({
      datastoreId: place.datastoreOf(disk.diskId), path: `Vms[${index}].Volumes.${disk.diskId}.Datastore.DatastoreIdentifier`, bytes: place.preseedOf(disk.diskId) === null ? disk.sizeBytes : 0, hostId, vmId,
    }));
    return [...volumes, { datastoreId: place.journalDatastoreId, path: `Vms[${index}].Journal.DatastoreIdentifier`, bytes: 0, hostId, vmId }];
  });
}

function checkUse({ datastoreId, path, hostId }: Use, facts: SettingsFacts): Fault[] {
  if (datastoreId === null) return [{ path, message: 'a recovery datastore must be chosen, here or as Recovery.DefaultDatastoreIdentifier' }];
  const datastore = facts.recovery.datastores.find((candidate) => candidate.datastoreId === datastoreId);
  if (datastore === undefined) return [{ path, message: `the recovery site has no datastore ${datastoreId}` }];
  const host = facts.recovery.hosts.find((candidate) => candidate.hostId === hostId);
  if (host === undefined || host.datastoreIds.includes(datastoreId)) return [];
  return [{ path, message: `host '${host.name}' does not see datastore '${datastore.name}'` }];
}

/** An edited VPG has its volumes there already: only volumes of VMs that it does not hold yet count as new. */
function checkRoom(datastore: KnownDatastore, uses: readonly Use[], facts: SettingsFacts): Fault[] {
  const heldVmIds = facts.vpgs.find((vpg) => vpg.vpgId === facts.vpgId)?.vmIds ?? [];
  const additions = uses.filter((use) => use.datastoreId === datastore.datastoreId && !heldVmIds.includes(use.vmId));
  if (additions.length === 0) return [];
  const neededBytes = additions.reduce((sum, use) => sum + use.bytes, 0);
  const guardBytes = guardBytesOf(datastore.capacityBytes);
  if (datastore.freeBytes - neededBytes >= guardBytes) return [];
  const gib = (bytes: number): string => `${(bytes / GiB).toFixed(2)} GiB`;
  return [{
    path: `Recovery.Datastores.${datastore.name}`,
    message: `datastore '${datastore.name}' is too full: ${gib(datastore.freeBytes)} free, ${gib(neededBytes)} needed for recovery volumes, ${gib(guardBytes)} must stay free`,
  }];
}
