import { NO_ID } from './defaults.js';
import type { Fault } from './facts.js';
import { placementOf } from './placement.js';
import type { BasicSettings, JournalSettings, NicNetworkSettings, VmSettings, VpgSettings } from './settings.js';

/**
 * Wishes of the vendor's API that nothing here reads. Taken, shown again and not done, they would be missed at the failover; what is done
 * anyway, and a value that asks for nothing, may be given.
 */
export function checkUnsupported(settings: VpgSettings): Fault[] {
  return [
    ...checkBasic(settings.basic),
    ...checkRetention(settings.longTermRetention),
    ...checkCluster('Journal', settings.journal),
    ...checkCluster('Scratch', settings.scratch),
    ...settings.vms.flatMap((vm, index) => checkVm(settings, vm, `Vms[${index}]`)),
  ];
}

const isNothing = (value: unknown): boolean => value === null || value === undefined || value === '' || value === false;

function checkBasic({ vpgType, serviceProfileIdentifier, zorgIdentifier }: BasicSettings): Fault[] {
  const faults: Fault[] = [];
  if (!isNothing(vpgType) && vpgType !== 'Remote') faults.push({ path: 'Basic.VpgType', message: 'every VPG goes from one site to another: leave it null' });
  if (!isNothing(serviceProfileIdentifier) && serviceProfileIdentifier !== NO_ID) {
    faults.push({ path: 'Basic.ServiceProfileIdentifier', message: 'there are no service profiles in this version: leave it null, and give RPO, history and limits here' });
  }
  if (!isNothing(zorgIdentifier) && zorgIdentifier !== NO_ID) faults.push({ path: 'Basic.ZorgIdentifier', message: 'there are no organizations in this version: leave it null' });
  return faults;
}

/** Of settings from a peer too, whose fields nobody has looked at. */
function checkRetention(retention: object | null): Fault[] {
  const isWanted = Object.values(retention ?? {}).some((value) => !isNothing(value));
  return isWanted ? [{ path: 'LongTermRetention', message: 'long-term retention is not in this version: leave it null' }] : [];
}

function checkCluster(path: string, store: { readonly datastoreClusterIdentifier?: string | null } | null): Fault[] {
  return isNothing(store?.datastoreClusterIdentifier) ? [] : [{
    path: `${path}.DatastoreClusterIdentifier`, message: 'the recovery site has datastores only, no clusters: leave it null, and choose a datastore if the default is not meant',
  }];
}

function checkVm(settings: VpgSettings, vm: VmSettings, path: string): Fault[] {
  return [
    ...checkCluster(`${path}.Journal`, vm.journal), ...checkCluster(`${path}.Scratch`, vm.scratch), ...checkScratchPlace(settings, vm, path),
    ...(vm.volumes ?? []).flatMap(({ datastore, preseed }, index) => {
      const at = `${path}.Volumes[${index}]`;
      const faults = checkCluster(`${at}.Datastore`, datastore);
      if (datastore?.isThin === false) faults.push({ path: `${at}.Datastore.IsThin`, message: 'recovery volumes are always thin: leave it true or null' });
      const [seeded, chosen] = [preseed?.datastoreIdentifier, datastore?.datastoreIdentifier];
      if (!isNothing(seeded) && !isNothing(chosen) && seeded !== chosen) {
        faults.push({ path: `${at}.Datastore.DatastoreIdentifier`, message: `the existing disk stays on its datastore ${seeded ?? ''}: leave it null, or give that one` });
      }
      return faults;
    }),
    ...(vm.nics ?? []).flatMap(({ failover, failoverTest }, index) => [
      ...checkGuestNetwork(`${path}.Nics[${index}].Failover.Hypervisor`, failover), ...checkGuestNetwork(`${path}.Nics[${index}].FailoverTest.Hypervisor`, failoverTest),
    ]),
  ];
}

/** What a tested VM writes lies beside its journal. */
function checkScratchPlace(settings: VpgSettings, vm: VmSettings, path: string): Fault[] {
  const own: JournalSettings | null = isNothing(vm.scratch?.datastoreIdentifier) ? null : vm.scratch;
  const wanted = (own ?? settings.scratch).datastoreIdentifier;
  const { journalDatastoreId } = placementOf(settings, vm);
  return isNothing(wanted) || wanted === journalDatastoreId ? [] : [{
    path: `${own ? `${path}.` : ''}Scratch.DatastoreIdentifier`, message: `scratch lies beside the journal, here on ${journalDatastoreId ?? 'no datastore yet'}: leave it null, or choose the datastore of the journal`,
  }];
}

/** The recovered VM's own system is not touched: it keeps the addresses that it has on its disks. */
function checkGuestNetwork(path: string, network: NicNetworkSettings | null): Fault[] {
  const { ipConfig, dnsSuffix, shouldReplaceIpConfiguration } = network?.hypervisor ?? {};
  const remedy = 'is not changed inside a recovered VM by this version: leave it null, and let DHCP or a post-recovery script do it';
  const faults: Fault[] = [];
  if (Object.values(ipConfig ?? {}).some((value) => !isNothing(value))) faults.push({ path: `${path}.IpConfig`, message: `the IP configuration ${remedy}` });
  if (!isNothing(shouldReplaceIpConfiguration)) faults.push({ path: `${path}.ShouldReplaceIpConfiguration`, message: `the IP configuration ${remedy.replace('null', 'false')}` });
  if (!isNothing(dnsSuffix)) faults.push({ path: `${path}.DnsSuffix`, message: `the DNS suffix ${remedy}` });
  return faults;
}
