import { describe, expect, it } from '@jest/globals';
import { GiB, MiB } from '@tidemark/base';
import { defaultVmSettings, defaultVpgSettings } from './defaults.js';
import { limitsOf } from './recovery-limits.js';

const SETTINGS = defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: 'p' });
const VM = defaultVmSettings({ vmId: 'vm', diskIds: [], nicIds: [] });
const limitation = (hardLimitInMB: number, hardLimitInPercent: number) => ({ hardLimitInMB, hardLimitInPercent, warningThresholdInMB: 0, warningThresholdInPercent: 75 });

describe('limits of journal and scratch', () => {
  it('are those of the VPG for a VM without its own', () => {
    expect(limitsOf(SETTINGS, VM, GiB)).toEqual({
      journalHardBytes: 150 * GiB, journalWarningBytes: 112.5 * GiB, scratchHardBytes: 150 * GiB, scratchWarningBytes: 112.5 * GiB,
    });
  });

  it('are the VM\'s own, apart for journal and scratch, in percent of its disks', () => {
    const vm = { ...VM, journal: { limitation: limitation(10, 150), datastoreIdentifier: null, datastoreClusterIdentifier: null } };
    expect(limitsOf(SETTINGS, vm, 8 * GiB)).toEqual({
      journalHardBytes: 12 * GiB, journalWarningBytes: 6 * GiB, scratchHardBytes: 150 * GiB, scratchWarningBytes: 112.5 * GiB,
    });
  });

  it('are none where MB and percent are both 0', () => {
    const vm = { ...VM, scratch: { limitation: { ...limitation(0, 0), warningThresholdInPercent: 0 }, datastoreIdentifier: null, datastoreClusterIdentifier: null } };
    expect(limitsOf(SETTINGS, vm, 8 * GiB)).toMatchObject({ scratchHardBytes: null, scratchWarningBytes: null });
    expect(limitsOf({ ...SETTINGS, journal: { ...SETTINGS.journal, limitation: limitation(8192, 0) } }, undefined, GiB)).toMatchObject({ journalHardBytes: 8192 * MiB });
  });
});
