import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PeerSiteApi, VpgApi, VpgSettingsApi } from '@tidemark/contracts';
import pg from 'pg';
import { FakeDataPlane } from './testing/fake-data-plane.js';
import { installVras } from './testing/paired-sites.js';
import { RestClient } from './testing/rest-client.js';
import { startPostgres, type TestServer } from './testing/servers.js';
import { eventually, TestSite } from './testing/test-site.js';

let postgres: TestServer;
let plane: FakeDataPlane;
let a: TestSite;
let b: TestSite;
let atA: RestClient;
let atB: RestClient;

const COMPLETED = 6;
const FAILED = 4;

interface Named {
  readonly VmIdentifier: string;
  readonly VmName: string;
}

beforeAll(async () => {
  postgres = await startPostgres();
  plane = new FakeDataPlane();
  a = await TestSite.open({ name: 'a', postgres, plane, vmNames: ['web', 'db', 'spare'] });
  b = await TestSite.open({ name: 'b', postgres, plane });
  await Promise.all([a.startZvm(), b.startZvm()]);
  [atA, atB] = await Promise.all([a.client(), b.client()]);
});

afterAll(async () => {
  await a?.close();
  await b?.close();
  await plane?.close();
  await postgres?.close();
});

describe('sessions and the shape of answers', () => {
  it('lists its services without a session and nothing else', async () => {
    const client = await a.client();
    client.session = undefined;
    expect((await client.ok<{ rel: string }[]>('GET', '/')).length).toBeGreaterThan(5);
    expect(await client.refused(401, 'GET', '/vpgs')).toContain('no session');
    client.session = '11111111-2222-3333-4444-555555555555';
    expect(await client.refused(401, 'GET', '/vpgs')).toContain('Invalid session');
  });

  it('refuses a wrong password, and ends a session that is logged out', async () => {
    const client = await a.client();
    expect((await client.logIn('admin', 'wrong')).status).toBe(401);
    expect((await client.logIn('nobody', 'wrong')).status).toBe(401);
    const added = await client.logIn();
    expect([added.status, added.text]).toEqual([200, '']);
    expect(await client.ok('GET', '/localsite')).toMatchObject({ SiteName: 'Site a' });
    await client.ok('DELETE', '/session');
    expect(await client.refused(401, 'GET', '/localsite')).toContain('Invalid session');
  });

  it('ends a session that was not used for half an hour', async () => {
    const client = await a.client();
    const age = async (minutes: number): Promise<void> => {
      const database = new pg.Client({ connectionString: a.config.databaseUrl });
      await database.connect();
      await database.query(`UPDATE sessions SET used_at = now() - make_interval(mins => $1)`, [minutes]);
      await database.end();
    };
    await age(29);
    await client.ok('GET', '/localsite');
    await age(31);
    expect(await client.refused(401, 'GET', '/localsite')).toContain('Invalid session');
    [atA, atB] = await Promise.all([a.client(), b.client()]);
  });

  it('matches paths in any letter case and answers every error with a Message', async () => {
    expect(await atA.ok('GET', '/LocalSite')).toMatchObject({ SiteIdentifier: a.config.siteId });
    expect(await atA.refused(404, 'GET', '/nothing')).not.toBe('');
    expect(await atA.refused(404, 'GET', '/vpgs/6c8dbb0d-0000-4000-8000-000000000000')).toContain('does not exist');
    expect(await atA.refused(404, 'GET', '/tasks/none')).toContain('task none');
    expect((await atA.call('POST', '/vpgSettings', { text: '{"Basic":' })).status).toBe(400);
    expect(JSON.parse((await atA.call('POST', '/vpgSettings', { text: '[1]' })).text)).toMatchObject({ Message: expect.stringContaining('JSON object') });
    expect(await atA.refused(400, 'POST', '/vpgSettings', { Basic: { RpoInSeconds: 'soon' } })).toContain('RpoInSeconds');
  });

  it('serves an OpenAPI document', async () => {
    const document = await atA.ok<{ openapi: string; paths: Record<string, unknown> }>('GET', '/openapi.json');
    expect(Object.keys(document.paths)).toEqual(expect.arrayContaining(['/v1/vpgs', '/v1/vpgSettings/{sid}/basic', '/v1/vpgs/{vpg}/Failover']));
  });
});

describe('pairing', () => {
  const tokenOf = async (client: RestClient): Promise<string> => (await client.ok<{ Token: string }>('POST', '/peersites/generatetoken')).Token;

  it('refuses an address where no site answers, a token that is none, and its own', async () => {
    const token = await tokenOf(atB);
    expect(await atA.refused(503, 'POST', '/peersites', { HostName: '127.0.0.1', Port: 1, Token: token })).toContain('127.0.0.1:1');
    expect(await atA.refused(400, 'POST', '/peersites', { HostName: '127.0.0.1', Port: b.config.natsPeerPort })).toContain('Token');
    expect(await atA.refused(400, 'POST', '/peersites', { HostName: '127.0.0.1', Port: b.config.natsPeerPort, Token: 'please' })).toContain('token cannot be used');
    expect(await atA.refused(400, 'POST', '/peersites', { HostName: '127.0.0.1', Port: a.config.natsPeerPort, Token: await tokenOf(atA) })).toContain('itself');
  });

  it('joins two sites, and both list each other', async () => {
    const pair = { HostName: '127.0.0.1', Port: b.config.natsPeerPort, Token: await tokenOf(atB) };
    const taskId = await atA.ok<string>('POST', '/peersites', pair);
    expect(taskId).toMatch(/^[0-9a-f-]{36}\.[0-9a-f-]{36}$/);
    expect(await atA.task(taskId)).toMatchObject({ state: COMPLETED });
    expect(await atA.ok<PeerSiteApi[]>('GET', '/peersites')).toMatchObject([{ SiteIdentifier: b.config.siteId, PeerSiteName: 'Site b', PairingStatus: 0 }]);
    expect(await atB.ok<PeerSiteApi[]>('GET', '/peersites')).toMatchObject([{ SiteIdentifier: a.config.siteId, PeerSiteName: 'Site a', PairingStatus: 0 }]);
    expect(await atA.refused(409, 'POST', '/peersites', pair)).toContain('already');
  });

  it('shows the inventory of both sites at both', async () => {
    for (const client of [atA, atB]) {
      expect(await client.ok<Named[]>('GET', `/virtualizationsites/${a.config.siteId}/vms`)).toMatchObject([{ VmName: 'web' }, { VmName: 'db' }, { VmName: 'spare' }]);
      expect(await client.ok<object[]>('GET', `/virtualizationsites/${b.config.siteId}/hosts`)).toHaveLength(2);
      expect(await client.ok<object[]>('GET', `/virtualizationsites/${b.config.siteId}/resourcepools`)).toEqual([]);
    }
    await atA.refused(404, 'GET', '/virtualizationsites/6c8dbb0d-0000-4000-8000-000000000000/vms');
  });
});

describe('VRAs', () => {
  it('are installed through the hypervisor manager, one per host', async () => {
    await Promise.all([installVras(a, atA), installVras(b, atB)]);
    const vras = await atA.ok<{ VraName: string; Status: number; IsConnected: boolean; HostIdentifier: string }[]>('GET', '/vras');
    expect(vras).toMatchObject([{ VraName: 'Z-VRA-a-host1', Status: 0, IsConnected: true }, { VraName: 'Z-VRA-a-host2', Status: 0 }]);
    const { hosts } = await a.hypervisor.inventory();
    const again = { HostIdentifier: hosts[0]?.id, DatastoreIdentifier: hosts[0]?.datastoreIds[0], NetworkIdentifier: hosts[0]?.networkIds[0] };
    expect(await atA.refused(409, 'POST', '/vras', again)).toContain('has a VRA already');
    expect(await atA.refused(404, 'POST', '/vras', { ...again, HostIdentifier: 'no-such-host' })).toContain('no-such-host');
  });

  it('get the running VMs of their host as attached disks', async () => {
    await eventually('both VRAs of site a run their state', async () => {
      const attached = [...plane.vras.values()].filter((vra) => vra.options.siteId === a.config.siteId).map((vra) => vra.state.attachedVms.length);
      return attached.sort().join() === '1,2';
    });
  });
});

describe('the limit of what the site replicates', () => {
  const PATH = '/localsite/settings/throttling';
  const shares = (): number[] => [...plane.vras.values()].filter((vra) => vra.options.siteId === a.config.siteId).map((vra) => vra.state.throttle?.share ?? 0);

  it('is none at first, refused below 5 Mbit/s, and divided over the VRAs of the site', async () => {
    expect(await atA.ok('GET', PATH)).toMatchObject({ BandwidthThrottlingInMBs: -1, Window: null, Status: { EffectiveLimitInMBs: -1, IsThrottled: false } });
    expect(await atA.refused(400, 'PUT', PATH, { BandwidthThrottlingInMBs: 0.5 })).toContain('5 Mbit/s');
    expect(await atA.refused(400, 'PUT', PATH, { BandwidthThrottlingInMBs: 5, Window: { From: '8:00a', To: '18:00', BandwidthThrottlingInMBs: 5 } })).toContain('time of day');
    const window = { From: '00:00', To: '00:00', BandwidthThrottlingInMBs: 2.5 };
    expect(await atA.ok('PUT', PATH, { BandwidthThrottlingInMBs: 10, Window: window })).toMatchObject({ BandwidthThrottlingInMBs: 10, Window: window, Status: { EffectiveLimitInMBs: 2.5 } });
    expect(await atA.ok('GET', '/localsite')).toMatchObject({ BandwidthThrottlingInMBs: 10 });
    await eventually('both VRAs are told', () => Promise.resolve(shares().every((share) => Math.abs(share - 0.5) < 0.01)));
    const [told] = [...plane.vras.values()].filter((vra) => vra.options.siteId === a.config.siteId);
    expect(told?.state.throttle).toMatchObject({ bytesPerSecond: 10_000_000, window: { fromMinute: 0, toMinute: 0, bytesPerSecond: 2_500_000 } });
  });

  it('goes to the VRA that is held back, survives a restart, and is taken back', async () => {
    const [busy] = [...plane.vras.values()].filter((vra) => vra.options.siteId === a.config.siteId);
    if (!busy) throw new Error('no VRA');
    busy.outbound = { bytesPerSecondMax: 1_250_000, bytesPerSecond: 1_250_000, isThrottled: true };
    await eventually('nearly all for the busy one', () => Promise.resolve((busy.state.throttle?.share ?? 0) > 0.95));
    await a.stopZvm();
    await a.startZvm();
    atA = await a.client();
    await eventually('the limit is read again', async () => (await atA.ok<{ BandwidthThrottlingInMBs: number }>('GET', PATH)).BandwidthThrottlingInMBs === 10);
    expect(await atA.ok('PUT', PATH, { BandwidthThrottlingInMBs: 0 })).toMatchObject({ BandwidthThrottlingInMBs: -1 });
    await eventually('no limit at any VRA', () => Promise.resolve(shares().every((share) => share === 0)));
    busy.outbound = { bytesPerSecondMax: null, bytesPerSecond: 0, isThrottled: false };
  });
});

async function draftFor(client: RestClient, vmIds: readonly string[], name: string): Promise<string> {
  const sid = await client.ok<string>('POST', '/vpgSettings', {});
  const basic = await client.ok<Record<string, unknown>>('GET', `/vpgSettings/${sid}/basic`);
  await client.ok('PUT', `/vpgSettings/${sid}/basic`, {
    ...basic, Name: name, ProtectedSiteIdentifier: a.config.siteId, RecoverySiteIdentifier: b.config.siteId, JournalHistoryInHours: 1, RpoInSeconds: 60,
  });
  const inventory = await b.hypervisor.inventory();
  await client.ok('PUT', `/vpgSettings/${sid}/recovery`, {
    DefaultHostIdentifier: inventory.hosts[0]?.id, DefaultDatastoreIdentifier: inventory.datastores[0]?.id, DefaultFolderIdentifier: inventory.folders[0]?.id,
  });
  const network = { Hypervisor: { DefaultNetworkIdentifier: inventory.networks[0]?.id } };
  const isolated = { Hypervisor: { DefaultNetworkIdentifier: inventory.networks[1]?.id } };
  await client.ok('PUT', `/vpgSettings/${sid}/networks`, { Failover: network, FailoverTest: isolated });
  for (const vmId of vmIds) await client.ok('POST', `/vpgSettings/${sid}/vms`, { VmIdentifier: vmId });
  return sid;
}

async function vmIdsOf(...names: string[]): Promise<string[]> {
  const { vms } = await a.hypervisor.inventory();
  return names.map((name) => vms.find((vm) => vm.name === name)?.id ?? '');
}

describe('VPG settings', () => {
  it('gives every section back as its PUT accepts it, nulls included', async () => {
    const sid = await draftFor(atA, await vmIdsOf('web'), 'Round trip');
    const whole = await atA.ok<VpgSettingsApi>('GET', `/vpgSettings/${sid}`);
    for (const section of ['basic', 'bootgroup', 'scripting', 'recovery', 'journal', 'scratch', 'networks', 'ltr']) {
      const before = await atA.ok('GET', `/vpgSettings/${sid}/${section}`);
      await atA.ok('PUT', `/vpgSettings/${sid}/${section}`, before);
      expect(await atA.ok('GET', `/vpgSettings/${sid}/${section}`)).toEqual(before);
    }
    const vmId = whole.Vms?.[0]?.VmIdentifier ?? '';
    for (const path of [`vms/${vmId}`, `vms/${vmId}/volumes/scsi:0:0`, `vms/${vmId}/nics/${whole.Vms?.[0]?.Nics?.[0]?.NicIdentifier ?? ''}`]) {
      const before = await atA.ok('GET', `/vpgSettings/${sid}/${path}`);
      await atA.ok('PUT', `/vpgSettings/${sid}/${path}`, before);
      expect(await atA.ok('GET', `/vpgSettings/${sid}/${path}`)).toEqual(before);
    }
    await atA.ok('PUT', `/vpgSettings/${sid}`, whole);
    const after = await atA.ok<VpgSettingsApi>('GET', `/vpgSettings/${sid}`);
    expect({ ...after, LongTermRetention: null }).toEqual({ ...whole, LongTermRetention: null });
    await atA.ok('DELETE', `/vpgSettings/${sid}`);
    await atA.refused(404, 'GET', `/vpgSettings/${sid}`);
  });

  it('keeps a draft over a restart of the ZVM', async () => {
    const sid = await draftFor(atA, await vmIdsOf('web', 'db'), 'Survivor');
    const before = await atA.ok('GET', `/vpgSettings/${sid}`);
    await a.stopZvm();
    await a.startZvm();
    atA = await a.client();
    expect(await atA.ok('GET', `/vpgSettings/${sid}`)).toEqual(before);
    await atA.ok('DELETE', `/vpgSettings/${sid}`);
    await eventually('site b hears site a again', async () => (await atB.call('GET', `/virtualizationsites/${a.config.siteId}/vms`)).status === 200);
  });

  it('names everything that is wrong at commit, and changes nothing', async () => {
    const sid = await draftFor(atA, await vmIdsOf('web'), 'Bad');
    await atA.refused(404, 'POST', `/vpgSettings/${sid}/vms`, { VmIdentifier: 'no-such-vm' });
    const { datastores } = await b.hypervisor.inventory();
    const refusalFor = async (section: string, body: object): Promise<string> => {
      const before = await atA.ok('GET', `/vpgSettings/${sid}/${section}`);
      await atA.ok('PUT', `/vpgSettings/${sid}/${section}`, body);
      const message = await atA.refused(400, 'POST', `/vpgSettings/${sid}/commit`);
      await atA.ok('PUT', `/vpgSettings/${sid}/${section}`, before);
      return message;
    };
    expect(await refusalFor('recovery', { DefaultDatastoreIdentifier: 'no-such-datastore' })).toContain('no-such-datastore');
    expect(await refusalFor('recovery', { DefaultDatastoreIdentifier: datastores[1]?.id })).toContain('too full');
    expect(await refusalFor('basic', { RecoverySiteIdentifier: '6c8dbb0d-0000-4000-8000-000000000000' })).toMatch(/not paired|this site must be/);
    expect(await refusalFor('basic', { Name: '' })).toContain('name');
    expect(await atA.refused(400, 'PUT', `/vpgSettings/${sid}/ltr`, { Enabled: true })).toContain('not supported');
    expect(await atA.ok('GET', '/vpgs')).toEqual([]);
    await atA.ok('DELETE', `/vpgSettings/${sid}`);
  });
});

describe('the life of a VPG', () => {
  let vpgId = '';
  const vpg = (client: RestClient): Promise<VpgApi> => client.ok<VpgApi>('GET', `/vpgs/${vpgId}`);

  it('is created from the protected site and shown at both under one id', async () => {
    const sid = await draftFor(atA, await vmIdsOf('web', 'db'), 'App');
    const taskId = await atA.ok<string>('POST', `/vpgSettings/${sid}/commit`);
    expect(await atA.task(taskId)).toMatchObject({ state: COMPLETED });
    const [created] = await atA.ok<VpgApi[]>('GET', '/vpgs?name=app');
    vpgId = created?.VpgIdentifier ?? '';
    expect(await vpg(atB)).toMatchObject({ VpgName: 'App', VmsCount: 2, SourceSite: 'Site a', TargetSite: 'Site b' });
    await atA.refused(404, 'GET', `/vpgSettings/${sid}`);
    expect(await atA.ok<Named[]>('GET', `/virtualizationsites/${a.config.siteId}/vms`)).toMatchObject([{ VmName: 'spare' }]);
    expect(await atB.ok<object[]>('GET', `/vms?vpgName=App`)).toHaveLength(2);
  });

  it('meets its service level once checkpoints come, with the same list at both sites', async () => {
    await eventually('MeetingSLA at both sites', async () => (await vpg(atA)).Status === 1 && (await vpg(atB)).Status === 1);
    const rpo = (await vpg(atA)).ActualRPO;
    expect(rpo).toBeLessThan(10);
    await eventually('several checkpoints', async () => (await atB.ok<object[]>('GET', `/vpgs/${vpgId}/checkpoints`)).length > 1);
    plane.isPaused = true;
    await eventually('equal lists', async () => {
      const [there, here] = await Promise.all([atB, atA].map((client) => client.ok<{ CheckpointIdentifier: string }[]>('GET', `/vpgs/${vpgId}/checkpoints`)));
      return there !== undefined && there.length > 1 && JSON.stringify(there) === JSON.stringify(here);
    });
    plane.isPaused = false;
  });

  it('refuses a VM that is protected to that site already, and a name that is taken', async () => {
    const sid = await draftFor(atB, await vmIdsOf('web'), 'App');
    const message = await atB.refused(400, 'POST', `/vpgSettings/${sid}/commit`);
    expect(message).toContain('already protected');
    expect(message).toContain("named 'App' exists");
    await atB.ok('DELETE', `/vpgSettings/${sid}`);
  });

  it('lists a tagged checkpoint at both sites when its task is completed', async () => {
    const taskId = await atA.ok<string>('POST', `/vpgs/${vpgId}/checkpoints`, { CheckpointName: 'before the upgrade' });
    expect(await atA.task(taskId)).toMatchObject({ state: COMPLETED, reason: expect.stringContaining('both sites') });
    for (const client of [atA, atB]) {
      const checkpoints = await client.ok<{ Tag: string | null; Type: number }[]>('GET', `/vpgs/${vpgId}/checkpoints`);
      expect(checkpoints.filter(({ Tag }) => Tag === 'before the upgrade')).toMatchObject([{ Type: 1 }]);
    }
  });

  it('is compared with the recovery site on request, from either site', async () => {
    const forced = (): string[] => [...plane.vras.values()].flatMap((vra) => vra.forcedVmIds);
    for (const [round, client] of [atA, atB].entries()) {
      const taskId = await client.ok<string>('POST', `/vpgs/${vpgId}/forcesync`);
      expect(await client.task(taskId)).toMatchObject({ state: COMPLETED, reason: expect.stringContaining('compared') });
      expect(forced()).toHaveLength(2 * (round + 1));
    }
  });

  it('is paused and resumed, and says so at both sites', async () => {
    const steer = async (client: RestClient, verb: 'pause' | 'resume'): Promise<void> => {
      expect(await client.task(await client.ok<string>('POST', `/vpgs/${vpgId}/${verb}`))).toMatchObject({ state: COMPLETED });
    };
    const paused = (): boolean[] => [...plane.vras.values()].flatMap((vra) => vra.state?.protections.map(({ isPaused }) => isPaused === true) ?? []);
    await steer(atA, 'pause');
    await eventually('the VRAs are told', () => Promise.resolve(paused().length > 0 && paused().every(Boolean)));
    for (const client of [atA, atB]) expect((await vpg(client)).SubStatus).toBe(25);
    expect(await atB.refused(409, 'POST', `/vpgs/${vpgId}/forcesync`)).toContain('paused');
    await steer(atB, 'resume');
    await eventually('the VRAs are told', () => Promise.resolve(!paused().some(Boolean)));
    expect(await atB.refused(409, 'POST', `/vpgs/${vpgId}/resume`)).toContain('not paused');
  });

  it('is tested while protection goes on, and the tested checkpoint says so', async () => {
    const { Latest } = await atA.ok<{ Latest: { CheckpointIdentifier: string } }>('GET', `/vpgs/${vpgId}/checkpoints/stats`);
    const started = await atA.ok<string>('POST', `/vpgs/${vpgId}/failovertest`, { CheckpointIdentifier: Latest.CheckpointIdentifier });
    expect(await atA.task(started)).toMatchObject({ state: COMPLETED });
    const testVms = (await b.hypervisor.inventory()).vms;
    expect(testVms.map((vm) => [vm.name, vm.powerState]).sort()).toEqual([['db - testing recovery', 'poweredOn'], ['web - testing recovery', 'poweredOn']]);
    expect(testVms.flatMap((vm) => vm.disks.map((disk) => disk.isFile))).toEqual([false, false, false, false]);
    expect((await vpg(atA)).ActiveProcessesApi).toEqual({ RunningFailOverTestApi: { Stage: 'Running' } });
    expect(await atB.refused(409, 'POST', `/vpgs/${vpgId}/FailoverTest`, {})).toContain('under way');
    expect(await atB.refused(409, 'POST', `/vpgs/${vpgId}/Failover`, {})).toContain('stop it first');
    expect(await atB.refused(409, 'DELETE', `/vpgs/${vpgId}`, {})).toContain('failover test');
    const stopped = await atB.ok<string>('POST', `/vpgs/${vpgId}/FailoverTestStop`, { FailoverTestSuccess: true, FailoverTestSummary: 'ok' });
    expect(await atB.task(stopped)).toMatchObject({ state: COMPLETED });
    expect((await b.hypervisor.inventory()).vms).toEqual([]);
    expect([...plane.vras.values()].flatMap((vra) => [...vra.views.keys()])).toEqual([]);
    await eventually('the tested checkpoint is tagged at both sites', async () => {
      const lists = await Promise.all([atA, atB].map((client) => client.ok<{ CheckpointIdentifier: string; Tag: string | null }[]>('GET', `/vpgs/${vpgId}/checkpoints`)));
      return lists.every((list) => list.find((one) => one.CheckpointIdentifier === Latest.CheckpointIdentifier)?.Tag?.includes('Tested at'));
    });
    expect((await vpg(atB)).LastTest).not.toBeNull();
  });

  it('refuses what cannot be', async () => {
    expect(await atA.refused(409, 'POST', `/vpgs/${vpgId}/FailoverCommit`, {})).toContain('no failover');
    expect(await atA.refused(409, 'POST', `/vpgs/${vpgId}/FailoverRollback`)).toContain('no failover');
    expect(await atA.refused(409, 'POST', `/vpgs/${vpgId}/FailoverTestStop`)).toContain('no failover test');
    expect(await atA.refused(404, 'POST', `/vpgs/${vpgId}/Failover`, { CheckpointIdentifier: '999999999' })).toContain('999999999');
    expect(await atA.refused(400, 'POST', `/vpgs/${vpgId}/Failover`, { CheckpointIdentifier: 'latest' })).toContain('not a checkpoint identifier');
    expect(await atA.refused(400, 'POST', `/vpgs/${vpgId}/Failover`, { CommitPolicy: 7 })).toContain('CommitPolicy');
  });

  it('fails over with the protected site gone, is rolled back by its policy, and goes on protecting', async () => {
    await a.stopZvm();
    await eventually('site b has noticed', async () => (await vpg(atB)).SubStatus === 24);
    const started = await atB.ok<string>('POST', `/vpgs/${vpgId}/Failover`, { CommitPolicy: 0, TimeToWaitBeforeShutdownInSec: 3, ShutdownPolicy: 2 });
    expect(await atB.task(started)).toMatchObject({ state: COMPLETED });
    expect(await vpg(atB)).toMatchObject({ Status: 5, SubStatus: 15 });
    const reserved = [...plane.vras.values()].flatMap((vra) => [...vra.recoveries.values()].map((recovery) => recovery.reservedEpoch));
    expect(reserved).toEqual([2, 2]);
    expect((await b.hypervisor.inventory()).vms.map((vm) => vm.powerState)).toEqual(['poweredOn', 'poweredOn']);
    await eventually('rolled back by policy', async () => (await b.hypervisor.inventory()).vms.length === 0 && (await vpg(atB)).Status !== 5);
    await a.startZvm();
    atA = await a.client();
    await eventually('MeetingSLA again', async () => (await vpg(atA)).Status === 1 && (await vpg(atB)).Status === 1);
  });

  it('raises the alerts of a VRA whose clocks contradict each other, of a silent VRA and of a silent site, and clears them by itself', async () => {
    const alertIds = async (client: RestClient): Promise<string[]> => (await client.ok<{ HelpIdentifier: string }[]>('GET', '/alerts')).map((alert) => alert.HelpIdentifier).sort();
    const recovering = [...plane.vras.values()].find((vra) => vra.recoveries.size > 0);
    if (recovering) recovering.clockDoubt = { byMs: 3 * 86_400_000, atMs: Date.now(), endsInMs: 3_600_000 };
    await eventually('the alert of its clocks', async () => (await alertIds(atB)).join() === 'TDM0003', 30_000);
    if (recovering) recovering.clockDoubt = null;
    await recovering?.silence();
    await a.stopZvm();
    await eventually('both alerts', async () => (await alertIds(atB)).join() === 'ZVM0002,ZVM0003', 30_000);
    recovering?.start();
    await a.startZvm();
    atA = await a.client();
    await eventually('no alert', async () => (await alertIds(atB)).length === 0, 30_000);
    const events = await atB.ok<{ EventType: number }[]>('GET', '/events?category=Alerts');
    expect(events.map((event) => event.EventType).sort()).toEqual(expect.arrayContaining([47, 47, 48, 48]));
  });

  it('notes each operation down as an event, once, with who asked for it', async () => {
    const tasks = (await atB.ok<{ TaskIdentifier: string; Status: { State: number }; CompleteReason: string }[]>('GET', '/tasks')).filter((task) => task.TaskIdentifier.startsWith(b.config.siteId));
    const events = await atB.ok<{ EventIdentifier: string; Description: string; UserName: string; EventCompletedSuccessfully: boolean }[]>('GET', '/events?category=Events');
    expect(tasks.length).toBeGreaterThan(1);
    for (const task of tasks.filter(({ Status }) => Status.State === COMPLETED || Status.State === FAILED)) {
      const of = events.filter(({ EventIdentifier }) => task.TaskIdentifier.endsWith(`.${EventIdentifier}`));
      expect(of).toEqual([expect.objectContaining({ Description: task.CompleteReason, EventCompletedSuccessfully: task.Status.State === COMPLETED })]);
      expect(of[0]?.UserName).toMatch(/admin|System/);
    }
  });

  it('goes on with a failover whose ZVM was stopped in the middle, and says so in the task', async () => {
    await eventually('MeetingSLA', async () => (await vpg(atB)).Status === 1);
    const recovering = [...plane.vras.values()].find((vra) => vra.recoveries.size > 0);
    const before = recovering?.commands.length ?? 0;
    await recovering?.silence();
    const taskId = await atB.ok<string>('POST', `/vpgs/${vpgId}/Failover`, {});
    await b.stopZvm();
    recovering?.start();
    await b.startZvm();
    atB = await b.client();
    expect(await atB.task(taskId)).toMatchObject({ state: COMPLETED, reason: expect.stringContaining('restart') });
    expect(recovering?.commands.slice(before).filter((command) => command === 'view.open').length).toBeGreaterThanOrEqual(2);
    expect((await b.hypervisor.inventory()).vms).toHaveLength(2);
    await eventually('waiting for commit at both sites', async () => (await vpg(atB)).SubStatus === 15 && (await vpg(atA)).SubStatus === 15);
  });

  it('is committed from the protected site: the recovered disks become files, the old streams end', async () => {
    const taskId = await atA.ok<string>('POST', `/vpgs/${vpgId}/FailoverCommit`, {});
    expect(await atA.task(taskId)).toMatchObject({ state: COMPLETED });
    await eventually('NeedsConfiguration at both sites', async () => (await vpg(atB)).SubStatus === 7 && (await vpg(atA)).SubStatus === 7);
    const recovered = (await b.hypervisor.inventory()).vms;
    expect(recovered.flatMap((vm) => vm.disks.map((disk) => disk.isFile))).toEqual([true, true, true, true]);
    const vras = [...plane.vras.values()];
    await eventually('nothing is recovered or shown any more', () => Promise.resolve(vras.every((vra) => vra.recoveries.size === 0 && vra.views.size === 0)));
    await eventually('the old streams end', () => Promise.resolve(vras.every((vra) => vra.state.protections.length === 0)));
    expect(await atB.ok('GET', `/vpgs/${vpgId}/checkpoints`)).toEqual([]);
    const promotionState = async (): Promise<number | undefined> => (await atB.ok<{ Status: { State: number } }[]>('GET', '/tasks?type=HandleMirrorPromotion'))[0]?.Status.State;
    await eventually('its task says so', async () => (await promotionState()) === COMPLETED);
  });

  it('is deleted at both sites', async () => {
    const taskId = await atA.ok<string>('DELETE', `/vpgs/${vpgId}`, { KeepRecoveryVolumes: true });
    expect(await atA.task(taskId)).toMatchObject({ state: COMPLETED });
    await eventually('gone at both sites', async () => (await atA.ok<object[]>('GET', '/vpgs')).length + (await atB.ok<object[]>('GET', '/vpgs')).length === 0);
  });
});

describe('a VPG whose recovery site is gone', () => {
  it('is deleted at the protected site by force only, and the other site learns it when it is back', async () => {
    await atA.ok('PUT', `/peersites/${b.config.siteId}`, { CanProtectVms: true });
    const sid = await draftFor(atB, await vmIdsOf('spare'), 'Orphan');
    expect(await atB.task(await atB.ok<string>('POST', `/vpgSettings/${sid}/commit`))).toMatchObject({ state: COMPLETED });
    const [created] = await atB.ok<VpgApi[]>('GET', '/vpgs');
    const path = `/vpgs/${created?.VpgIdentifier ?? ''}`;
    await eventually('it is protected', async () => (await atA.ok<VpgApi>('GET', path)).Status === 1);
    await b.stopZvm();
    await eventually('site a has noticed', async () => (await atA.ok<VpgApi>('GET', path)).SubStatus === 24);
    expect(await atA.refused(409, 'DELETE', path, {})).toMatch(/Site b does not answer.*both sites run its VMs.*Force/i);
    expect(await atA.task(await atA.ok<string>('DELETE', path, { Force: true }))).toMatchObject({ state: COMPLETED });
    expect(await atA.ok('GET', '/vpgs')).toEqual([]);
    await eventually('nothing is sent any more', () => Promise.resolve([...plane.vras.values()].every((vra) => vra.state.protections.length === 0)));
    await b.startZvm();
    atB = await b.client();
    await eventually('site b says what happened', async () => (await atB.ok<VpgApi>('GET', path)).SubStatusDescription?.includes('by force'));
    expect(await atA.ok('GET', '/vpgs')).toEqual([]);
    expect(await atB.task(await atB.ok<string>('DELETE', path, {}))).toMatchObject({ state: COMPLETED });
    expect([...plane.vras.values()].flatMap((vra) => [...vra.recoveries.keys()])).toEqual([]);
    const again = await draftFor(atA, await vmIdsOf('spare'), 'Orphan');
    expect(await atA.task(await atA.ok<string>('POST', `/vpgSettings/${again}/commit`))).toMatchObject({ state: COMPLETED });
    const [second] = await eventually('both list the new one only', async () => {
      const lists = await Promise.all([atA, atB].map((client) => client.ok<VpgApi[]>('GET', '/vpgs')));
      return lists.every((list) => list.length === 1) ? lists[0] : undefined;
    });
    expect(await atB.task(await atB.ok<string>('DELETE', `/vpgs/${second?.VpgIdentifier ?? ''}`, {}))).toMatchObject({ state: COMPLETED });
  });
});

describe('without its database', () => {
  it('answers 503 and recovers by itself', async () => {
    await postgres.kill();
    expect(await atA.refused(503, 'GET', '/localsite')).toContain('database');
    await postgres.start();
    await eventually('answers again', async () => (await atA.call('GET', '/localsite')).status === 200);
    expect(FAILED).toBe(4);
  });
});

describe('a ZVM that starts before everything else', () => {
  it('listens, answers 503 with a Message, and does its work when the others are there', async () => {
    await a.stopZvm();
    await postgres.kill();
    await a.nats.kill();
    await a.startZvm();
    const stranger = new RestClient(a.zvm?.url ?? '', 'any');
    expect((await stranger.call('GET', '/')).status).toBe(200);
    const refused = await stranger.logIn();
    expect([refused.status, JSON.parse(refused.text)]).toEqual([503, { Message: expect.stringContaining('database') }]);
    await a.nats.start();
    await postgres.start();
    atA = await a.client();
    await eventually('the VRAs are heard again', async () => {
      const vras = await atA.ok<{ IsConnected: boolean }[]>('GET', '/vras');
      return vras.length === 2 && vras.every((vra) => vra.IsConnected);
    });
  });
});

describe('unpairing', () => {
  it('ends at both sites', async () => {
    await eventually('the sites hear each other', async () => (await atA.call('GET', `/virtualizationsites/${b.config.siteId}/vms`)).status === 200);
    const taskId = await atA.ok<string>('DELETE', `/peersites/${b.config.siteId}`, { IsKeepTargetDisks: true });
    expect(await atA.task(taskId)).toMatchObject({ state: COMPLETED });
    expect(await atA.ok<object[]>('GET', '/peersites')).toEqual([]);
    await eventually('the other site has let go too', async () => (await atB.ok<object[]>('GET', '/peersites')).length === 0);
  });
});
