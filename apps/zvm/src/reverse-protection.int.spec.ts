import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { VpgApi } from '@tidemark/contracts';
import type { FakeRecovery } from './testing/fake-vra.js';
import { PairedSites } from './testing/paired-sites.js';
import { eventually } from './testing/test-site.js';

let sites: PairedSites;

beforeAll(async () => {
  sites = await PairedSites.open(['web', 'db']);
}, 120_000);
afterAll(async () => await sites?.close());

const recoveriesAt = (siteId: string): FakeRecovery[] =>
  [...sites.plane.vras.values()].filter((vra) => vra.options.siteId === siteId).flatMap((vra) => [...vra.recoveries.values()]);
const directionOf = (vpg: VpgApi): string => `${vpg.SourceSite ?? ''} to ${vpg.TargetSite ?? ''}`;

describe('reverse protection', () => {
  let vpgId: string;
  let oldVolumes: string[];

  it('is asked for at the commit with the old site dead, waits for it, and says that nothing is protected', async () => {
    vpgId = await sites.protect('App', ['web', 'db']);
    oldVolumes = (await sites.a.hypervisor.inventory()).vms.flatMap((vm) => vm.disks.map(({ location }) => location));
    await sites.a.stopZvm();
    await eventually('site b has noticed', async () => (await sites.vpg(sites.atB, vpgId)).SubStatus === 24);
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/Failover`, { IsReverseProtection: true });
    expect(await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverCommit`, {})).toContain('other direction');
    const waiting = await eventually('it waits for the old site', async () => {
      const vpg = await sites.vpg(sites.atB, vpgId);
      return vpg.SubStatus === 10 && vpg;
    });
    expect(waiting).toMatchObject({ Status: 2, SubStatusDescription: expect.stringContaining('not protected') });
  });

  it('goes on after a restart of the waiting ZVM, takes over when the old site is back, and uses the old disks', async () => {
    await sites.restartZvm('b');
    const before = (await sites.b.hypervisor.inventory()).vms;
    await sites.startZvm('a');
    await sites.untilProtected(vpgId);
    for (const client of [sites.atA, sites.atB]) expect(directionOf(await sites.vpg(client, vpgId))).toBe('Site b to Site a');
    const volumes = recoveriesAt(sites.a.config.siteId).flatMap(({ spec }) => spec.volumes);
    expect(volumes.map(({ mirrorPath, isPreseeded }) => [mirrorPath, isPreseeded]).sort()).toEqual(oldVolumes.map((path) => [path, true]).sort());
    expect(recoveriesAt(sites.a.config.siteId).map(({ epoch }) => epoch)).toEqual([3, 3]);
    expect(recoveriesAt(sites.b.config.siteId)).toEqual([]);
    expect((await sites.a.hypervisor.inventory()).vms).toEqual([]);
    expect((await sites.b.hypervisor.inventory()).vms.map(({ id, powerState }) => [id, powerState])).toEqual(before.map(({ id }) => [id, 'poweredOn']));
  });

  it('checkpoints are made in the new direction, and the settings can be edited as they are shown', async () => {
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/checkpoints`, { CheckpointName: 'turned' });
    for (const client of [sites.atA, sites.atB]) {
      expect((await client.ok<{ Tag: string | null }[]>('GET', `/vpgs/${vpgId}/checkpoints`)).map(({ Tag }) => Tag)).toContain('turned');
    }
    const draft = await sites.atB.ok<string>('POST', '/vpgSettings', { VpgIdentifier: vpgId });
    await sites.done(sites.atB, 'POST', `/vpgSettings/${draft}/commit`);
    const volumes = recoveriesAt(sites.a.config.siteId).flatMap(({ spec }) => spec.volumes.map(({ mirrorPath }) => mirrorPath));
    expect(volumes.sort()).toEqual([...oldVolumes].sort());
  });

  it('a record of the old direction is refused by the site that decides now', async () => {
    expect(await sites.atB.refused(409, 'POST', `/vpgs/${vpgId}/FailoverCommit`, {})).toContain('no failover');
    expect(directionOf(await sites.vpg(sites.atA, vpgId))).toBe('Site b to Site a');
  });

  it('fails back and turns round once more, with the ZVM of the old site restarted while it takes over', async () => {
    await sites.done(sites.atA, 'POST', `/vpgs/${vpgId}/Failover`, { ShutdownPolicy: 2 });
    const vras = [...sites.plane.vras.values()].filter((vra) => vra.options.siteId === sites.b.config.siteId);
    await sites.done(sites.atA, 'POST', `/vpgs/${vpgId}/FailoverCommit`, { IsReverseProtection: true });
    await Promise.all(vras.map((vra) => vra.silence()));
    await eventually('site b takes over and meets a silent VRA', async () => (await sites.b.hypervisor.inventory()).vms.length === 0);
    await sites.restartZvm('b');
    for (const vra of vras) vra.start();
    await sites.untilProtected(vpgId);
    expect(directionOf(await sites.vpg(sites.atB, vpgId))).toBe('Site a to Site b');
    expect(recoveriesAt(sites.a.config.siteId)).toEqual([]);
    expect(recoveriesAt(sites.b.config.siteId).map(({ epoch }) => epoch)).toEqual([5, 5]);
    const located = (await sites.a.hypervisor.inventory()).vms.flatMap((vm) => vm.disks.map(({ location }) => location));
    expect(located.sort()).toEqual([...oldVolumes].sort());
  });

  const powerAt = async (site: 'a' | 'b'): Promise<string[]> => (await sites[site].hypervisor.inventory()).vms.map(({ powerState }) => powerState);

  it('a move whose VM writes on behind the last checkpoint is undone, and production runs again', async () => {
    const [writer = ''] = (await sites.a.hypervisor.inventory()).vms.map(({ id }) => id);
    for (const vra of sites.plane.vras.values()) vra.unsettledVmIds.add(writer);
    const { state, reason } = await sites.atB.task(await sites.atB.ok<string>('POST', `/vpgs/${vpgId}/Move`, {}));
    expect([state, reason]).toEqual([4, expect.stringContaining('has written')]);
    expect([await powerAt('a'), await powerAt('b')]).toEqual([['poweredOn', 'poweredOn'], []]);
    for (const vra of sites.plane.vras.values()) vra.unsettledVmIds.clear();
    await sites.untilProtected(vpgId);
  });

  it('a move is refused for what would not be done, runs until commit or rollback, and is rolled back', async () => {
    expect(await sites.atA.refused(400, 'POST', `/vpgs/${vpgId}/Move`, { ReverseProtection: true, KeepSourceVms: true })).toContain('choose one');
    expect(await sites.atA.refused(400, 'POST', `/vpgs/${vpgId}/Move`, { KeepSourceVms: false })).toContain('powered off');
    await sites.done(sites.atA, 'POST', `/vpgs/${vpgId}/Move`, { ForceShutdown: true });
    expect(await sites.vpg(sites.atB, vpgId)).toMatchObject({ Status: 6, SubStatus: 19 });
    expect([await powerAt('a'), await powerAt('b')]).toEqual([['poweredOff', 'poweredOff'], ['poweredOn', 'poweredOn']]);
    expect(await sites.atB.refused(409, 'POST', `/vpgs/${vpgId}/FailoverCommit`, {})).toContain('MoveCommit');
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/moveRollback`);
    expect([await powerAt('a'), await powerAt('b')]).toEqual([['poweredOn', 'poweredOn'], []]);
    await sites.untilProtected(vpgId);
  });

  it('a move with reverse protection tells both sides what the old disks were, and goes on over a restart of the moving ZVM', async () => {
    const taskId = await sites.atB.ok<string>('POST', `/vpgs/${vpgId}/Move`, { ReverseProtection: true });
    await sites.restartZvm('b');
    expect(await sites.atB.task(taskId)).toMatchObject({ state: 6 });
    const tasks = await sites.atB.ok<{ TaskIdentifier: string }[]>('GET', '/tasks?type=Move');
    expect(tasks.map(({ TaskIdentifier }) => TaskIdentifier)).toContain(taskId);
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/MoveCommit`, {});
    await sites.untilProtected(vpgId);
    expect(directionOf(await sites.vpg(sites.atA, vpgId))).toBe('Site b to Site a');
    const protections = await eventually('the VRAs of site b protect', () => {
      const found = [...sites.plane.vras.values()].flatMap((vra) => vra.state.protections);
      return Promise.resolve(found.length === 2 && found);
    });
    for (const { spec } of recoveriesAt(sites.a.config.siteId)) {
      expect(spec.basis?.fingerprints.every((fingerprint) => fingerprint.startsWith('rest of '))).toBe(true);
      expect(protections.find(({ vmId }) => vmId === spec.vmId)?.basisId).toBe(spec.basis?.basisId);
    }
    await sites.done(sites.atA, 'POST', `/vpgs/${vpgId}/Move`, { ReverseProtection: true, CommitPolicy: 1, CommitPolicyTimeout: 0 });
    await eventually('committed by its policy, and back again', async () => directionOf(await sites.vpg(sites.atB, vpgId)) === 'Site a to Site b');
    await sites.untilProtected(vpgId);
  });

  it('can be deleted while it waits, and the VMs run on', async () => {
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/Failover`, { IsReverseProtection: true });
    await sites.a.stopZvm();
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverCommit`, {});
    await eventually('it waits', async () => (await sites.vpg(sites.atB, vpgId)).SubStatus === 10);
    await sites.done(sites.atB, 'DELETE', `/vpgs/${vpgId}`, { Force: true });
    expect((await sites.b.hypervisor.inventory()).vms.map(({ powerState }) => powerState)).toEqual(['poweredOn', 'poweredOn']);
    await eventually('the task says why it ended', async () => {
      const tasks = await sites.atB.ok<{ Status: { State: number }; CompleteReason: string }[]>('GET', '/tasks?type=ActivateAllMirrors');
      return tasks.some(({ Status, CompleteReason }) => Status.State === 4 && CompleteReason.includes('deleted'));
    });
  });
});
