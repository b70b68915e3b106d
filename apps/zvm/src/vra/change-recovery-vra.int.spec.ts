import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { VpgSettingsApi, VraApi, VraChangeRecoveryHostRecommendationResultApi, VraChangeRecoveryHostValidationResultsApi } from '@tidemark/contracts';
import type { FakeDataPlane } from '../testing/fake-data-plane.js';
import type { FakeVra } from '../testing/fake-vra.js';
import { completed, PairedSites } from '../testing/paired-sites.js';
import type { RestClient } from '../testing/rest-client.js';
import { eventually, type TestSite } from '../testing/test-site.js';

const FAILED = 4;

let sites: PairedSites;
let plane: FakeDataPlane;
let a: TestSite;
let b: TestSite;
let atB: RestClient;
let vms: string[];
let hosts: string[];

beforeAll(async () => {
  sites = await PairedSites.open(['web', 'db']);
  ({ plane, a, b, atB } = sites);
  vms = (await a.hypervisor.inventory()).vms.map(({ id }) => id);
  hosts = (await b.hypervisor.inventory()).hosts.map(({ id }) => id);
  await sites.atA.ok('PUT', `/peersites/${b.config.siteId}`, { CanProtectVms: true });
  await completed(atB, await atB.ok('POST', `/vpgSettings/${await draft()}/commit`));
}, 60_000);

afterAll(async () => {
  await sites?.close();
});

/** Of a VPG with both VMs, recovered on the first host. */
async function draft(): Promise<string> {
  const sid = await atB.ok<string>('POST', '/vpgSettings', {});
  const basic = await atB.ok<object>('GET', `/vpgSettings/${sid}/basic`);
  await atB.ok('PUT', `/vpgSettings/${sid}/basic`, { ...basic, Name: 'App', ProtectedSiteIdentifier: a.config.siteId, RecoverySiteIdentifier: b.config.siteId });
  const { datastores, folders, networks } = await b.hypervisor.inventory();
  await atB.ok('PUT', `/vpgSettings/${sid}/recovery`, { DefaultHostIdentifier: hosts[0], DefaultDatastoreIdentifier: datastores[0]?.id, DefaultFolderIdentifier: folders[0]?.id });
  const network = { Hypervisor: { DefaultNetworkIdentifier: networks[0]?.id } };
  await atB.ok('PUT', `/vpgSettings/${sid}/networks`, { Failover: network, FailoverTest: network });
  for (const VmIdentifier of vms) await atB.ok('POST', `/vpgSettings/${sid}/vms`, { VmIdentifier });
  return sid;
}

const vpgId = async (): Promise<string> => (await atB.ok<{ VpgIdentifier: string }[]>('GET', '/vpgs'))[0]?.VpgIdentifier ?? '';
const vraOn = (index: number): FakeVra => [...plane.vras.values()].find((vra) => vra.options.hostId === hosts[index]) as FakeVra;
const path = (index: number, action: string): string => `/vras/${vraOn(index).options.vraId}/changerecoveryvra/${action}`;
const recoveredVms = async (): Promise<number[]> => (await atB.ok<VraApi[]>('GET', '/vras')).map((vra) => vra.RecoveryCounters?.Vms ?? -1);
const checkpoints = async (): Promise<string[]> => (await atB.ok<{ CheckpointIdentifier: string }[]>('GET', `/vpgs/${await vpgId()}/checkpoints`)).map((each) => each.CheckpointIdentifier);
/** To which VRA the protected site sends each VM. */
const targets = (): string[] => {
  const protections = [...plane.vras.values()].filter((vra) => vra.options.siteId === a.config.siteId).flatMap((vra) => vra.state.protections);
  return vms.map((vmId) => protections.find((each) => each.vmId === vmId)?.recoveringVra.vraId ?? '');
};

describe('moving recoveries to another host', () => {
  it('is recommended and validated first', async () => {
    const { Recommendations } = await atB.ok<VraChangeRecoveryHostRecommendationResultApi>('POST', path(0, 'recommendation'));
    expect(Recommendations).toMatchObject(vms.map((VmIdentifier) => ({ VmIdentifier, HostIdentifier: hosts[1], HostName: 'b-host2' })));
    const { VmsValidationsResults } = await atB.ok<VraChangeRecoveryHostValidationResultsApi>('POST', path(0, 'validate'), {
      VmsAllocations: [{ VmIdentifier: vms[0], HostIdentifier: hosts[1] }, { VmIdentifier: vms[0], HostIdentifier: hosts[0] }, { VmIdentifier: 'none', HostIdentifier: hosts[1] }],
    });
    expect(VmsValidationsResults.map(({ Status }) => Status)).toEqual([0, 2, 2]);
    expect(VmsValidationsResults[1]?.Reason).toContain('already');
    expect(await atB.ok('GET', `${path(0, 'potentials')}?vmIdentifier=${vms[0] ?? ''}`)).toEqual([{ HostIdentifier: hosts[1], HostName: 'b-host2' }]);
    expect(await atB.refused(400, 'POST', path(0, 'execute'), { VmsAllocations: [{ VmIdentifier: vms[0], HostIdentifier: hosts[0] }] })).toContain('already');
  });

  it('moves one VM: the old VRA lets go first, checkpoints stay, and the protected site replicates to the new one', async () => {
    await eventually('checkpoints', async () => (await checkpoints()).length > 1);
    const before = await checkpoints();
    vraOn(0).commands.length = 0;
    const reason = await completed(atB, await atB.ok('POST', path(0, 'execute'), { VmsAllocations: [{ VmIdentifier: vms[0], HostIdentifier: hosts[1] }] }));
    expect(reason).toContain('1 recovery of Z-VRA-b-host1 moved');
    expect(vraOn(0).commands).toContain('recovery.release');
    expect(await recoveredVms()).toEqual([1, 1]);
    await eventually('the stream goes to the other VRA', () => Promise.resolve(targets()[0] === vraOn(1).options.vraId && targets()[1] === vraOn(0).options.vraId));
    expect(await checkpoints()).toEqual(expect.arrayContaining(before));
    await eventually('new ones come', async () => (await checkpoints()).length > before.length + 1);
    // All recovering VRAs agree about who they are: nothing is retired otherwise.
    const recoverers = [vraOn(0), vraOn(1)].flatMap((vra) => [...vra.recoveries.values()].map(({ spec }) => JSON.stringify(spec.recoverers)));
    expect([recoverers.length, new Set(recoverers).size]).toEqual([2, 1]);
  }, 30_000);

  it('goes back to the old VRA when the new one cannot take over, under a number that nobody else has', async () => {
    vraOn(0).refusesPut = true;
    const taskId = await atB.ok<string>('POST', path(1, 'execute'), { VmsAllocations: [{ VmIdentifier: vms[0], HostIdentifier: hosts[0] }] });
    expect(await atB.task(taskId)).toMatchObject({ state: FAILED, reason: expect.stringContaining('0 of 1 VPGs moved') });
    vraOn(0).refusesPut = false;
    expect(await recoveredVms()).toEqual([1, 1]);
    expect([...vraOn(1).recoveries.values()].map(({ spec }) => spec.moveNumber)).toEqual([3]);
  }, 30_000);

  it('is finished by a ZVM that was stopped in the middle, while the new VRA was away', async () => {
    vraOn(1).onReleased = () => void vraOn(0).silence();
    await atB.ok<string>('POST', path(1, 'execute'), { VmsAllocations: [{ VmIdentifier: vms[0], HostIdentifier: hosts[0] }] });
    await eventually('the old VRA has let go', () => Promise.resolve(plane.released.size === 1));
    await b.stopZvm();
    vraOn(0).start();
    await b.startZvm();
    atB = await b.client();
    await eventually('both VMs are recovered on the first host', async () => JSON.stringify(await recoveredVms()) === '[2,0]');
    vraOn(1).onReleased = () => undefined;
    await eventually('no task is open', async () => (await atB.ok<{ Status: { State: number } }[]>('GET', '/tasks')).every(({ Status }) => Status.State !== 1));
    expect([...vraOn(0).recoveries.values()].map(({ spec }) => spec.moveNumber ?? 0).sort()).toEqual([0, 4]);
  }, 60_000);

  it('evacuates a whole VRA, which may be removed then', async () => {
    expect(await atB.refused(409, 'DELETE', `/vras/${vraOn(0).options.vraId}`)).toContain('move or delete these first');
    await completed(atB, await atB.ok('POST', path(0, 'execute')));
    expect(await recoveredVms()).toEqual([0, 2]);
    expect(await atB.refused(409, 'POST', path(0, 'execute'))).toContain('recovers nothing');
  }, 30_000);

  it('follows an edit of the recovery host in the VPG settings', async () => {
    const sid = await atB.ok<string>('POST', '/vpgSettings', { VpgIdentifier: await vpgId() });
    const settings = await atB.ok<VpgSettingsApi>('GET', `/vpgSettings/${sid}`);
    expect(settings.Vms?.map(({ Recovery }) => Recovery?.HostIdentifier)).toEqual([hosts[1], hosts[1]]);
    const vm = await atB.ok<{ Recovery: object }>('GET', `/vpgSettings/${sid}/vms/${vms[1] ?? ''}`);
    await atB.ok('PUT', `/vpgSettings/${sid}/vms/${vms[1] ?? ''}`, { ...vm, Recovery: { ...vm.Recovery, HostIdentifier: hosts[0] } });
    expect(await completed(atB, await atB.ok('POST', `/vpgSettings/${sid}/commit`))).toContain('no sync was needed');
    expect(await recoveredVms()).toEqual([1, 1]);
  }, 30_000);

  it('is refused during a failover test, and says what to do', async () => {
    const id = await vpgId();
    await completed(atB, await atB.ok('POST', `/vpgs/${id}/FailoverTest`, {}));
    expect(await atB.refused(400, 'POST', path(0, 'execute'), { VmsAllocations: [{ VmIdentifier: vms[1], HostIdentifier: hosts[1] }] })).toContain('stop it first');
    await completed(atB, await atB.ok('POST', `/vpgs/${id}/FailoverTestStop`, {}));
  }, 30_000);

  it('from a VRA that does not answer only when the operator says that its host is down', async () => {
    const [dead, alive] = [vraOn(0), vraOn(1)];
    const before = await checkpoints();
    await dead.silence();
    await eventually('its silence is noticed', async () => (await atB.ok<VraApi[]>('GET', '/vras')).some(({ IsConnected }) => IsConnected === false));
    const { reason, status } = { reason: await atB.refused(409, 'POST', path(0, 'execute')), status: await recoveredVms() };
    expect(reason).toMatch(/does not answer.*powered off or cut off from the datastore.*HostIsDown/);
    expect(status).toEqual([1, 1]);
    await completed(atB, await atB.ok('POST', path(0, 'execute'), { HostIsDown: true }));
    expect([...alive.recoveries.values()].map(({ spec }) => spec.vmId).sort()).toEqual([...vms].sort());
    expect(await checkpoints()).toEqual(expect.arrayContaining(before));
    await eventually('streams go to the one that is left', () => Promise.resolve(targets().every((vraId) => vraId === alive.options.vraId)));
  }, 60_000);

  it('from two VRAs of one VPG that are both down in one go, when the operator says it of both', async () => {
    const third = await b.hypervisor.addHost({ name: 'b-host3', address: '127.0.0.13', nbdSocketPath: '/run/b-host3.sock' });
    hosts.push(third.id);
    const wish = { HostIdentifier: third.id, DatastoreIdentifier: third.datastoreIds[0], NetworkIdentifier: third.networkIds[0], MemoryInGB: 3, GroupName: 'default_group' };
    await completed(atB, await atB.ok('POST', '/vras', { ...wish, VraNetworkDataApi: { VraIPConfigurationTypeApi: 'Static', VraIPAddress: third.address } }));
    await completed(atB, await atB.ok('POST', path(1, 'execute'), { VmsAllocations: [{ VmIdentifier: vms[1], HostIdentifier: third.id }] }));
    vraOn(0).start();
    const isConnected = async (): Promise<string> => JSON.stringify((await atB.ok<VraApi[]>('GET', '/vras')).map((vra) => vra.IsConnected));
    await eventually('the first VRA is heard again', async () => (await isConnected()) === '[true,true,true]');
    const before = await checkpoints();
    const AlsoDown = [vraOn(2).options.vraId];
    expect(await atB.refused(400, 'POST', path(1, 'execute'), { AlsoDown })).toContain('only together with HostIsDown');
    expect(await atB.refused(409, 'POST', path(1, 'execute'), { HostIsDown: true, AlsoDown })).toContain('Z-VRA-b-host3 answers');
    await Promise.all([vraOn(1).silence(), vraOn(2).silence()]);
    await eventually('their silence is noticed', async () => (await isConnected()) === '[true,false,false]');

    // One after the other cannot go, and the answer says what can.
    expect(await atB.refused(409, 'POST', path(1, 'execute'), { HostIsDown: true })).toMatch(/Z-VRA-b-host3 does not answer either.*AlsoDown.*evacuate Z-VRA-b-host2 --host-is-down --also-down Z-VRA-b-host3/);
    expect(await atB.refused(409, 'POST', path(2, 'execute'), { HostIsDown: true })).toContain('Z-VRA-b-host2 does not answer either');
    const { Recommendations } = await atB.ok<VraChangeRecoveryHostRecommendationResultApi>('POST', path(1, 'recommendation'), { AlsoDown });
    expect(Recommendations.map(({ VmIdentifier, HostName }) => [VmIdentifier, HostName])).toEqual(vms.map((vmId) => [vmId, 'b-host1']));
    await completed(atB, await atB.ok('POST', path(1, 'execute'), { HostIsDown: true, AlsoDown }));
    expect(await recoveredVms()).toEqual([2, 0, 0]);
    expect(await checkpoints()).toEqual(expect.arrayContaining(before));
    await eventually('streams go to the one that is left', () => Promise.resolve(targets().every((vraId) => vraId === vraOn(0).options.vraId)));
  }, 90_000);
});
