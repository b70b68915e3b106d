import { describe, expect, it } from '@jest/globals';
import { GiB, MiB } from '@tidemark/base';
import { type VolumeSettings,
  defaultVmSettings, defaultVpgSettings, faultsText, guardBytesOf, placementOf, validateVpgSettings, type BasicSettings, type Fault, type RecoverySettings, type SettingsFacts,
  type VmSettings, type VpgSettings,
} from './index.js';

const facts = (over: Partial<SettingsFacts> = {}): SettingsFacts => ({
  vpgId: null,
  sites: [{ siteId: 'A', name: 'Aachen' }, { siteId: 'B', name: 'Berlin' }],
  isReplicationToSelfEnabled: false,
  vpgs: [],
  vms: [
    { vmId: 'vm1', name: 'web', disks: [{ diskId: 'scsi:0:0', sizeBytes: 256 * MiB }, { diskId: 'scsi:0:1', sizeBytes: 64 * MiB }], nicIds: ['nic0'] },
    { vmId: 'vm2', name: 'db', disks: [{ diskId: 'scsi:0:0', sizeBytes: 128 * MiB }], nicIds: [] },
  ],
  recovery: {
    hosts: [
      { hostId: 'h1', name: 'b-host1', datastoreIds: ['ds1'], networkIds: ['n1'], hasVra: true },
      { hostId: 'h2', name: 'b-host2', datastoreIds: ['ds1', 'ds2'], networkIds: [], hasVra: false },
    ],
    datastores: [{ datastoreId: 'ds1', name: 'b-ds1', capacityBytes: 20 * GiB, freeBytes: 19 * GiB }, { datastoreId: 'ds2', name: 'b-ds2', capacityBytes: 20 * GiB, freeBytes: 3 * GiB }],
    networks: [{ id: 'n1', name: 'lan' }, { id: 'n2', name: 'dmz' }],
    folders: [{ id: 'f1', name: 'vms' }],
  },
  ...over,
});

const vm1 = defaultVmSettings({ vmId: 'vm1', diskIds: ['scsi:0:0', 'scsi:0:1'], nicIds: ['nic0'] });

interface Changes {
  readonly basic?: Partial<BasicSettings>;
  readonly recovery?: Partial<RecoverySettings>;
  readonly vms?: readonly VmSettings[];
}

/** What a user fills in at least. */
function settings({ basic = {}, recovery = {}, vms = [vm1] }: Changes = {}): VpgSettings {
  const draft = defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: 'A' });
  return {
    ...draft,
    basic: { ...draft.basic, name: 'Shop', recoverySiteIdentifier: 'B', ...basic },
    recovery: { ...draft.recovery, defaultHostIdentifier: 'h1', defaultDatastoreIdentifier: 'ds1', ...recovery },
    vms,
  };
}

const faultsOf = (changes: Changes, over: Partial<SettingsFacts> = {}): Fault[] => validateVpgSettings(settings(changes), facts(over));
const vmWith = (over: Partial<VmSettings>): VmSettings => ({ ...vm1, ...over });
const recoveryOf = (over: Partial<NonNullable<VmSettings['recovery']>>): Partial<VmSettings> => (vm1.recovery === null ? {} : { recovery: { ...vm1.recovery, ...over } });

const preseeded = (preseed: { readonly datastoreIdentifier: string | null; readonly path: string }): VolumeSettings => ({
  volumeIdentifier: 'scsi:0:0', datastore: null, vcd: null, preseed, rdm: null, volumeSyncSettings: null,
});

describe('validateVpgSettings', () => {
  it('finds nothing wrong with a proper VPG', () => expect(faultsOf({})).toEqual([]));

  it('tells everything that a new draft lacks at once', () => {
    const paths = validateVpgSettings(defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: 'A' }), facts()).map(({ path }) => path);
    expect(paths).toEqual(['Basic.Name', 'Basic.RecoverySiteIdentifier', 'Vms']);
  });

  it.each<[string, Changes, Partial<SettingsFacts>, string]>([
    ['blank name', { basic: { name: '  ' } }, {}, 'Basic.Name: the VPG needs a name'],
    ['long name', { basic: { name: 'x'.repeat(81) } }, {}, 'Basic.Name: the name has 81 characters, 80 are allowed'],
    ['taken name', { basic: { name: 'shop ' } }, { vpgs: [{ vpgId: 'v', name: 'Shop', recoverySiteId: 'B', vmIds: [] }] }, "Basic.Name: a VPG named 'shop' exists already"],
    ['no history', { basic: { journalHistoryInHours: 0 } }, {}, 'Basic.JournalHistoryInHours: 0 given, 1 to 720 hours of history are allowed'],
    ['too long a history', { basic: { journalHistoryInHours: 721 } }, {}, 'Basic.JournalHistoryInHours: 721 given, 1 to 720 hours of history are allowed'],
    ['null history', { basic: { journalHistoryInHours: null } }, {}, 'Basic.JournalHistoryInHours: nothing given, 1 to 720 hours of history are allowed'],
    ['RPO too short', { basic: { rpoInSeconds: 59 } }, {}, 'Basic.RpoInSeconds: 59 given, 60 to 864200 seconds of target RPO are allowed'],
    ['unpaired site', { basic: { recoverySiteIdentifier: 'C' } }, {}, 'Basic.RecoverySiteIdentifier: site C is not this site and not paired with it'],
    ['itself', { basic: { recoverySiteIdentifier: 'A' } }, {}, 'Basic.RecoverySiteIdentifier: the recovery site is the protected site, and replication to self is not enabled'],
    ['no VMs', { vms: [] }, {}, 'Vms: a VPG needs at least one VM'],
    ['unknown VM', { vms: [vmWith({ vmIdentifier: 'vm9', volumes: [], nics: [] })] }, {}, 'Vms[0].VmIdentifier: the protected site has no VM vm9'],
    ['one VM twice', { vms: [vm1, vm1] }, {}, 'Vms[1].VmIdentifier: VM vm1 is in the list twice'],
    ['protected there already', {}, { vpgs: [{ vpgId: 'v', name: 'Old', recoverySiteId: 'B', vmIds: ['vm1'] }] }, "Vms[0].VmIdentifier: VM 'web' is already protected to that site by VPG 'Old'"],
    ['in three VPGs', {}, { vpgs: ['X', 'Y', 'Z'].map((siteId) => ({ vpgId: siteId, name: siteId, recoverySiteId: siteId, vmIds: ['vm1'] })) }, "Vms[0].VmIdentifier: VM 'web' is already in 3 VPGs, 3 are allowed"],
    ['no host', { recovery: { defaultHostIdentifier: null } }, {}, 'Recovery.DefaultHostIdentifier: a recovery host must be chosen, for all VMs or for each'],
    ['unknown host', { recovery: { defaultHostIdentifier: 'h9' } }, {}, 'Recovery.DefaultHostIdentifier: the recovery site has no host h9'],
    ['own unknown host', { vms: [vmWith(recoveryOf({ hostIdentifier: 'h9' }))] }, {}, 'Vms[0].Recovery.HostIdentifier: the recovery site has no host h9'],
    ['host without VRA', { recovery: { defaultHostIdentifier: 'h2' } }, {}, "Recovery.DefaultHostIdentifier: host 'b-host2' has no VRA"],
    ['host cluster', { recovery: { defaultHostClusterIdentifier: 'c' } }, {}, 'Recovery: the recovery site has hosts and datastores only: no clusters, no resource pools'],
    ['unknown folder', { recovery: { defaultFolderIdentifier: 'f9' } }, {}, 'Vms[0].Recovery.FolderIdentifier: the recovery site has no folder f9'],
    ['unknown boot group', { vms: [vmWith({ bootGroupIdentifier: 'g' })] }, {}, 'Vms[0].BootGroupIdentifier: there is no boot group g'],
    ['unknown datastore of the journal', { vms: [vmWith({ journal: { limitation: null, datastoreIdentifier: 'ds9', datastoreClusterIdentifier: null } })] }, {}, 'Vms[0].Journal.DatastoreIdentifier: the recovery site has no datastore ds9'],
    ['full datastore', {}, { recovery: { ...facts().recovery, datastores: [{ datastoreId: 'ds1', name: 'b-ds1', capacityBytes: 20 * GiB, freeBytes: 3.2 * GiB }] } }, "Recovery.Datastores.b-ds1: datastore 'b-ds1' is too full: 3.20 GiB free, 0.31 GiB needed for recovery volumes, 3.00 GiB must stay free"],
    ['preseed without a datastore', { vms: [vmWith({ volumes: [preseeded({ datastoreIdentifier: null, path: 'old/web.raw' })] })] }, {}, 'Vms[0].Volumes[0].Preseed.DatastoreIdentifier: the datastore of the existing disk must be named'],
    ['preseed outside its datastore', { vms: [vmWith({ volumes: [preseeded({ datastoreIdentifier: 'ds1', path: 'old/../../etc/web.raw' })] })] }, {}, "Vms[0].Volumes[0].Preseed.Path: 'old/../../etc/web.raw' is no path of a disk in its datastore"],
    ['preseed without a path', { vms: [vmWith({ volumes: [preseeded({ datastoreIdentifier: 'ds1', path: '' })] })] }, {}, "Vms[0].Volumes[0].Preseed.Path: '' is no path of a disk in its datastore"],
    ['preseed on an unknown datastore', { vms: [vmWith({ volumes: [preseeded({ datastoreIdentifier: 'ds9', path: 'old/web.raw' })] })] }, {}, 'Vms[0].Volumes.scsi:0:0.Datastore.DatastoreIdentifier: the recovery site has no datastore ds9'],
    ['scratch elsewhere', { vms: [vmWith({ scratch: { limitation: null, datastoreIdentifier: 'ds2', datastoreClusterIdentifier: null } })] }, {}, 'Vms[0].Scratch.DatastoreIdentifier: scratch lies beside the journal, here on ds1: leave it null, or choose the datastore of the journal'],
    ['minutes without hours', { basic: { keepMinuteCheckpointsForHours: 24 } }, {}, 'Basic.KeepMinuteCheckpointsForHours: 24 given, but without KeepAllCheckpointsForHours nothing is thinned: give that too, or leave both null'],
    ['unknown disk', { vms: [vmWith({ volumes: [{ volumeIdentifier: 'scsi:9:9', datastore: null, vcd: null, preseed: null, rdm: null, volumeSyncSettings: null }] })] }, {}, "Vms[0].Volumes[0].VolumeIdentifier: the VM has no 'scsi:9:9'"],
  ])('%s', (_, changes, over, text) => {
    expect(faultsText(faultsOf(changes, over))).toBe(text);
  });

  it('wants a datastore for every disk and for the journal', () => {
    expect(faultsOf({ recovery: { defaultDatastoreIdentifier: null } }).map(({ path }) => path)).toEqual([
      'Vms[0].Volumes.scsi:0:0.Datastore.DatastoreIdentifier', 'Vms[0].Volumes.scsi:0:1.Datastore.DatastoreIdentifier', 'Vms[0].Journal.DatastoreIdentifier',
    ]);
  });

  it('knows temp data, and nothing else that a volume could be', () => {
    const faultsWith = (volumeSyncSettings: string): Fault[] => faultsOf({ vms: [vmWith({ volumes: [{ volumeIdentifier: 'scsi:0:0', datastore: null, vcd: null, preseed: null, rdm: null, volumeSyncSettings }] })] });
    expect([...faultsWith('InitialSyncOnly'), ...faultsWith('Continuous')]).toEqual([]);
    expect(faultsText(faultsWith('Swap'))).toBe("Vms[0].Volumes[0].VolumeSyncSettings: 'Swap' is not known, one of Continuous, InitialSyncOnly is");
  });

  it('wants the host to see the datastore', () => {
    expect(faultsText(faultsOf({ recovery: { defaultDatastoreIdentifier: 'ds2' } }))).toContain("host 'b-host1' does not see datastore 'b-ds2'");
  });

  it('wants the host to be on the networks of the NICs', () => {
    const base = settings();
    const onNetwork = (id: string): VpgSettings => ({ ...base, networks: { ...base.networks, failover: { hypervisor: { defaultNetworkIdentifier: id }, vcd: null, publicCloud: null } } });
    expect(validateVpgSettings(onNetwork('n1'), facts())).toEqual([]);
    expect(faultsText(validateVpgSettings(onNetwork('n2'), facts()))).toBe("Vms[0].Nics.nic0.Failover: host 'b-host1' is not connected to network 'dmz'");
    expect(faultsText(validateVpgSettings(onNetwork('n9'), facts()))).toBe('Vms[0].Nics.nic0.Failover: the recovery site has no network n9');
  });

  it('refuses more than 60 disks, and none', () => {
    const disks = Array.from({ length: 61 }, (_, index) => ({ diskId: `d${index}`, sizeBytes: MiB }));
    const withDisks = (list: typeof disks) => ({ vms: [{ vmId: 'vm1', name: 'web', disks: list, nicIds: ['nic0'] }] });
    const plainVm = { vms: [vmWith({ volumes: [] })] };
    expect(faultsText(faultsOf(plainVm, withDisks(disks)))).toBe("Vms[0].VmIdentifier: VM 'web' has 61 disks, 60 are allowed");
    expect(faultsOf(plainVm, withDisks(disks.slice(0, 60)))).toEqual([]);
    expect(faultsText(faultsOf(plainVm, withDisks([])))).toBe("Vms[0].VmIdentifier: VM 'web' has no disk");
  });

  it('wants boot groups with distinct identifiers and with names', () => {
    const base = settings();
    const group = { bootGroupIdentifier: '00000000-0000-0000-0000-000000000000', name: 'Default', bootDelayInSeconds: 0 };
    const faults = validateVpgSettings({ ...base, bootGroups: { bootGroups: [group, group, { ...group, bootGroupIdentifier: 'g', name: ' ' }] } }, facts());
    expect(faults.map(({ path }) => path)).toEqual(['BootGroups.BootGroups[1].BootGroupIdentifier', 'BootGroups.BootGroups[2].Name']);
  });

  it('does not let an edited VPG stand in its own way', () => {
    const full = { ...facts().recovery, datastores: [{ datastoreId: 'ds1', name: 'b-ds1', capacityBytes: 20 * GiB, freeBytes: GiB }] };
    expect(faultsOf({}, { vpgId: 'v', vpgs: [{ vpgId: 'v', name: 'Shop', recoverySiteId: 'B', vmIds: ['vm1'] }], recovery: full })).toEqual([]);
  });

  it('allows recovery into the own site where the policy does', () => {
    expect(faultsOf({ basic: { recoverySiteIdentifier: 'A' } }, { isReplicationToSelfEnabled: true })).toEqual([]);
  });
});

describe('guardBytesOf', () => {
  it('is 15 % up to 30 GiB', () => expect([guardBytesOf(20 * GiB), guardBytesOf(200 * GiB), guardBytesOf(5000 * GiB)]).toEqual([3 * GiB, 30 * GiB, 30 * GiB]));
});

describe('placementOf', () => {
  it('takes the choice of the VM, else that of the VPG', () => {
    const draft = settings();
    const place = placementOf(draft, vm1);
    expect([place.hostId, place.datastoreId, place.journalDatastoreId, place.folderId, place.datastoreOf('scsi:0:0')]).toEqual(['h1', 'ds1', 'ds1', null, 'ds1']);
    const own = vmWith({ ...recoveryOf({ hostIdentifier: 'h2', datastoreIdentifier: 'ds2', folderIdentifier: 'f1' }) });
    const ownPlace = placementOf(draft, own);
    expect([ownPlace.hostId, ownPlace.datastoreId, ownPlace.journalDatastoreId, ownPlace.folderId]).toEqual(['h2', 'ds2', 'ds2', 'f1']);
  });

  it('takes the datastore of a volume before that of its VM', () => {
    const own = vmWith({ volumes: [{ volumeIdentifier: 'scsi:0:1', datastore: { datastoreIdentifier: 'ds2', datastoreClusterIdentifier: null, isThin: true }, vcd: null, preseed: null, rdm: null, volumeSyncSettings: null }] });
    const place = placementOf(settings(), own);
    expect([place.datastoreOf('scsi:0:0'), place.datastoreOf('scsi:0:1')]).toEqual(['ds1', 'ds2']);
  });
});
