import { describe, expect, it } from '@jest/globals';
import { defaultVmSettings, defaultVpgSettings, faultsText, type BasicSettings, type JournalSettings, type NicNetworkSettings, type VmSettings, type VolumeSettings, type VpgSettings } from './index.js';
import { checkUnsupported } from './validate-unsupported.js';

const NO_ID = '00000000-0000-0000-0000-000000000000';
const DRAFT = defaultVpgSettings({ vpgSettingsId: 's', protectedSiteId: 'A' });
const VM = defaultVmSettings({ vmId: 'vm1', diskIds: ['scsi:0:0'], nicIds: ['nic0'] });

const withVm = (vm: Partial<VmSettings>, over: Partial<VpgSettings> = {}): VpgSettings => ({
  ...DRAFT, recovery: { ...DRAFT.recovery, defaultDatastoreIdentifier: 'ds1' }, vms: [{ ...VM, ...vm }], ...over,
});
const basic = (over: Partial<BasicSettings>): VpgSettings => withVm({}, { basic: { ...DRAFT.basic, ...over } });
const store = (over: Partial<JournalSettings>): JournalSettings => ({ limitation: null, datastoreIdentifier: null, datastoreClusterIdentifier: null, ...over });
const volume = (datastore: Partial<NonNullable<VolumeSettings['datastore']>>, preseed: VolumeSettings['preseed'] = null): VpgSettings => withVm({
  volumes: [{ volumeIdentifier: 'scsi:0:0', datastore: { datastoreIdentifier: null, datastoreClusterIdentifier: null, isThin: null, ...datastore }, vcd: null, preseed, rdm: null, volumeSyncSettings: null }],
});
type Guest = NonNullable<NicNetworkSettings['hypervisor']>;
const NO_IP = { staticIp: null, subnetMask: null, gateway: null, primaryDns: null, secondaryDns: null, isDhcp: null };
const nic = (over: Partial<Guest>, side: 'failover' | 'failoverTest' = 'failover'): VpgSettings => {
  const hypervisor: Guest = { networkIdentifier: null, shouldReplaceMacAddress: true, dnsSuffix: null, ipConfig: null, shouldReplaceIpConfiguration: null, ...over };
  return withVm({ nics: [{ nicIdentifier: 'nic0', failover: null, failoverTest: null, [side]: { hypervisor, vcd: null, publicCloud: null } }] });
};

describe('checkUnsupported', () => {
  it.each<[string, VpgSettings]>([
    ['a new draft', DRAFT],
    ['a VM as it is added', withVm({})],
    ['a VM of which nothing is said', withVm({ recovery: null, journal: null, scratch: null, volumes: null, nics: null })],
    ['what GET shows of the VPG', basic({ vpgType: 'Remote', serviceProfileIdentifier: NO_ID, zorgIdentifier: NO_ID })],
    ['empty texts', basic({ vpgType: '', serviceProfileIdentifier: '', zorgIdentifier: '' })],
    ['scratch where it lies anyway', withVm({}, { scratch: store({ datastoreIdentifier: 'ds1' }) })],
    ['scratch beside a journal on its own datastore', withVm({ scratch: store({ datastoreIdentifier: 'ds2' }) }, { journal: store({ datastoreIdentifier: 'ds2' }) })],
    ['a thin volume', volume({ isThin: true })],
    ['an existing disk on the datastore that is chosen', volume({ datastoreIdentifier: 'ds1' }, { datastoreIdentifier: 'ds1', path: 'x.raw' })],
    ['an empty IP configuration', nic({ ipConfig: { ...NO_IP, staticIp: '', isDhcp: false }, dnsSuffix: '', shouldReplaceIpConfiguration: false })],
    ['retention that is off', { ...DRAFT, longTermRetention: { enabled: false } as unknown as null }],
  ])('accepts %s', (_name, settings) => expect(checkUnsupported(settings)).toEqual([]));

  it.each<[VpgSettings, RegExp]>([
    [basic({ vpgType: 'Local' }), /^Basic\.VpgType: .*leave it null$/],
    [basic({ serviceProfileIdentifier: 'gold' }), /^Basic\.ServiceProfileIdentifier: .*leave it null/],
    [basic({ zorgIdentifier: '11111111-0000-0000-0000-000000000000' }), /^Basic\.ZorgIdentifier: .*leave it null$/],
    [withVm({}, { journal: store({ datastoreClusterIdentifier: 'c' }) }), /^Journal\.DatastoreClusterIdentifier: .*no clusters: leave it null/],
    [withVm({}, { scratch: store({ datastoreClusterIdentifier: 'c' }) }), /^Scratch\.DatastoreClusterIdentifier: /],
    [withVm({ journal: store({ datastoreClusterIdentifier: 'c' }) }), /^Vms\[0\]\.Journal\.DatastoreClusterIdentifier: /],
    [withVm({ scratch: store({ datastoreClusterIdentifier: 'c' }) }), /^Vms\[0\]\.Scratch\.DatastoreClusterIdentifier: /],
    [withVm({}, { scratch: store({ datastoreIdentifier: 'ds2' }) }), /^Scratch\.DatastoreIdentifier: scratch lies beside the journal, here on ds1: leave it null, or/],
    [withVm({ scratch: store({ datastoreIdentifier: 'no-such' }) }), /^Vms\[0\]\.Scratch\.DatastoreIdentifier: scratch lies beside the journal/],
    [withVm({ journal: store({ datastoreIdentifier: 'ds2' }) }, { scratch: store({ datastoreIdentifier: 'ds1' }) }), /^Scratch\.DatastoreIdentifier: .*here on ds2/],
    [volume({ datastoreClusterIdentifier: 'c' }), /^Vms\[0\]\.Volumes\[0\]\.Datastore\.DatastoreClusterIdentifier: /],
    [volume({ isThin: false }), /^Vms\[0\]\.Volumes\[0\]\.Datastore\.IsThin: .*leave it true or null$/],
    [volume({ datastoreIdentifier: 'ds2' }, { datastoreIdentifier: 'ds1', path: 'x.raw' }), /^Vms\[0\]\.Volumes\[0\]\.Datastore\.DatastoreIdentifier: the existing disk stays on its datastore ds1/],
    [nic({ ipConfig: { ...NO_IP, staticIp: '10.0.0.5' } }), /^Vms\[0\]\.Nics\[0\]\.Failover\.Hypervisor\.IpConfig: .*post-recovery script/],
    [nic({ ipConfig: { ...NO_IP, isDhcp: true } }, 'failoverTest'), /^Vms\[0\]\.Nics\[0\]\.FailoverTest\.Hypervisor\.IpConfig: /],
    [nic({ shouldReplaceIpConfiguration: true }), /^Vms\[0\]\.Nics\[0\]\.Failover\.Hypervisor\.ShouldReplaceIpConfiguration: .*leave it false/],
    [nic({ dnsSuffix: 'example.org' }), /^Vms\[0\]\.Nics\[0\]\.Failover\.Hypervisor\.DnsSuffix: .*leave it null/],
    [{ ...DRAFT, longTermRetention: { enabled: true } as unknown as null }, /^LongTermRetention: .*leave it null$/],
  ])('refuses %#, saying what to do: %s', (settings, text) => expect(faultsText(checkUnsupported(settings))).toMatch(text));
});
