import { describe, expect, it } from '@jest/globals';
import { defaultVmSettings, defaultVpgSettings, type VpgSettings } from '@tidemark/vpg';
import { inventory, SITE_A, SITE_B, vm, vpgDefinition, vpgVm } from '../testing/factories.js';
import { pathPart, planDefinition, type PlanContext } from './plan-definition.js';
import { preseedRules } from './preseed-path.js';

describe('names of folders and files made from ids', () => {
  it.each([['../../etc', '_2e_2e_2f_2e_2e_2fetc'], ['scsi:0:0', 'scsi_3a0_3a0'], ['a b', 'a_20b'], ['vm-7', 'vm-7']])('%s is harmless', (id, part) =>
    expect(pathPart(id)).toBe(part));

  it('never lets two ids share a name', () => {
    const ids = ['a.b', 'a_2eb', 'a/b', 'a:b', 'a b', 'a_b', 'A.b'];
    expect(new Set(ids.map(pathPart)).size).toBe(ids.length);
  });
});

describe('a preseeded volume', () => {
  const context: PlanContext = {
    vpgId: 'cccccccc-0000-4000-8000-000000000000', checkpointIntervalMs: 5000, preseeds: preseedRules([], { vpgId: 'v', recoverySiteId: SITE_B, askedBySiteId: undefined }),
    protectedSite: { siteId: SITE_A, name: 'A', known: { inventory: inventory([vm('vm1', 'ha1')]), vras: [] } },
    recoverySite: {
      siteId: SITE_B, name: 'B',
      known: {
        inventory: { ...inventory([vm('own', 'hb1', { disks: [{ id: 'd', sizeBytes: 1, datastoreId: 'dsb', location: '/stores/b/own.raw', exportName: 'own', isFile: true }] })]), datastores: [{ id: 'dsb', name: 'b', path: '/stores/b', capacityBytes: 1e9, freeBytes: 1e9 }] },
        vras: [{ vraId: '91', hostId: 'hb1', name: 'Z', address: '127.0.2.11', controlPort: 4007, dataPort: 4008, isAlive: true }],
      },
    },
  };
  const settingsWith = (path: string): VpgSettings => {
    const defaults = defaultVpgSettings({ vpgSettingsId: 'draft', protectedSiteId: SITE_A });
    const wish = defaultVmSettings({ vmId: 'vm1', diskIds: ['scsi:0:0'], nicIds: [] });
    const volumes = (wish.volumes ?? []).map((volume) => ({ ...volume, preseed: { datastoreIdentifier: 'dsb', path } }));
    return { ...defaults, recovery: { ...defaults.recovery, defaultHostIdentifier: 'hb1', defaultDatastoreIdentifier: 'dsb' }, vms: [{ ...wish, volumes }] };
  };
  const diskOf = (path: string, preseeds = context.preseeds): unknown => planDefinition(settingsWith(path), { ...context, preseeds }).vms[0]?.disks[0];

  it.each(['old/web.raw', '/stores/b/old/web.raw'])('is taken as it is: %s', (path) =>
    expect(diskOf(path)).toMatchObject({ mirrorPath: '/stores/b/old/web.raw', isPreseeded: true }));

  it.each(['../../etc/shadow', '/stores/b/../../etc/shadow', 'x/../own.raw', './own.raw', '/stores/b//own.raw'])('may not be %s: another way out of the datastore, or another name for a disk', (path) =>
    expect(() => diskOf(path)).toThrow('not on datastore b'));

  it('may not lie elsewhere, nor be the disk of a VM, running or not', () => {
    expect(() => diskOf('/stores/bb/web.raw')).toThrow('not on datastore b');
    expect(() => diskOf('own.raw')).toThrow("attached to VM 'own'");
  });

  const KEPT = 'tidemark/dddddddd-0000-4000-8000-000000000000/vm-1/scsi_3a0_3a0.raw';

  it('of a VPG that was deleted may be taken again; nothing else of the VRAs', () => {
    expect(diskOf(KEPT)).toMatchObject({ mirrorPath: `/stores/b/${KEPT}` });
    const folder = 'tidemark/dddddddd-0000-4000-8000-000000000000/vm-1';
    for (const path of [`${folder}/journal/0.raw`, `${folder}/journal/00000001.segment`, `${folder}/scratch-1/0.raw`, 'tidemark/owner.json', 'tidemark/other/vm-1/x.raw']) {
      expect(() => diskOf(path)).toThrow('among the files of VRAs');
    }
  });

  it('may not be a recovery volume of another VPG that is recovered here, only of its own', () => {
    const other = vpgDefinition({ name: 'Other', vms: [vpgVm('vm9', { disks: [{ diskId: 'd', sizeBytes: 1, recoveryDatastoreId: 'dsb', mirrorPath: `/stores/b/${KEPT}` }] })] });
    const rulesOf = (vpgId: string, askedBySiteId?: string): PlanContext['preseeds'] => preseedRules([other], { vpgId, recoverySiteId: SITE_B, askedBySiteId });
    expect(() => diskOf(KEPT, rulesOf('v'))).toThrow("a recovery volume of VPG 'Other'");
    expect(() => diskOf(KEPT, rulesOf('v', SITE_A))).toThrow('is not below seed/');
    expect(diskOf(KEPT, rulesOf(other.vpgId, SITE_A))).toMatchObject({ isPreseeded: true });
    expect(diskOf(KEPT, preseedRules([{ ...other, recoverySiteId: SITE_A }], { vpgId: 'v', recoverySiteId: SITE_B, askedBySiteId: undefined }))).toMatchObject({ isPreseeded: true });
  });

  it('for a paired site is in its own folder, whatever there is elsewhere', () => {
    const asked = preseedRules([], { vpgId: 'v', recoverySiteId: SITE_B, askedBySiteId: SITE_A });
    expect(diskOf(`seed/${SITE_A}/web.raw`, asked)).toMatchObject({ mirrorPath: `/stores/b/seed/${SITE_A}/web.raw` });
    for (const path of ['old/web.raw', 'own.raw', KEPT, `seed/${SITE_B}/web.raw`, 'seed/web.raw', `seed/${SITE_A}`, `seed/${SITE_A}x/web.raw`, `x/seed/${SITE_A}/web.raw`]) {
      expect(() => diskOf(path, asked)).toThrow(`is not below seed/${SITE_A}/ of datastore b`);
    }
    expect(() => diskOf(`seed/${SITE_A}/../../own.raw`, asked)).toThrow('not on datastore b');
  });

  it.each([['InitialSyncOnly', true], ['Continuous', undefined], [null, undefined]])('with VolumeSyncSettings %s holds temp data: %s', (volumeSyncSettings, isTempData) => {
    const settings = settingsWith('web.raw');
    const vms = settings.vms.map((one) => ({ ...one, volumes: (one.volumes ?? []).map((volume) => ({ ...volume, preseed: null, volumeSyncSettings })) }));
    expect(planDefinition({ ...settings, vms }, context).vms[0]?.disks[0]?.isTempData).toBe(isTempData);
  });
});
