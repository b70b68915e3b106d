import { describe, expect, it } from '@jest/globals';
import { defaultVmSettings, defaultVpgSettings } from '@tidemark/vpg';
import { fromWire, mergeSection, mergeVm, settingsView, toWire } from './settings-wire.js';

const settings = defaultVpgSettings({ vpgSettingsId: 'd', protectedSiteId: 's' });

describe('settings on the wire', () => {
  it('are the domain settings with a capital first letter, there and back', () => {
    const shown = settingsView(settings);
    expect(shown.Basic).toMatchObject({ RpoInSeconds: 300, UseWanCompression: true });
    expect(shown.Journal?.Limitation).toMatchObject({ HardLimitInMB: 153_600 });
    expect(fromWire(shown)).toEqual(settings);
  });

  it('keep what is not given, clear what is null, and reset a section that is null', () => {
    const changed = mergeSection(settings.basic, { name: 'App', serviceProfileIdentifier: null }, settings.basic);
    expect(changed).toEqual({ ...settings.basic, name: 'App' });
    expect(mergeSection(changed, { name: null }, settings.basic).name).toBeNull();
    expect(mergeSection<object>({ ...settings, basic: changed }, { basic: null }, settings)).toEqual(settings);
  });

  it('drop keys that the domain does not know', () => {
    expect(mergeSection(settings.basic, { colour: 'red' }, settings.basic)).toEqual(settings.basic);
  });

  it('show every volume and NIC of a VM, named or not, and keep unknown ones for the commit to refuse', () => {
    const template = defaultVmSettings({ vmId: 'vm1', diskIds: ['scsi:0:0', 'scsi:0:1'], nicIds: ['nic0'] });
    const given = fromWire({ Volumes: [{ VolumeIdentifier: 'scsi:0:1', Datastore: { DatastoreIdentifier: 'ds2' } }, { VolumeIdentifier: 'scsi:9:9' }] });
    const merged = mergeVm(given, template);
    expect(merged.volumes?.map((volume) => [volume.volumeIdentifier, volume.datastore?.datastoreIdentifier ?? null])).toEqual([['scsi:0:0', null], ['scsi:0:1', 'ds2'], ['scsi:9:9', null]]);
    expect(merged.volumes?.[1]?.datastore?.isThin).toBe(true);
    expect(merged.nics).toEqual(template.nics);
    expect(mergeVm(fromWire(toWire(merged)), template, merged)).toEqual(merged);
  });
});
