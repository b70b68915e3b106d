import type { JournalSettings, Limitation, NetworkSettings, NicNetworkSettings, ScriptSettings, VmSettings, VpgSettings } from './settings.js';

/** VMs that are in no other boot group; it starts first and waits for nothing. */
export const DEFAULT_BOOT_GROUP_ID = '00000000-0000-0000-0000-000000000000';

/** Of what there is none of: organization, service profile. */
export const NO_ID = '00000000-0000-0000-0000-000000000000';
const SIX_MONTHS_MINUTES = 262_080;

const LIMITATION: Limitation = { hardLimitInMB: 153_600, hardLimitInPercent: 0, warningThresholdInMB: 115_200, warningThresholdInPercent: 0 };
const STORE: JournalSettings = { limitation: LIMITATION, datastoreIdentifier: null, datastoreClusterIdentifier: null };
const SCRIPT: ScriptSettings = { command: null, parameters: null, timeoutInSeconds: 300 };
const NETWORK: NetworkSettings = { hypervisor: { defaultNetworkIdentifier: null }, vcd: null, publicCloud: null };

/** A new draft (reference §8.6). Values are shared between calls: nothing changes settings in place. */
export function defaultVpgSettings(ids: { readonly vpgSettingsId: string; readonly protectedSiteId: string }): VpgSettings {
  return {
    vpgIdentifier: null,
    vpgSettingsIdentifier: ids.vpgSettingsId,
    basic: {
      name: null, vpgType: null, rpoInSeconds: 300, testIntervalInMinutes: SIX_MONTHS_MINUTES, journalHistoryInHours: 24,
      checkpointIntervalInSeconds: null, keepAllCheckpointsForHours: null, keepMinuteCheckpointsForHours: null, priority: 'Medium',
      useWanCompression: true, serviceProfileIdentifier: null, zorgIdentifier: NO_ID,
      protectedSiteIdentifier: ids.protectedSiteId, recoverySiteIdentifier: null,
    },
    bootGroups: { bootGroups: [{ bootGroupIdentifier: DEFAULT_BOOT_GROUP_ID, name: 'Default', bootDelayInSeconds: 0 }] },
    scripting: { preRecovery: SCRIPT, postRecovery: SCRIPT, postBackup: null },
    recovery: {
      defaultHostIdentifier: null, defaultHostClusterIdentifier: null, defaultDatastoreIdentifier: null, defaultDatastoreClusterIdentifier: null,
      defaultFolderIdentifier: null, resourcePoolIdentifier: null, vcd: null, publicCloud: null,
    },
    journal: STORE,
    scratch: STORE,
    longTermRetention: null,
    networks: { failover: NETWORK, failoverTest: NETWORK },
    vms: [],
    protected: { vcd: null },
  };
}

const nicNetwork = (): NicNetworkSettings => ({
  hypervisor: { networkIdentifier: null, shouldReplaceMacAddress: false, dnsSuffix: null, ipConfig: null, shouldReplaceIpConfiguration: false },
  vcd: null,
  publicCloud: null,
});

/** What adding a VM to a draft fills in: everything from the VPG (null), one entry per volume and NIC. */
export function defaultVmSettings(vm: { readonly vmId: string; readonly diskIds: readonly string[]; readonly nicIds: readonly string[] }): VmSettings {
  const own: JournalSettings = { limitation: null, datastoreIdentifier: null, datastoreClusterIdentifier: null };
  return {
    vmIdentifier: vm.vmId,
    bootGroupIdentifier: DEFAULT_BOOT_GROUP_ID,
    recovery: {
      hostIdentifier: null, hostClusterIdentifier: null, datastoreIdentifier: null, datastoreClusterIdentifier: null, folderIdentifier: null,
      resourcePoolIdentifier: null, vcd: null, publicCloud: null,
    },
    journal: own,
    scratch: own,
    volumes: vm.diskIds.map((diskId) => ({
      volumeIdentifier: diskId,
      datastore: { datastoreIdentifier: null, datastoreClusterIdentifier: null, isThin: true },
      vcd: null, preseed: null, rdm: null, volumeSyncSettings: null,
    })),
    nics: vm.nicIds.map((nicId) => ({ nicIdentifier: nicId, failover: nicNetwork(), failoverTest: nicNetwork() })),
  };
}
