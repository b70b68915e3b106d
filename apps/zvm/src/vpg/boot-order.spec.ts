import { describe, expect, it } from '@jest/globals';
import { DEFAULT_BOOT_GROUP_ID } from '@tidemark/vpg';
import { vpgDefinition, vpgVm } from '../testing/factories.js';
import { bootWaves } from './boot-order.js';
import { settingsOf } from './vpg-definition.js';

describe('boot order', () => {
  it('starts the default group first, then the groups as listed, each delay after its own group', () => {
    const base = vpgDefinition();
    const bootGroups = { bootGroups: [
      { bootGroupIdentifier: 'g1', name: 'databases', bootDelayInSeconds: 30 },
      { bootGroupIdentifier: DEFAULT_BOOT_GROUP_ID, name: 'Default', bootDelayInSeconds: 0 },
      { bootGroupIdentifier: 'empty', name: 'nobody', bootDelayInSeconds: 99 },
      { bootGroupIdentifier: 'g2', name: 'web', bootDelayInSeconds: 5 },
    ] };
    const definition = {
      ...base, settings: { ...settingsOf(base), bootGroups },
      vms: [vpgVm('web', { bootGroupId: 'g2' }), vpgVm('db', { bootGroupId: 'g1' }), vpgVm('dns'), vpgVm('db2', { bootGroupId: 'g1' })],
    };
    expect(bootWaves(definition)).toEqual([
      { vmIds: ['dns'], delayAfterMs: 0 }, { vmIds: ['db', 'db2'], delayAfterMs: 30_000 }, { vmIds: ['web'], delayAfterMs: 5000 },
    ]);
  });

  it('starts a VM whose group is gone, before the others', () => {
    const definition = vpgDefinition({ vms: [vpgVm('vm1', { bootGroupId: 'gone' }), vpgVm('vm2')] });
    expect(bootWaves(definition)).toEqual([{ vmIds: ['vm1'], delayAfterMs: 0 }, { vmIds: ['vm2'], delayAfterMs: 0 }]);
  });
});
