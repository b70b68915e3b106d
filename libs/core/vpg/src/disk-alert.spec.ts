import { expect, it } from '@jest/globals';
import { diskAlertsFor, type UnreachableDiskFacts } from './index.js';

const DISK: UnreachableDiskFacts = {
  vpgId: 'v', vpgName: 'Shop', vmId: 'vm-1', vmName: 'db01', diskId: 'scsi:0:2', vraName: 'Z-VRA-host-a2', path: 'nbd://nas:10809/db01', sinceMs: Date.UTC(2026, 10, 22, 3, 7, 59), reason: 'connect ECONNREFUSED',
};

it('says which disk of which VM is away for which VRA, where it is, since when and what to do', () => {
  const [found] = diskAlertsFor([DISK]);
  expect(found).toMatchObject({ helpIdentifier: 'VRA0021', level: 'Error', entity: 'Vra', subject: 'v/vm-1/scsi:0:2', vpgIds: ['v'] });
  expect(found?.description).toContain("VRA 'Z-VRA-host-a2' has not reached disk scsi:0:2 of VM 'db01' in VPG 'Shop' since 2026-11-22T03:07Z: nbd://nas:10809/db01: connect ECONNREFUSED. ");
  expect(found?.description).toContain('Start its NBD server');
});

it('is one for each disk and VPG', () => {
  const found = diskAlertsFor([DISK, { ...DISK, diskId: 'scsi:0:3' }, { ...DISK, vpgId: 'w' }]);
  expect(new Set(found.map(({ subject }) => subject)).size).toBe(3);
});
