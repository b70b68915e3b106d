import type { ProtectionStatusV1, VraStatusV1 } from '@tidemark/contracts';
import type { Inventory, Vm } from '@tidemark/hypervisor';
import { DEFAULT_BOOT_GROUP_ID, defaultVpgSettings } from '@tidemark/vpg';
import type { VpgDefinition, VpgRecord, VpgVm } from '../vpg/vpg-model.js';
import type { VraRecord } from '../vra/vra-model.js';

/** Whole records of which a test names only what it is about. */

export const SITE_A = 'aaaaaaaa-0000-4000-8000-000000000000';
export const SITE_B = 'bbbbbbbb-0000-4000-8000-000000000000';
const VPG_ID = 'cccccccc-0000-4000-8000-000000000000';

export function vpgVm(vmId: string, values: Partial<VpgVm> = {}): VpgVm {
  return {
    vmId, name: vmId, cpuCount: 1, memoryMiB: 512, guestOs: 'Linux', bootGroupId: DEFAULT_BOOT_GROUP_ID, recoveryHostId: 'hb1', recoveryFolderId: null,
    recoveringVra: { vraId: '91', address: '127.0.2.11', controlPort: 4007, dataPort: 4008 }, journalFolder: `/b/${vmId}/journal`,
    journalDatastore: { id: 'dsb', path: '/b', capacityBytes: 1e9 },
    disks: [{ diskId: 'scsi:0:0', sizeBytes: 1 << 20, recoveryDatastoreId: 'dsb', mirrorPath: `/b/${vmId}/0.raw` }], nics: [], ...values,
  };
}

export function vpgDefinition(values: Partial<VpgDefinition> = {}): VpgDefinition {
  return {
    vpgId: VPG_ID, name: 'App', protectedSiteId: SITE_A, protectedSiteName: 'A', recoverySiteId: SITE_B, recoverySiteName: 'B', checkpointIntervalMs: 5000,
    historyMs: 3_600_000, settings: defaultVpgSettings({ vpgSettingsId: 'draft', protectedSiteId: SITE_A }), vms: [vpgVm('vm1'), vpgVm('vm2')], ...values,
  };
}

export function vpgRecord(values: Partial<VpgRecord> = {}): VpgRecord {
  return {
    definition: vpgDefinition(), state: 'protecting', generation: 1, epoch: 1, epochMax: 1, failover: null, failoverTest: null, lastTestAtMs: null,
    problem: null, createdAtMs: 0, ...values,
  };
}

export function vra(vraId: string, hostId: string): VraRecord {
  return {
    vraId, hostId, name: `Z-VRA-${hostId}`, state: 'Installed', address: `127.0.1.${vraId}`, revision: 1, stateDigest: '', createdAtMs: 0,
    settings: { hostName: hostId, datastoreId: 'ds', networkId: 'n', groupName: 'g', memoryGb: 3, cpuCount: 1, network: { type: 'Static', address: null, subnetMask: null, gateway: null } },
  };
}

export function vm(id: string, hostId: string, values: Partial<Vm> = {}): Vm {
  return {
    id, name: id, hostId, folderId: 'f', powerState: 'poweredOn', cpuCount: 1, memoryMiB: 512, guestOs: 'Linux', nics: [],
    disks: [{ id: 'scsi:0:0', sizeBytes: 1 << 20, datastoreId: 'ds', location: `/a/${id}.raw`, exportName: `${id}-0`, isFile: true }], ...values,
  };
}

export const inventory = (vms: readonly Vm[]): Inventory => ({ revision: 1, hosts: [], datastores: [], networks: [], folders: [], vms });

export function vraStatus(vraId: string, values: Partial<VraStatusV1> = {}): VraStatusV1 {
  return {
    vraId, hostId: `host of ${vraId}`, version: '0.1.0', address: '127.0.0.1', startedAtMs: 0, identity: { notBeforeMs: 0, notAfterMs: 8e15, signedBy: '', trusts: [] }, revision: 1, attachedVmIds: [], unreachableDisks: [], protections: [], recoveries: [],
    views: [], barriers: [], datastores: [], outbound: { bytesPerSecondMax: null, isThrottled: false, bytesPerSecond: 0 }, clockDoubt: null, ...values,
  };
}

export function protectionStatus(values: Partial<ProtectionStatusV1> = {}): ProtectionStatusV1 {
  return {
    vpgId: VPG_ID, vmId: 'vm1', epoch: 1, state: 'replicating', isFenced: false, detail: '', loss: null, sync: null, lagBytes: 0, writtenBytes: 0, writeCount: 0, sentBytes: 0, bytesPerSecond: 0, writesPerSecond: 0, ...values,
  };
}
