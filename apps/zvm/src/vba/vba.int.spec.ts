import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { VbaApi, VbaTokenApi } from '@tidemark/contracts';
import { inboxNameOf, subjectOf } from '@tidemark/contracts';
import { ControlBus, enrol, ownBrokerAccess, renewIdentity } from '@tidemark/nest';
import type { ComponentIdentity } from '@tidemark/trust';
import { TrustBundle } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { completed, installVras } from '../testing/paired-sites.js';
import { temporaryFolder, startPostgres, type TestServer } from '../testing/servers.js';
import { FakeDataPlane } from '../testing/fake-data-plane.js';
import type { RestClient } from '../testing/rest-client.js';
import { eventually, TestSite } from '../testing/test-site.js';

const WISH = { VbaName: 'backup', HostIdentifier: 'backup-host', IpAddress: '127.0.9.9' };

let postgres: TestServer;
let plane: FakeDataPlane;
let site: TestSite;
let client: RestClient;
let folder: string;

beforeAll(async () => {
  postgres = await startPostgres();
  plane = new FakeDataPlane();
  site = await TestSite.open({ name: 'a', postgres, plane });
  await site.startZvm();
  client = await site.client();
  await installVras(site, client);
  folder = await temporaryFolder('vba');
}, 60_000);
afterAll(async () => {
  await site?.close();
  await plane?.close();
  await postgres?.close();
  await rm(folder, { recursive: true, force: true });
});

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

const remove = async (vbaId: string): Promise<string> => await completed(client, await client.ok<string>('DELETE', `/vbas/${vbaId}`));
const certificateOf = (identity: ComponentIdentity): X509Certificate => new X509Certificate(identity.current().certificatePem);

/** As the VRAs judge after what the ZVM has told them: what 9180 goes by. */
const isBelieved = (certificate: X509Certificate): boolean[] => [...plane.vras.values()].map(({ state }) => new TrustBundle(state.trust.sites).identify(certificate) !== undefined);

describe('a VBA that is added', () => {
  it('is the only one of its name and host, and wants a host id that can be one', async () => {
    const { VbaIdentifier: vbaId } = await client.ok<VbaTokenApi>('POST', '/vbas', WISH);
    for (const wrong of [WISH, { ...WISH, HostIdentifier: 'other' }, { ...WISH, VbaName: 'other' }]) await client.refused(409, 'POST', '/vbas', wrong);
    await client.refused(400, 'POST', '/vbas', { VbaName: 'x', HostIdentifier: 'a b', IpAddress: '127.0.0.1' });
    expect(await client.ok<VbaApi[]>('GET', '/vbas')).toMatchObject([{ VbaIdentifier: vbaId, VbaName: 'backup', IsConnected: false, IsBeingRemoved: false, VbaVersion: null }]);
    await remove(vbaId);
    expect((await client.call('GET', `/vbas/${vbaId}`)).status).toBe(404);
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
    expect((await client.call('POST', `/vbas/${vbaId}/enrolmenttoken`)).status).toBe(404);
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
