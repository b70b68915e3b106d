import type { VmSettings, VolumeSettings, VpgSettings } from './settings.js';
import { DEFAULT_BOOT_GROUP_ID } from './defaults.js';

export interface NicPlacement {
  readonly failoverNetworkId: string | null;
  readonly isFailoverMacNew: boolean;
  readonly testNetworkId: string | null;
  readonly isTestMacNew: boolean;
}

/** Where one VM goes at the recovery site: its own settings, else those of the VPG. */
export interface VmPlacement {
  readonly vmId: string;
  readonly bootGroupId: string;
  readonly hostId: string | null;
  readonly folderId: string | null;
  readonly journalDatastoreId: string | null;
  /** Datastore of the volumes that have no entry of their own. */
  readonly datastoreId: string | null;
  readonly datastoreOf: (diskId: string) => string | null;
  /** Path of the existing disk that a volume begins with; null: a new one is made. */
  readonly preseedOf: (diskId: string) => string | null;
  readonly isTempData: (diskId: string) => boolean;
  readonly nicOf: (nicId: string) => NicPlacement;
}

const chosen = (...ids: readonly (string | null | undefined)[]): string | null => ids.find((id) => id !== null && id !== undefined && id !== '') ?? null;

export function placementOf(settings: VpgSettings, vm: VmSettings): VmPlacement {
  const datastoreId = chosen(vm.recovery?.datastoreIdentifier, settings.recovery.defaultDatastoreIdentifier);
  const volumeOf = (diskId: string): VolumeSettings | undefined => (vm.volumes ?? []).find((volume) => volume.volumeIdentifier === diskId);
  return {
    vmId: vm.vmIdentifier ?? '',
    bootGroupId: chosen(vm.bootGroupIdentifier) ?? DEFAULT_BOOT_GROUP_ID,
    hostId: chosen(vm.recovery?.hostIdentifier, settings.recovery.defaultHostIdentifier),
    folderId: chosen(vm.recovery?.folderIdentifier, settings.recovery.defaultFolderIdentifier),
    journalDatastoreId: chosen(vm.journal?.datastoreIdentifier, settings.journal.datastoreIdentifier, datastoreId),
    datastoreId,
    datastoreOf: (diskId) => chosen(volumeOf(diskId)?.preseed?.datastoreIdentifier, volumeOf(diskId)?.datastore?.datastoreIdentifier, datastoreId),
    preseedOf: (diskId) => chosen(volumeOf(diskId)?.preseed?.path),
    isTempData: (diskId) => volumeOf(diskId)?.volumeSyncSettings === 'InitialSyncOnly',
    nicOf: (nicId) => nicPlacement(settings, vm, nicId),
  };
}

function nicPlacement(settings: VpgSettings, vm: VmSettings, nicId: string): NicPlacement {
  const nic = (vm.nics ?? []).find((entry) => entry.nicIdentifier === nicId);
  const failover = nic?.failover?.hypervisor;
  const test = nic?.failoverTest?.hypervisor;
  const failoverDefault = settings.networks.failover.hypervisor?.defaultNetworkIdentifier;
  return {
    failoverNetworkId: chosen(failover?.networkIdentifier, failoverDefault),
    isFailoverMacNew: failover?.shouldReplaceMacAddress ?? false,
    testNetworkId: chosen(test?.networkIdentifier, settings.networks.failoverTest.hypervisor?.defaultNetworkIdentifier),
    isTestMacNew: test?.shouldReplaceMacAddress ?? false,
  };
}
