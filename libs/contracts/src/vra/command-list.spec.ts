import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { validateSync } from 'class-validator';
import * as contracts from './index.js';

const commands = Object.entries(contracts.VRA_COMMANDS) as [string, contracts.VraCommand][];
const isEpochRefused = (type: new () => object, epoch: unknown): boolean => validateSync(Object.assign(new type(), { epoch })).some(({ property }) => property === 'epoch');

describe('what a VRA can be told', () => {
  it.each(commands)('%s says the epoch that the asker believes in, or why not', (_topic, { epoch }) => {
    if ('exemption' in epoch) return expect(epoch.exemption.length).toBeGreaterThan(20);
    for (const type of epoch.in) {
      expect(isEpochRefused(type, undefined)).toBe(true);
      expect(isEpochRefused(type, 0)).toBe(true);
      expect(isEpochRefused(type, 1)).toBe(false);
    }
  });

  it('is about a VPG only where it has an epoch, but for the questions', () => {
    const silent = commands.filter(([, { epoch }]) => 'exemption' in epoch).map(([topic]) => topic);
    expect(silent).toEqual(['checkpoint.list', 'checkpoint.disks', 'preseed.check', 'status.get', 'trust.renew']);
  });

  it('is all of what the contracts have for it: a class that no command uses is a command that nobody looked at', () => {
    const used = new Set(commands.flatMap(([, { type, epoch }]) => [type, ...('in' in epoch ? epoch.in : [])]));
    const parts = new Set<unknown>([
      contracts.ProtectionRefV1, contracts.ProtectionCommandV1, contracts.ViewVolumeV1, contracts.VraAddressV1, contracts.AttachedDiskV1, contracts.AttachedVmV1,
      contracts.BarrierMemberV1, contracts.ThrottleWindowV1, contracts.ThrottleV1, contracts.VoidedComponentV1, contracts.TrustedSiteV1, contracts.TrustV1, contracts.RecoveryVolumeV1,
      contracts.BasisV1, contracts.DatastoreV1, contracts.RecoveryLimitsV1, contracts.ThinningV1,
    ]);
    const classes = Object.entries(contracts as Record<string, unknown>).filter(([name, value]) => typeof value === 'function' && name.endsWith('V1'));
    expect(classes.length).toBeGreaterThan(25);
    expect(classes.filter(([, value]) => !parts.has(value) && !used.has(value as new () => object)).map(([name]) => name)).toEqual([]);
  });
});
