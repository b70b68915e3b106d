import { describe, expect, it } from '@jest/globals';
import { defaultVmSettings, defaultVpgSettings, type VpgSettings } from '@tidemark/vpg';
import { SITE_A } from '../testing/factories.js';
import { settingsIn } from './settings-in.js';

const vm = defaultVmSettings({ vmId: 'vm1', diskIds: ['scsi:0:0'], nicIds: ['nic0'] });
const whole: VpgSettings = { ...defaultVpgSettings({ vpgSettingsId: 'draft', protectedSiteId: SITE_A }), vms: [vm, { ...vm, recovery: null, volumes: null, nics: null }] };

describe('settings in an action', () => {
  it('are taken as they are when they are whole', () => {
    expect(settingsIn({ settings: whole })).toBe(whole);
  });

  it.each<[string, object, RegExp]>([
    ['none', {}, /settings: VPG settings|settings/], ['a list', { settings: [] }, /settings: the body must be a JSON object/],
    ['two keys', { settings: { basic: {}, vms: [] } }, /settings\.\w+: VPG settings are expected/],
    ['without boot groups', { settings: { ...whole, bootGroups: {} } }, /settings\.bootGroups\.bootGroups: VPG settings are expected/],
    ['with VMs that are text', { settings: { ...whole, vms: ['vm1'] } }, /settings: .*Vms/], ['with VMs that are no list', { settings: { ...whole, vms: { length: 1 } } }, /settings: .*Vms/],
    ['with a number for a name', { settings: { ...whole, basic: { ...whole.basic, name: 7 } } }, /settings: Basic\.Name/],
    ['with a name of a megabyte', { settings: { ...whole, basic: { ...whole.basic, name: 'x'.repeat(1e6) } } }, /settings: Basic\.Name/],
    ['with a path that is none', { settings: { ...whole, vms: [{ ...vm, volumes: [{ ...vm.volumes?.[0], preseed: { datastoreIdentifier: 'd', path: { length: 3 } } }] }] } }, /settings: .*Preseed\.Path/],
    ['nested without end', { settings: { ...whole, basic: { ...whole.basic, in: Array.from({ length: 40 }).reduce((inner: unknown) => ({ inner }), {}) } } }, /nested too deeply/],
  ])('are refused: %s', (_what, input, message) => expect(() => settingsIn(input)).toThrow(message));
});
