import { ApiError } from '@tidemark/api-client';
import { LabError } from '../lab-error.js';
import { PORTS, type SiteLayout } from '../layout.js';
import { ADMINISTRATOR, caPath, readPassword } from '../servers/zvm.js';
import { settleAll } from '../settle-all.js';
import { until } from '../until.js';
import { SiteApi } from './site-api.js';

const VRA_MEMORY_GB = 1;
const VRA_INSTALLED = 0;

const LOG_IN_TIMEOUT_MS = 60_000;

/** A logged-in API of the site. A ZVM that has just been started is waited for: until its database answers there is no administrator. */
export async function siteApi(site: SiteLayout): Promise<SiteApi> {
  return await until(`the log-in at site ${site.name} (see ${site.logFolder}/zvm.log)`, () => logInOnce(site), { timeoutMs: LOG_IN_TIMEOUT_MS });
}

async function logInOnce(site: SiteLayout): Promise<SiteApi | undefined> {
  const password = await readPassword(site);
  if (password === null) return undefined;
  try {
    return await SiteApi.logIn({ restUrl: site.restUrl, user: ADMINISTRATOR, password, caFile: caPath(site) });
  } catch (error) {
    // The password's file comes before its row in the database: for a moment it is refused.
    if (error instanceof ApiError && (error.isRetryable || error.code === 'API_UNAUTHORIZED')) return undefined;
    throw error;
  }
}

interface NamedHost {
  readonly HostIdentifier: string;
  readonly VirtualizationHostName: string;
}

/** Installs a VRA on every host of the site that has none; the site's own operation, over its REST API. */
export async function installVras(site: SiteLayout, api: SiteApi): Promise<string[]> {
  const { SiteIdentifier: siteId } = await api.get<{ SiteIdentifier: string }>('/localsite');
  const base = `/virtualizationsites/${siteId}`;
  const [hosts, datastores, networks, vras] = await Promise.all([
    api.get<NamedHost[]>(`${base}/hosts`),
    api.get<{ DatastoreIdentifier: string }[]>(`${base}/datastores`),
    api.get<{ NetworkIdentifier: string }[]>(`${base}/networks`),
    api.get<{ HostIdentifier: string }[]>('/vras'),
  ]);
  const [datastore] = datastores;
  const [network] = networks;
  if (!datastore || !network) throw new LabError('LAB_REFUSED', `site ${site.name} shows no datastore or no network`);
  const bare = hosts.filter((host) => !vras.some((vra) => vra.HostIdentifier === host.HostIdentifier));
  const installs = bare.map((host) => api.run('POST', '/vras', vraRequest(host, { datastore, network, address: addressOf(site, host) })));
  await settleAll(installs);
  await until(`the VRAs of site ${site.name}`, () => allInstalled(api, hosts.length));
  return bare.map((host) => host.VirtualizationHostName);
}

/** An installation that an earlier `up` began is the ZVM's to finish. */
async function allInstalled(api: SiteApi, count: number): Promise<true | undefined> {
  const vras = await api.get<{ Status: number; IsConnected?: boolean | null }[]>('/vras');
  const ready = vras.filter((vra) => vra.Status === VRA_INSTALLED && vra.IsConnected !== false);
  return ready.length >= count ? true : undefined;
}

function addressOf(site: SiteLayout, host: NamedHost): string {
  return site.hosts.find((candidate) => candidate.name === host.VirtualizationHostName)?.address ?? '';
}

interface VraPlace {
  readonly datastore: { readonly DatastoreIdentifier: string };
  readonly network: { readonly NetworkIdentifier: string };
  readonly address: string;
}

const vraRequest = (host: NamedHost, { datastore, network, address }: VraPlace): object => ({
  HostIdentifier: host.HostIdentifier,
  DatastoreIdentifier: datastore.DatastoreIdentifier,
  NetworkIdentifier: network.NetworkIdentifier,
  HostRootPassword: null,
  UsePublicKeyInsteadOfCredentials: true,
  MemoryInGb: VRA_MEMORY_GB,
  NumOfCpus: 1,
  GroupName: 'default_group',
  VraNetworkDataApi: { VraIPConfigurationTypeApi: 'Static', VraIPAddress: address, SubnetMask: '255.255.255.0', DefaultGateway: null },
});

/** Pairs the sites unless they are. @returns whether it had to. */
export async function pairSites(from: SiteApi, peer: SiteLayout, peerApi: SiteApi): Promise<boolean> {
  const peers = await from.get<{ HostName: string }[]>('/peersites');
  if (peers.some((known) => known.HostName === peer.managerAddress)) return false;
  const { Token: token } = await peerApi.call<{ Token: string }>('POST', '/peersites/generatetoken');
  await from.run('POST', '/peersites', { HostName: peer.managerAddress, Port: PORTS.natsPeer, Token: token });
  return true;
}
