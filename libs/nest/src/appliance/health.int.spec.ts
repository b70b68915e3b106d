import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { ComponentIdentity, makeRequest, type Role, SiteCa, type TrustedSite } from '@tidemark/trust';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { BelievedSites, HealthSource } from './appliance.js';
import { HealthController } from './health.controller.js';
import { healthTls } from './health-tls.js';

let folder: string;
let app: NestFastifyApplication;
let port: number;
let own: SiteCa;
let other: SiteCa;
/** What the manager has told, durably. */
const believed = { trustedSites: [] as TrustedSite[] };

const siteCa = (siteId: string): Promise<SiteCa> => SiteCa.openOrMake(join(folder, siteId), { siteId, siteName: siteId }, Date.now);

async function component(ca: SiteCa, role: Role, claimedSiteId = ca.site.siteId): Promise<ComponentIdentity> {
  const { pem, keyPem } = await makeRequest();
  const { certificatePem } = await ca.issue(pem, { siteId: claimedSiteId, role, instanceId: 'x' }, ['127.0.0.1']);
  return await ComponentIdentity.store(join(folder, `${ca.site.siteId}-${role}`), { keyPem, certificatePem, caPem: ca.trustedPem });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vra-health-'));
  [own, other] = [await siteCa('own'), await siteCa('other')];
  const identity = await component(own, 'vra');
  const providers = [
    { provide: HealthSource, useValue: { health: () => ({ streams: { replicating: 2 } }), metrics: () => Promise.resolve('tidemark_lag_bytes 1') } },
    { provide: ComponentIdentity, useValue: identity },
    { provide: BelievedSites, useValue: believed },
  ];
  class HealthModule {}
  app = await NestFactory.create<NestFastifyApplication>({ module: HealthModule, controllers: [HealthController], providers }, new FastifyAdapter({ https: healthTls(identity) }), { logger: false });
  await app.listen(0, '127.0.0.1');
  port = Number(new URL(await app.getUrl()).port);
});
afterAll(async () => {
  await app.close();
  await rm(folder, { recursive: true });
});

function get(path: string, client?: ComponentIdentity, agent: Agent | false = false): Promise<{ status: number | undefined; body: string }> {
  const shown = client ? { key: client.current().keyPem, cert: client.current().certificatePem } : {};
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port, path, agent, ca: [...own.trustedPem], ...shown }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, body }), reject);
    });
    call.on('error', reject);
    call.end();
  });
}

describe('port 4006', () => {
  it('says to everybody that it lives, over TLS', async () => {
    expect(await get('/health')).toEqual({ status: 200, body: '{"status":"ok","streams":{"replicating":2}}' });
  });

  it('shows metrics to components of its own site and to nobody else, and says why', async () => {
    expect(await get('/metrics', await component(own, 'zvm'))).toEqual({ status: 200, body: 'tidemark_lag_bytes 1' });
    const [nobody, stranger] = [await get('/metrics'), await get('/metrics', await component(other, 'zvm'))];
    expect([nobody.status, stranger.status]).toEqual([403, 403]);
    expect(nobody.body).toContain('shows no certificate');
    expect(stranger.body).toContain('a site that this one does not trust');
  });

  it('shows none to an appliance that was removed, over a connection that stood before as well, and shows them to others', async () => {
    const [removed, zvm] = [await component(own, 'vba'), await component(own, 'zvm')];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect((await get('/metrics', removed, agent)).status).toBe(200);
    believed.trustedSites = [{ siteId: 'own', caPem: own.trustedPem, voided: [{ role: 'vba', instanceId: 'x', beforeMs: Date.now() }] }];
    const [open, fresh] = [await get('/metrics', removed, agent), await get('/metrics', removed)];
    agent.destroy();
    expect([open.status, fresh.status, (await get('/metrics', zvm)).status]).toEqual([403, 403, 200]);
    expect(fresh.body).toContain('was taken back by its site');
    believed.trustedSites = [];
  });
});
