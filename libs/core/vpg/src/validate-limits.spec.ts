import { describe, expect, it } from '@jest/globals';
import { defaultVmSettings, defaultVpgSettings, faultsText, type BasicSettings, type Limitation, type VpgSettings } from './index.js';
import { checkLimits } from './validate-limits.js';

const DRAFT = defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: 'A' });
const basic = (over: Partial<BasicSettings>): VpgSettings => ({ ...DRAFT, basic: { ...DRAFT.basic, ...over } });
const limits = (over: Partial<Limitation>): Limitation => ({ hardLimitInMB: null, hardLimitInPercent: null, warningThresholdInMB: null, warningThresholdInPercent: null, ...over });
const journal = (over: Partial<Limitation>): VpgSettings => ({ ...DRAFT, journal: { ...DRAFT.journal, limitation: limits(over) } });
const ownScratch = (over: Partial<Limitation>): VpgSettings => ({
  ...DRAFT, vms: [{ ...defaultVmSettings({ vmId: 'vm1', diskIds: [], nicIds: [] }), scratch: { limitation: limits(over), datastoreIdentifier: null, datastoreClusterIdentifier: null } }],
});

describe('checkLimits', () => {
  it.each<[string, VpgSettings]>([
    ['a new draft', DRAFT],
    ['an interval of a second', basic({ checkpointIntervalInSeconds: 1 })],
    ['all for a time, then as long as usual', basic({ keepAllCheckpointsForHours: 3 })],
    ['hours at once', basic({ keepAllCheckpointsForHours: 3, keepMinuteCheckpointsForHours: 3 })],
    ['no thinning, told with zeros', basic({ keepAllCheckpointsForHours: 0, keepMinuteCheckpointsForHours: 0 })],
    ['no limit at all', journal({ hardLimitInMB: 0, hardLimitInPercent: 0 })],
    ['a small journal in percent', journal({ hardLimitInPercent: 1 })],
    ['a small scratch', ownScratch({ hardLimitInMB: 1 })],
  ])('accepts %s', (_name, settings) => expect(checkLimits(settings)).toEqual([]));

  it.each<[VpgSettings, string]>([
    [basic({ checkpointIntervalInSeconds: 0 }), 'Basic.CheckpointIntervalInSeconds: 0 given, 1 to 3600 seconds are allowed'],
    [basic({ checkpointIntervalInSeconds: 3601 }), 'Basic.CheckpointIntervalInSeconds: 3601 given, 1 to 3600 seconds are allowed'],
    [basic({ keepAllCheckpointsForHours: 721 }), 'Basic.KeepAllCheckpointsForHours: 721 given, 0 to 720 hours are allowed'],
    [basic({ keepAllCheckpointsForHours: 3, keepMinuteCheckpointsForHours: 2 }), 'Basic.KeepMinuteCheckpointsForHours: 2 is below the 3 hours in which all stay'],
    [basic({ keepAllCheckpointsForHours: 3, keepMinuteCheckpointsForHours: 0 }), 'Basic.KeepMinuteCheckpointsForHours: 0 is below the 3 hours in which all stay'],
    [basic({ keepMinuteCheckpointsForHours: 24 }), 'Basic.KeepMinuteCheckpointsForHours: 24 given, but without KeepAllCheckpointsForHours nothing is thinned: give that too, or leave both null'],
    [journal({ hardLimitInMB: 8191 }), 'Journal.Limitation.HardLimitInMB: 8191 MB given, at least 8192 are needed (0: unlimited)'],
    [journal({ hardLimitInMB: 9000, warningThresholdInMB: 9001 }), 'Journal.Limitation.WarningThresholdInMB: the warning threshold of 9001 MB is above the hard limit of 9000 MB'],
    [ownScratch({ hardLimitInPercent: 50, warningThresholdInPercent: 51 }), 'Vms[0].Scratch.Limitation.WarningThresholdInPercent: the warning threshold of 51 % is above the hard limit of 50 %'],
  ])('refuses %#: %s', (settings, text) => expect(faultsText(checkLimits(settings))).toBe(text));
});
