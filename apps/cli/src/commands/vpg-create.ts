import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { ApiError, type ApiClient } from '@tidemark/api-client';
import type {
  DatastoreNativeApi, HostNativeApi, NetworkNativeApi, VmNativeApi, VpgApi, VpgSettingsBasicApi, VpgSettingsNetworkApi, VpgSettingsNetworksApi, VpgSettingsRecoveryApi,
  VpgSettingsVmVolumeApi,
} from '@tidemark/contracts';
import { VPG_STATUS, VPG_SUB_STATUS } from '@tidemark/contracts/enumerations';
import { CliError, usage } from '../cli-error.js';
import type { Session } from '../context.js';
import { findOne, findSite, knownSites } from '../lookup.js';
import { nameOf } from '../names.js';
import type { InSession } from '../program.js';
import { ProgressBar } from '../progress.js';
import { remarkText } from '../vpg-table.js';
import { inDraft, putLimits, type SettingsChange, settingsChange, type SettingsOptions, withSettingsOptions } from './vpg-options.js';

interface CreateOptions extends SettingsOptions {
  readonly name: string;
  readonly vm: readonly string[];
  readonly protectedSite?: string;
  readonly recoverySite?: string;
  readonly host?: string;
  readonly datastore?: string;
  readonly network?: string;
  readonly testNetwork?: string;
  readonly tempDisk?: readonly string[];
  readonly preseed?: readonly string[];
  readonly wait: boolean;
}

/** Everything as identifiers: what the API wants. */
interface Choice {
  readonly name: string;
  readonly vmIds: readonly string[];
  readonly protectedSiteId: string;
  readonly recoverySiteId: string;
  readonly hostId: string;
  readonly datastoreId: string;
  readonly networkId: string | undefined;
  readonly testNetworkId: string | undefined;
  readonly change: SettingsChange;
  readonly tempDisks: readonly DiskOfVm[];
  readonly preseeds: readonly Preseed[];
}

interface DiskOfVm {
  readonly vmId: string;
  readonly diskId: string;
}

interface Preseed extends DiskOfVm {
  readonly datastoreId: string;
  readonly path: string;
}

export function addVpgCreate(vpgs: Command, session: InSession): void {
  const create = vpgs.command('create').description('protect VMs; ends when the initial sync has ended')
    .requiredOption('--name <text>', 'name of the VPG').requiredOption('--vm <vm...>', 'names or identifiers')
    .option('--protected-site <site>', 'where the VMs run (this site)').option('--recovery-site <site>', 'needed when several sites are paired')
    .option('--host <host>', 'recovery host; needed when there are several').option('--datastore <datastore>', 'recovery datastore; needed when the host sees several')
    .option('--network <network>', 'of recovered VMs').option('--test-network <network>', 'of test VMs (that of --network)');
  withSettingsOptions(create)
    .option('--temp-disk <vm=disk...>', 'swap or page files, e.g. web=scsi:0:1: copied once, later writes are not replicated')
    .option('--preseed <vm=disk=path...>', "an existing disk to begin with, e.g. 'web=scsi:0:0=seed/SITE/web.raw' (in --datastore) or 'web=scsi:0:0=[ds2] seed/SITE/web.raw': only what differs travels. SITE: identifier of the protected site; created at the recovery site, any free file")
    .option('--no-wait', 'only start it')
    .action((options: CreateOptions, command: Command) => session(command, (one) => createVpg(one, options)));
}

async function createVpg(session: Session, options: CreateOptions): Promise<void> {
  const { client, output, task } = session;
  const choice = await chosen(client, options);
  const taskId = await inDraft(client, {}, (draft) => fillDraft(client, draft, choice));
  if (!options.wait) return output.done({ TaskIdentifier: taskId }, `creating VPG '${choice.name}': task ${taskId}`);
  await task(taskId, { isWaiting: true });
  const vpg = await waitForSync(session, choice.name);
  output.done(vpg, `VPG '${vpg.VpgName}' protects ${vpg.VmsCount} ${vpg.VmsCount === 1 ? 'VM' : 'VMs'}: ${nameOf(VPG_STATUS, vpg.Status)}`);
}

async function chosen(client: ApiClient, options: CreateOptions): Promise<Choice> {
  const change = settingsChange(options);
  const sites = await knownSites(client);
  const protectedSiteId = options.protectedSite === undefined ? sites.local.SiteIdentifier : findSite(options.protectedSite, sites).SiteIdentifier;
  const others = sites.all.filter((site) => site.SiteIdentifier !== protectedSiteId);
  const recoverySiteId = options.recoverySite === undefined
    ? onlyOne(others, '--recovery-site', (site) => site.VirtualizationSiteName).SiteIdentifier
    : findSite(options.recoverySite, sites).SiteIdentifier;
  const vms = await client.get<VmNativeApi[]>(`/virtualizationsites/${protectedSiteId}/vms`);
  const host = await chosenHost(client, recoverySiteId, options.host);
  const network = (wanted: string): string => findOne(wanted, { items: host.AssociatedNetworks ?? [], idOf: networkId, nameOf: (one) => one.VirtualizationNetworkName, what: 'network' }).NetworkIdentifier;
  const vmIdOf = (wanted: string): string => findOne(wanted, { items: vms, idOf: (vm) => vm.VmIdentifier, nameOf: (vm) => vm.VmName, what: 'unprotected VM' }).VmIdentifier;
  const networkIdChosen = options.network === undefined ? undefined : network(options.network);
  const datastoreId = chosenDatastore(host, options.datastore).DatastoreIdentifier;
  const seedDatastore = (wanted: string | undefined): string => (wanted === undefined ? datastoreId : chosenDatastore(host, wanted).DatastoreIdentifier);
  return {
    name: options.name, protectedSiteId, recoverySiteId, hostId: host.HostIdentifier, datastoreId, change,
    vmIds: options.vm.map(vmIdOf), tempDisks: (options.tempDisk ?? []).map((text) => tempDisk(text, vmIdOf)),
    preseeds: (options.preseed ?? []).map((text) => preseedOf(text, vmIdOf, seedDatastore)),
    networkId: networkIdChosen, testNetworkId: options.testNetwork === undefined ? networkIdChosen : network(options.testNetwork),
  };
}

const networkId = (network: NetworkNativeApi): string => network.NetworkIdentifier;

async function chosenHost(client: ApiClient, recoverySiteId: string, wanted: string | undefined): Promise<HostNativeApi> {
  const hosts = await client.get<HostNativeApi[]>(`/virtualizationsites/${recoverySiteId}/hosts`);
  const nameOfHost = (host: HostNativeApi): string => host.VirtualizationHostName;
  return wanted === undefined ? onlyOne(hosts, '--host', nameOfHost) : findOne(wanted, { items: hosts, idOf: (host) => host.HostIdentifier, nameOf: nameOfHost, what: 'recovery host' });
}

function chosenDatastore(host: HostNativeApi, wanted: string | undefined): DatastoreNativeApi {
  const items = host.AssociatedDatastores ?? [];
  const name = (datastore: DatastoreNativeApi): string => datastore.DatastoreName;
  return wanted === undefined ? onlyOne(items, '--datastore', name) : findOne(wanted, { items, idOf: (one) => one.DatastoreIdentifier, nameOf: name, what: 'datastore' });
}

/** `VM=DISK=PATH`, the path with its datastore in brackets before it as hypervisors write it, if it is another one. */
function preseedOf(text: string, vmIdOf: (wanted: string) => string, datastoreIdOf: (wanted: string | undefined) => string): Preseed {
  const [, vm, diskId, datastore, path] = /^([^=]+)=([^=]+)=(?:\[([^\]]+)\]\s*)?(.+)$/.exec(text) ?? [];
  if (vm === undefined || diskId === undefined || path === undefined) throw usage(`--preseed: '${text}' is not VM=DISK=PATH, e.g. 'web=scsi:0:0=seed/web.raw'`);
  return { vmId: vmIdOf(vm), diskId, datastoreId: datastoreIdOf(datastore), path };
}

function tempDisk(text: string, vmIdOf: (wanted: string) => string): DiskOfVm {
  const at = text.lastIndexOf('=');
  if (at < 1 || at === text.length - 1) throw usage(`--temp-disk: '${text}' is not VM=DISK, e.g. web=scsi:0:1`);
  return { vmId: vmIdOf(text.slice(0, at)), diskId: text.slice(at + 1) };
}

function onlyOne<Item>(items: readonly Item[], option: string, name: (item: Item) => string): Item {
  const [first, ...more] = items;
  if (first !== undefined && more.length === 0) return first;
  throw usage(first === undefined ? `${option}: there is none` : `give ${option}, one of: ${items.map(name).sort().join(', ')}`);
}

async function fillDraft(client: ApiClient, path: string, choice: Choice): Promise<void> {
  const basic = await client.get<VpgSettingsBasicApi>(`${path}/basic`);
  await client.put(`${path}/basic`, {
    ...basic, Name: choice.name, ProtectedSiteIdentifier: choice.protectedSiteId, RecoverySiteIdentifier: choice.recoverySiteId, ...choice.change.basic,
  });
  await putLimits(client, path, choice.change);
  const recovery = await client.get<VpgSettingsRecoveryApi>(`${path}/recovery`);
  await client.put(`${path}/recovery`, { ...recovery, DefaultHostIdentifier: choice.hostId, DefaultDatastoreIdentifier: choice.datastoreId });
  if (choice.networkId !== undefined || choice.testNetworkId !== undefined) await putNetworks(client, path, choice);
  for (const vmId of choice.vmIds) await client.post(`${path}/vms`, { VmIdentifier: vmId });
  for (const { vmId, diskId } of choice.tempDisks) {
    const volume = `${path}/vms/${vmId}/volumes/${diskId}`;
    await client.put(volume, { ...(await client.get<VpgSettingsVmVolumeApi>(volume)), VolumeSyncSettings: 'InitialSyncOnly' });
  }
  for (const { vmId, diskId, datastoreId, path: seedPath } of choice.preseeds) {
    const volume = `${path}/vms/${vmId}/volumes/${diskId}`;
    await client.put(volume, { ...(await client.get<VpgSettingsVmVolumeApi>(volume)), Preseed: { DatastoreIdentifier: datastoreId, Path: seedPath } });
  }
}

async function putNetworks(client: ApiClient, path: string, choice: Choice): Promise<void> {
  const networks = await client.get<VpgSettingsNetworksApi>(`${path}/networks`);
  const withDefault = (network: VpgSettingsNetworkApi | null | undefined, id: string | undefined): VpgSettingsNetworkApi =>
    (id === undefined ? (network ?? {}) : { ...network, Hypervisor: { DefaultNetworkIdentifier: id } });
  await client.put(`${path}/networks`, { ...networks, Failover: withDefault(networks.Failover, choice.networkId), FailoverTest: withDefault(networks.FailoverTest, choice.testNetworkId) });
}

const POLL_MS = 500;
/** A site manager that restarts meanwhile is waited for; one that stays away is not. */
const SILENCE_MS = 60_000;

/** Until the VPG has left Initializing: the initial sync has ended and a first checkpoint is listed. */
async function waitForSync({ client, output, signal }: Session, name: string): Promise<VpgApi> {
  const bar = new ProgressBar(output);
  let heardAt = performance.now();
  try {
    for (;;) {
      signal.throwIfAborted();
      const vpg = await vpgNamed(client, name, performance.now() - heardAt < SILENCE_MS);
      if (vpg !== undefined) {
        heardAt = performance.now();
        const status = nameOf(VPG_STATUS, vpg.Status);
        bar.show(status === 'MeetingSLA' ? 100 : vpg.ProgressPercentage, status === 'MeetingSLA' ? 'protected' : vpg.SubStatusDescription ? remarkText(vpg) : nameOf(VPG_SUB_STATUS, vpg.SubStatus));
        if (nameOf(VPG_SUB_STATUS, vpg.SubStatus) === 'Error') throw new CliError('CLI_FAILED', `VPG '${name}': ${vpg.SubStatusDescription ?? vpg.StatusDescription ?? 'error'}`);
        if (status === 'MeetingSLA' || status === 'HistoryNotMeetingSLA') return vpg;
        if (status === 'Deleting') throw new CliError('CLI_FAILED', `VPG '${name}' is being deleted`);
      }
      await sleep(POLL_MS, undefined, { signal });
    }
  } finally {
    bar.end();
  }
}

/** Undefined while the site does not answer and that is put up with. */
async function vpgNamed(client: ApiClient, name: string, isSilenceAllowed: boolean): Promise<VpgApi | undefined> {
  try {
    const found = (await client.get<VpgApi[]>('/vpgs')).find((vpg) => vpg.VpgName === name);
    if (found === undefined) throw new CliError('CLI_FAILED', `VPG '${name}' has gone`);
    return found;
  } catch (error) {
    if (error instanceof ApiError && error.isRetryable && isSilenceAllowed) return undefined;
    throw error;
  }
}
