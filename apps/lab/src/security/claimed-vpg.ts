import type { VpgRecordV1 } from '@tidemark/contracts';

interface Claim {
  readonly vpgId: string;
  readonly protectedSiteId: string;
  readonly recoverySiteId: string;
  readonly vmId: string;
}

/** The record with which a site would make VMs of another one its own, were its word enough: whole and right in every field. */
export function claimedVpg({ vpgId, protectedSiteId, recoverySiteId, vmId }: Claim): VpgRecordV1 {
  return {
    definition: {
      vpgId, name: `Claimed ${vpgId}`, protectedSiteId, protectedSiteName: 'theirs', recoverySiteId, recoverySiteName: 'mine', checkpointIntervalMs: 5000, historyMs: 3_600_000,
      settings: { basic: { name: 'Claimed' } },
      vms: [{
        vmId, name: 'claimed', cpuCount: 1, memoryMiB: 512, guestOs: 'Linux', bootGroupId: 'default', recoveryHostId: 'host', recoveryFolderId: null,
        recoveringVra: { vraId: '1', address: '127.0.0.1', controlPort: 4007, dataPort: 4008 }, journalFolder: '/ds/journal', journalDatastore: { id: 'ds', path: '/ds', capacityBytes: 1e9 },
        disks: [{ diskId: 'scsi:0:0', sizeBytes: 1_048_576, recoveryDatastoreId: 'ds', mirrorPath: '/ds/0.raw' }], nics: [],
      }],
    },
    state: 'protecting', generation: 1_000_000, epoch: 1, epochMax: 1, failover: null, failoverTest: null, lastTestAtMs: null, problem: null, createdAtMs: 0,
  };
}
