import type { VpgApi, VpgSettingsApi } from '@tidemark/contracts';
import { FakeDataPlane } from './fake-data-plane.js';
import type { RestClient } from './rest-client.js';
import { startPostgres, type TestServer } from './servers.js';
import { eventually, TestSite } from './test-site.js';

export const TASK_COMPLETED = 6;

/** Two sites that are paired, with a VRA on each host: what a test of operations between them begins with. */
export class PairedSites {
  private constructor(
    readonly postgres: TestServer,
    readonly plane: FakeDataPlane,
    readonly a: TestSite,
    readonly b: TestSite,
    public atA: RestClient,
    public atB: RestClient,
  ) {}

  /** `environmentOfB`: besides what every site of a test has. */
  static async open(vmNames: readonly string[], environmentOfB: Readonly<Record<string, string>> = {}): Promise<PairedSites> {
    const postgres = await startPostgres();
    const plane = new FakeDataPlane();
    const a = await TestSite.open({ name: 'a', postgres, plane, vmNames });
    const b = await TestSite.open({ name: 'b', postgres, plane, environment: environmentOfB });
    await Promise.all([a.startZvm(), b.startZvm()]);
    const sites = new PairedSites(postgres, plane, a, b, await a.client(), await b.client());
    await pairSites(sites.atA, b, sites.atB);
    await Promise.all([installVras(a, sites.atA), installVras(b, sites.atB)]);
    return sites;
  }

  /** Runs a call that answers a task to its end, which must be a success. @returns the task's text */
  async done(client: RestClient, method: string, path: string, body: object = {}): Promise<string> {
    return await completed(client, await client.ok<string>(method, path, body));
  }

  async vpg(client: RestClient, vpgId: string): Promise<VpgApi> {
    return await client.ok<VpgApi>('GET', `/vpgs/${vpgId}`);
  }

  /** Protects VMs of site a into site b, with what `settings` say besides, and waits until they meet their SLA. @returns the VPG's id */
  async protect(name: string, vmNames: readonly string[], settings: VpgSettingsApi = {}): Promise<string> {
    const [atRecovery, { vms }] = [await this.b.hypervisor.inventory(), await this.a.hypervisor.inventory()];
    const draft = `/vpgSettings/${await this.atA.ok<string>('POST', '/vpgSettings', {})}`;
    const basic = await this.atA.ok<object>('GET', `${draft}/basic`);
    await this.atA.ok('PUT', `${draft}/basic`, {
      ...basic, Name: name, ProtectedSiteIdentifier: this.a.config.siteId, RecoverySiteIdentifier: this.b.config.siteId, JournalHistoryInHours: 1,
    });
    await this.atA.ok('PUT', `${draft}/recovery`, { DefaultHostIdentifier: atRecovery.hosts[0]?.id, DefaultDatastoreIdentifier: atRecovery.datastores[0]?.id });
    const network = { Hypervisor: { DefaultNetworkIdentifier: atRecovery.networks[0]?.id } };
    await this.atA.ok('PUT', `${draft}/networks`, { Failover: network, FailoverTest: network });
    for (const wanted of vmNames) await this.atA.ok('POST', `${draft}/vms`, { VmIdentifier: vms.find((vm) => vm.name === wanted)?.id });
    await this.atA.ok('PUT', draft, settings);
    await this.done(this.atA, 'POST', `${draft}/commit`);
    const vpgId = (await this.atA.ok<VpgApi[]>('GET', '/vpgs')).find((vpg) => vpg.VpgName === name)?.VpgIdentifier ?? '';
    await this.untilProtected(vpgId);
    return vpgId;
  }

  async untilProtected(vpgId: string): Promise<void> {
    await eventually('MeetingSLA at both sites', async () => (await this.vpg(this.atA, vpgId)).Status === 1 && (await this.vpg(this.atB, vpgId)).Status === 1, 60_000);
  }

  async restartZvm(site: 'a' | 'b'): Promise<void> {
    await this[site].stopZvm();
    await this.startZvm(site);
  }

  async startZvm(site: 'a' | 'b'): Promise<void> {
    await this[site].startZvm();
    if (site === 'a') this.atA = await this.a.client();
    else this.atB = await this.b.client();
  }

  async close(): Promise<void> {
    await this.a.close();
    await this.b.close();
    await this.plane.close();
    await this.postgres.close();
  }
}

export async function completed(client: RestClient, taskId: string): Promise<string> {
  const { state, reason } = await client.task(taskId);
  if (state !== TASK_COMPLETED) throw new Error(`task ${taskId} ended as ${state}: ${reason}`);
  return reason;
}

/** One on each host. */
export async function installVras(site: TestSite, client: RestClient): Promise<void> {
  const { hosts } = await site.hypervisor.inventory();
  for (const host of hosts) {
    const wish = { HostIdentifier: host.id, DatastoreIdentifier: host.datastoreIds[0], NetworkIdentifier: host.networkIds[0], MemoryInGB: 3, GroupName: 'default_group' };
    await completed(client, await client.ok<string>('POST', '/vras', { ...wish, VraNetworkDataApi: { VraIPConfigurationTypeApi: 'Static', VraIPAddress: host.address } }));
  }
}

/** With a token of the other site. @returns the task's text */
export async function pairSites(from: RestClient, to: TestSite, atOther: RestClient): Promise<string> {
  const { Token: token } = await atOther.ok<{ Token: string }>('POST', '/peersites/generatetoken');
  return await completed(from, await from.ok<string>('POST', '/peersites', { HostName: '127.0.0.1', Port: to.config.natsPeerPort, Token: token }));
}
