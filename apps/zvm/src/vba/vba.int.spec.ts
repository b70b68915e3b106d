import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { AlertApi, CheckpointVerificationApi, PinPutV1, VbaApi, VbaTokenApi, ViewOpenV1 } from '@tidemark/contracts';
import { inboxNameOf, subjectOf } from '@tidemark/contracts';
import { ControlBus, enrol, ownBrokerAccess, renewIdentity } from '@tidemark/nest';
import type { ComponentIdentity } from '@tidemark/trust';
import { TrustBundle } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Database } from '../persistence/database.js';
import { FakeVba } from '../testing/fake-vba.js';
import { PairedSites, TASK_COMPLETED } from '../testing/paired-sites.js';
import { temporaryFolder } from '../testing/servers.js';
import { eventually, type TestSite } from '../testing/test-site.js';

const MIB = 1024 * 1024;
const TASK_FAILED = 4;
const WISH = { VbaName: 'backup', HostIdentifier: 'backup-host', IpAddress: '127.0.9.9' };

let sites: PairedSites;
let site: TestSite;
let folder: string;

beforeAll(async () => {
  sites = await PairedSites.open(['web']);
  site = sites.b;
  folder = await temporaryFolder('vba');
}, 120_000);
afterAll(async () => {
  await sites?.close();
  await rm(folder, { recursive: true, force: true });
}, 60_000);

/** Of the site with the VBA, as of its last start. */
const client = { ok: async <T>(method: string, path: string, body?: unknown): Promise<T> => await sites.atB.ok<T>(method, path, body) };

interface Enrolled {
  readonly vbaId: string;
  readonly identity: ComponentIdentity;
  readonly bus: ControlBus;
}

const enrolOptions = (token: string, instanceId: string) => ({ token, role: 'vba' as const, siteId: site.config.siteId, instanceId, hostId: WISH.HostIdentifier, folder: join(folder, instanceId) });

const busOf = (identity: ComponentIdentity, vbaId: string): ControlBus =>
  new ControlBus({ url: site.config.natsUrl, name: `vba ${vbaId}`, access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vba', vbaId })) });

async function enrolled(): Promise<Enrolled> {
  const { VbaIdentifier: vbaId, Token: token } = await client.ok<VbaTokenApi>('POST', '/vbas', WISH);
  const identity = await enrol(enrolOptions(token, vbaId));
  const bus = busOf(identity, vbaId);
  await eventually('it is connected', async () => Promise.resolve(bus.isConnected));
  return { vbaId, identity, bus };
}

const remove = async (vbaId: string): Promise<string> => await sites.done(sites.atB, 'DELETE', `/vbas/${vbaId}`);
const certificateOf = (identity: ComponentIdentity): X509Certificate => new X509Certificate(identity.current().certificatePem);

/** As the VRAs judge after what the ZVM has told them: what 9180 goes by. */
const isBelieved = (certificate: X509Certificate): boolean[] => [...sites.plane.vras.values()].map(({ state }) => new TrustBundle(state.trust.sites).identify(certificate) !== undefined);

describe('a VBA that is added', () => {
  it('is the only one of its name and host, and wants a host id that can be one', async () => {
    const { VbaIdentifier: vbaId } = await client.ok<VbaTokenApi>('POST', '/vbas', WISH);
    for (const wrong of [WISH, { ...WISH, HostIdentifier: 'other' }, { ...WISH, VbaName: 'other' }]) await sites.atB.refused(409, 'POST', '/vbas', wrong);
    await sites.atB.refused(400, 'POST', '/vbas', { VbaName: 'x', HostIdentifier: 'a b', IpAddress: '127.0.0.1' });
    expect(await client.ok<VbaApi[]>('GET', '/vbas')).toMatchObject([{ VbaIdentifier: vbaId, VbaName: 'backup', IsConnected: false, IsBeingRemoved: false, VbaVersion: null }]);
    await remove(vbaId);
    expect((await sites.atB.call('GET', `/vbas/${vbaId}`)).status).toBe(404);
  });

  it('is enrolled with its own token only, on its own host, once', async () => {
    const { VbaIdentifier: vbaId, Token: token } = await client.ok<VbaTokenApi>('POST', '/vbas', WISH);
    const good = enrolOptions(token, vbaId);
    await expect(enrol({ ...good, hostId: 'other-host' })).rejects.toMatchObject({ code: 'ENROLMENT_REFUSED', message: expect.stringMatching(/for hostId backup-host/) });
    await expect(enrol({ ...good, instanceId: '99' })).rejects.toMatchObject({ code: 'ENROLMENT_REFUSED' });
    await expect(enrol({ ...good, role: 'vra' })).rejects.toMatchObject({ code: 'ENROLMENT_REFUSED', message: expect.stringMatching(/for role vba/) });
    const identity = await enrol(good);
    expect(identity.name).toEqual({ siteId: site.config.siteId, role: 'vba', instanceId: vbaId });
    expect(certificateOf(identity).checkIP(WISH.IpAddress)).toBe(WISH.IpAddress);
    await expect(enrol({ ...good, folder: join(folder, 'thief') })).rejects.toMatchObject({ code: 'ENROLMENT_REFUSED', message: expect.stringMatching(/used already/) });
    await remove(vbaId);
  });

  it('is heard, renews over NATS under its own name, and speaks for nobody else', async () => {
    const { vbaId, identity, bus } = await enrolled();
    const { siteId } = site.config;
    const heartbeat = { vbaId, hostId: WISH.HostIdentifier, version: '1.2.3', address: WISH.IpAddress, startedAtMs: 0, identity: { notBeforeMs: 0, notAfterMs: 86_400_000, signedBy: '', trusts: [] } };
    const subject = subjectOf({ siteId, service: 'vba', instanceId: vbaId, channel: 'event', topic: 'status.published' });
    bus.publish(subject, { ...heartbeat, vbaId: '99' });
    await eventually('it is heard', async () => {
      bus.publish(subject, heartbeat);
      return (await client.ok<VbaApi>('GET', `/vbas/${vbaId}`)).IsConnected;
    });
    expect(await client.ok<VbaApi>('GET', `/vbas/${vbaId}`)).toMatchObject({ VbaVersion: '1.2.3', CertificateEnds: '1970-01-02T00:00:00.000Z' });
    const silences = async (): Promise<AlertApi[]> => (await client.ok<AlertApi[]>('GET', '/alerts')).filter(({ HelpIdentifier }) => HelpIdentifier === 'BCK0006');
    await eventually('its silence is told of', async () => (await silences()).length === 1, 60_000);
    expect(await silences()).toEqual([expect.objectContaining({ Description: expect.stringMatching(/^VBA 'backup' does not answer/) })]);
    expect((await client.ok<VbaApi>('GET', `/vbas/${vbaId}`)).IsConnected).toBe(false);
    await eventually('it is heard again, and nothing is told any more', async () => {
      bus.publish(subject, heartbeat);
      return (await silences()).length === 0;
    }, 60_000);
    const before = identity.current();
    await renewIdentity(bus, identity);
    expect(identity.current().natsCredentials).not.toBe(before.natsCredentials);
    await bus.close();
    await remove(vbaId);
  });

  it('that is removed is cut off from the broker, believed by no VRA on 9180, and let in by no token', async () => {
    const { vbaId, identity, bus } = await enrolled();
    const certificate = certificateOf(identity);
    await eventually('VRAs believe it', async () => Promise.resolve(isBelieved(certificate).every(Boolean)));
    const { Token: token } = await client.ok<{ Token: string }>('POST', `/vbas/${vbaId}/enrolmenttoken`);
    await remove(vbaId);
    await eventually('the broker refuses it', async () => Promise.resolve(/refuses this user/.test(bus.problem ?? '')));
    await eventually('no VRA believes it', async () => Promise.resolve(!isBelieved(certificate).some(Boolean)));
    await expect(enrol({ ...enrolOptions(token, vbaId), identity })).rejects.toMatchObject({ code: 'ENROLMENT_REFUSED' });
    expect((await sites.atB.call('POST', `/vbas/${vbaId}/enrolmenttoken`)).status).toBe(404);
    await bus.close();
  });

  it('that is enrolled anew takes the place of who was it before', async () => {
    const { vbaId, identity, bus } = await enrolled();
    const before = certificateOf(identity);
    const { Token: token } = await client.ok<{ Token: string }>('POST', `/vbas/${vbaId}/enrolmenttoken`);
    const next = await enrol({ ...enrolOptions(token, vbaId), folder: join(folder, 'anew') });
    await eventually('the broker refuses the old one', async () => Promise.resolve(/refuses this user/.test(bus.problem ?? '')));
    await eventually('no VRA believes it', async () => Promise.resolve(!isBelieved(before).some(Boolean)));
    expect(isBelieved(certificateOf(next)).every(Boolean)).toBe(true);
    await bus.close();
    await remove(vbaId);
  });
});

describe('the verification of a checkpoint', () => {
  let vpgId: string;
  let vba: FakeVba;
  let vbaId: string;

  beforeAll(async () => {
    vpgId = await sites.protect('shop', ['web']);
    const added = await enrolled();
    ({ vbaId } = added);
    vba = new FakeVba({ siteId: site.config.siteId, vbaId, hostId: WISH.HostIdentifier, bus: added.bus });
    await eventually('it is heard', async () => (await client.ok<VbaApi>('GET', `/vbas/${vbaId}`)).IsConnected);
  }, 60_000);
  afterAll(async () => await vba?.close());

  const verify = async (body: object = {}): Promise<string> => await client.ok<string>('POST', `/vpgs/${vpgId}/verifycheckpoint`, body);
  const opened = (): ViewOpenV1[] => [...sites.plane.vras.values()].flatMap(({ views }) => [...views.values()]).filter(({ purpose }) => purpose === 'read');
  const pins = (): PinPutV1[] => [...sites.plane.vras.values()].flatMap((vra) => [...vra.pins.values()]);
  const reading = async (): Promise<void> => void (await eventually('it reads', async () => Promise.resolve(vba.running.size === 1)));

  async function ended(taskId: string): Promise<{ readonly state: number; readonly reason: string }> {
    const end = await sites.atB.task(taskId, 60_000);
    expect([opened(), pins(), [...vba.running.keys()]]).toEqual([[], [], []]);
    return end;
  }

  it('opens every disk to be read and pinned, asked at either site; shows bytes and hashes; and closes all of it', async () => {
    vba.isHeld = true;
    const taskId = await sites.atA.ok<string>('POST', `/vpgs/${vpgId}/verifycheckpoint`, {});
    await reading();
    const [view] = opened();
    const [pin] = pins();
    expect([view?.checkpointId, view?.volumes.length, pin?.keepForMs]).toEqual([pin?.checkpointId, 2, 24 * 3_600_000]);
    const [asked] = [...vba.running.values()];
    const vra = [...sites.plane.vras.values()].find(({ views }) => views.size === 1);
    expect(asked?.map(({ vraId, address, port, exportName, sizeBytes }) => [vraId, address, port, exportName, sizeBytes])).toEqual(
      view?.volumes.map(({ exportName }, index) => [vra?.options.vraId, vra?.options.address, 9180, exportName, [64 * MIB, 16 * MIB][index]]));
    vba.isHeld = false;
    expect(await ended(taskId)).toEqual({ state: TASK_COMPLETED, reason: `checkpoint ${view?.checkpointId ?? 0} can be read: 2 disks of 1 VM, 80 MiB` });
    const [verified] = await client.ok<CheckpointVerificationApi[]>('GET', `/vpgs/${vpgId}/verifications`);
    expect(verified).toMatchObject({ TaskIdentifier: taskId, CheckpointIdentifier: String(view?.checkpointId), VbaIdentifier: vbaId });
    expect(verified?.Volumes.map(({ VmName, ReadInBytes, Sha256 }) => [VmName, ReadInBytes, Sha256])).toEqual([['web', 64 * MIB, 'a'.repeat(64)], ['web', 16 * MIB, 'a'.repeat(64)]]);
    // What stands behind the task's end may still be on its way when somebody looks.
    await site.zvm?.app.get(Database).use((db) => db.query('UPDATE operations SET is_done = false WHERE task_id = $1', [taskId]));
    expect(await client.ok<CheckpointVerificationApi[]>('GET', `/vpgs/${vpgId}/verifications`)).toHaveLength(1);
    await site.zvm?.app.get(Database).use((db) => db.query('UPDATE operations SET is_done = true WHERE task_id = $1', [taskId]));
  });

  it('goes on after a restart of the ZVM, and after one of the VBA, which begins anew', async () => {
    vba.isHeld = true;
    const taskId = await verify();
    await reading();
    await sites.restartZvm('b');
    vba.running.clear();
    await reading();
    vba.isHeld = false;
    expect((await ended(taskId)).state).toBe(TASK_COMPLETED);
  });

  it.each([
    ['a disk that cannot be read', () => (vba.problem = 'disk scsi:0:0 of VM web: bad sector'), /could not read all of it: .*bad sector/],
    ['an answer that leaves a disk out', () => (vba.leavesOut = 1), /does not cover disk/],
  ])('fails with %s, and closes everything', async (_what, spoil, reason) => {
    spoil();
    expect(await ended(await verify())).toEqual({ state: TASK_FAILED, reason: expect.stringMatching(reason) });
    vba.problem = '';
    vba.leavesOut = 0;
  });

  it('fails before anything is opened where no VBA answers, and for a checkpoint that is not held', async () => {
    const unknown = await ended(await verify({ VbaIdentifier: '99' }));
    expect(unknown).toEqual({ state: TASK_FAILED, reason: expect.stringMatching(/VBA 99 does not exist/) });
    expect(await sites.atB.refused(404, 'POST', `/vpgs/${vpgId}/verifycheckpoint`, { CheckpointIdentifier: '7' })).toMatch(/checkpoint 7 does not exist/);
  });

  it('ends for a failover, which does not wait for it', async () => {
    vba.isHeld = true;
    const taskId = await verify();
    await reading();
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/Failover`, {});
    expect(await ended(taskId)).toEqual({ state: TASK_FAILED, reason: expect.stringMatching(/not protecting any more/) });
    await sites.done(sites.atB, 'POST', `/vpgs/${vpgId}/FailoverRollback`, {});
    await sites.untilProtected(vpgId);
  }, 60_000);

  it('ends when its VBA is removed', async () => {
    const taskId = await verify({ VbaIdentifier: vbaId });
    await reading();
    await remove(vbaId);
    vba.running.clear();
    expect(await ended(taskId)).toEqual({ state: TASK_FAILED, reason: expect.stringMatching(/is being removed|does not exist/) });
    expect(await ended(await verify())).toEqual({ state: TASK_FAILED, reason: expect.stringMatching(/has no VBA/) });
  });
});
