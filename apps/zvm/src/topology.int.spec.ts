import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PeerLinkService } from './peer/peer-link.service.js';
import { PairedSites } from './testing/paired-sites.js';
import { eventually } from './testing/test-site.js';
import type { VpgRecord } from './vpg/vpg-model.js';
import { VmHostStore } from './vpg/vm-host.store.js';
import { VpgStore } from './vpg/vpg.store.js';

let sites: PairedSites;
let vpgId: string;

beforeAll(async () => {
  sites = await PairedSites.open(['web', 'db']);
  vpgId = await sites.protect('App', ['web']);
}, 120_000);
afterAll(async () => await sites?.close());

const listed = async (): Promise<number[]> => [(await sites.atA.ok<object[]>('GET', '/vpgs')).length, (await sites.atB.ok<object[]>('GET', '/vpgs')).length];

describe('what happens while a manager is down', () => {
  it('a tagged checkpoint is refused within two seconds, with what to do instead', async () => {
    const web = (await sites.a.hypervisor.inventory()).vms.find(({ name }) => name === 'web');
    await eventually('site a has written down where the VM runs', () => Promise.resolve(sites.a.zvm?.app.get(VmHostStore).find(vpgId, web?.id ?? '')));
    await sites.a.stopZvm();
    await eventually('site b has noticed', async () => (await sites.vpg(sites.atB, vpgId)).SubStatus === 24);
    const startedMs = performance.now();
    expect(await sites.atB.refused(409, 'POST', `/vpgs/${vpgId}/checkpoints`, { CheckpointName: 'now' })).toContain('use an automatic one');
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });

  it('a VM that has moved to another host meanwhile is noticed at the start, and its new host protects it', async () => {
    const { vms, hosts } = await sites.a.hypervisor.inventory();
    const web = vms.find(({ name }) => name === 'web');
    const target = hosts.find(({ id }) => id !== web?.hostId);
    await sites.a.hypervisor.migrateVm(web?.id ?? '', { hostId: target?.id ?? '' });
    await sites.startZvm('a');
    const moved = async (): Promise<string[]> => (await sites.atA.ok<{ Description: string }[]>('GET', '/events')).map(({ Description }) => Description).filter((text) => text.startsWith("VM 'web' moved"));
    expect(await eventually('the move is noticed', async () => (await moved())[0])).toContain(`to host ${target?.name ?? ''}`);
    await eventually('the VRA of the new host protects it', () => {
      const vra = [...sites.plane.vras.values()].find(({ options }) => options.hostId === target?.id);
      return Promise.resolve(vra?.state.protections.some((protection) => protection.vmId === web?.id));
    });
    await sites.restartZvm('a');
    await sites.untilProtected(vpgId);
    expect(await moved()).toHaveLength(1);
  });

  it('an edit during a failover test is refused with what to do first', async () => {
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverTest`);
    const draft = await sites.atB.ok<string>('POST', '/vpgSettings', { VpgIdentifier: vpgId });
    expect(await sites.atB.refused(409, 'POST', `/vpgSettings/${draft}/commit`)).toContain('stop the test first');
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverTestStop`);
    await sites.done(sites.atB, 'POST', `/vpgSettings/${draft}/commit`);
  });

  it('a preseeded disk that the recovering VRA cannot use is refused at the commit, and nothing is made', async () => {
    const { vms } = await sites.a.hypervisor.inventory();
    const [atRecovery, db] = [await sites.b.hypervisor.inventory(), vms.find(({ name }) => name === 'db')];
    const draft = `/vpgSettings/${await sites.atA.ok<string>('POST', '/vpgSettings', {})}`;
    await sites.atA.ok('PUT', `${draft}/basic`, { ...(await sites.atA.ok<object>('GET', `${draft}/basic`)), Name: 'Seeded', ProtectedSiteIdentifier: sites.a.config.siteId, RecoverySiteIdentifier: sites.b.config.siteId });
    await sites.atA.ok('PUT', `${draft}/recovery`, { DefaultHostIdentifier: atRecovery.hosts[0]?.id, DefaultDatastoreIdentifier: atRecovery.datastores[0]?.id });
    await sites.atA.ok('POST', `${draft}/vms`, { VmIdentifier: db?.id });
    const volume = `${draft}/vms/${db?.id ?? ''}/volumes/scsi:0:0`;
    await sites.atA.ok('PUT', volume, { ...(await sites.atA.ok<object>('GET', volume)), Preseed: { DatastoreIdentifier: atRecovery.datastores[0]?.id, Path: 'broken.raw' } });
    expect(await sites.atA.refused(400, 'POST', `${draft}/commit`)).toMatch(/Preseed of disk scsi:0:0 of 'db': .*broken\.raw has 1 bytes/);
    expect(await listed()).toEqual([1, 1]);
  });

  it('a VPG that was deleted by force is not brought back by the site that was away, nor by what it says later', async () => {
    const record = sites.b.zvm?.app.get(VpgStore).find(vpgId) as VpgRecord;
    await sites.a.stopZvm();
    await eventually('site b has noticed', async () => (await sites.vpg(sites.atB, vpgId)).SubStatus === 24);
    await sites.done(sites.atB, 'DELETE', `/vpgs/${vpgId}`, { Force: true });
    await sites.startZvm('a');
    await eventually('site a has let go of it', async () => (await sites.atA.ok<object[]>('GET', '/vpgs')).length === 0);
    await sites.restartZvm('a');
    const put = sites.b.zvm?.app.get(PeerLinkService).ask(sites.a.config.siteId, 'vpg.put', { record: { ...record, generation: record.generation + 50 } });
    await expect(put).rejects.toThrow('was deleted at this site');
    await sites.restartZvm('b');
    await eventually('both hear each other', async () => (await sites.atB.call('GET', `/virtualizationsites/${sites.a.config.siteId}/vms`)).status === 200);
    expect(await listed()).toEqual([0, 0]);
  });
});
