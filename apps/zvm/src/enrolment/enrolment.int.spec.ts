import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AuditEntryApi, inboxNameOf } from '@tidemark/contracts';
import { ControlBus, enrol, ownBrokerAccess, renewIdentity } from '@tidemark/nest';
import { ComponentIdentity, formatToken, makeNatsKey, makeRequest, newSecret, parseToken, SiteCa } from '@tidemark/trust';
import { request } from 'node:https';
import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import pg from 'pg';
import { FakeDataPlane } from '../testing/fake-data-plane.js';
import type { FakeVra } from '../testing/fake-vra.js';
import { completed, installVras } from '../testing/paired-sites.js';
import type { RestClient } from '../testing/rest-client.js';
import { startPostgres, temporaryFolder, type TestServer } from '../testing/servers.js';
import { eventually, TestSite } from '../testing/test-site.js';

const SITE_OF_NOBODY = 'ffffffff-0000-4000-8000-000000000000';

let postgres: TestServer;
let plane: FakeDataPlane;
let site: TestSite;
let client: RestClient;
let folder: string;
let vra: FakeVra;

beforeAll(async () => {
  postgres = await startPostgres();
  plane = new FakeDataPlane();
  site = await TestSite.open({ name: 'a', postgres, plane });
  await site.startZvm();
  client = await site.client();
  await installVras(site, client);
  folder = await temporaryFolder('enrolment');
  const [first] = [...plane.vras.values()];
  if (!first) throw new Error('no VRA');
  vra = first;
}, 60_000);
afterAll(async () => {
  await site?.close();
  await plane?.close();
  await postgres?.close();
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** As a stranger who can reach 9080 does: no check of the certificate, any bytes. */
function post(path: string, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: site.config.internalPort, path, method: 'POST', rejectUnauthorized: false, agent: false, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } };
    const call = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => (text += part)).on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end(body);
  });
}

const newToken = async (): Promise<string> => (await client.ok<{ Token: string }>('POST', `/vras/${vra.options.vraId}/enrolmenttoken`)).Token;

async function bodyWith(token: string, part: object = {}): Promise<string> {
  const { vraId: instanceId, hostId } = vra.options;
  return JSON.stringify({ token, role: 'vra', instanceId, hostId, certificateRequest: (await makeRequest()).pem, natsPublicKey: makeNatsKey().publicKey, ...part });
}

async function query(text: string, values: unknown[] = []): Promise<unknown[]> {
  const database = new pg.Client({ connectionString: site.config.databaseUrl });
  await database.connect();
  const { rows } = await database.query(text, values);
  await database.end();
  return rows as unknown[];
}

const users = async (): Promise<number> => (await query('SELECT 1 FROM nats_users')).length;

describe('a token that is not good for it gets nothing', () => {
  const refusals: [string, () => Promise<string>, RegExp][] = [
    ['none', () => bodyWith('please'), /this token cannot be used/],
    ['of another kind', async () => await bodyWith((await client.ok<{ Token: string }>('POST', '/peersites/generatetoken')).Token), /kind 'pairing'/],
    ['with another secret', async () => await bodyWith(formatToken({ ...parseToken(await newToken()), secret: newSecret() })), /has not made this token/],
    ['of another site', async () => {
      const [token, stranger] = [parseToken(await newToken()), await TestSiteCa.make(SITE_OF_NOBODY)];
      return await bodyWith(formatToken({ ...token, siteId: SITE_OF_NOBODY, caPem: stranger }));
    }, /of site ffffffff.*this is site/],
    ['for another host', async () => await bodyWith(await newToken(), { hostId: 'host-9' }), /for hostId .*, not host-9/],
    ['for another role', async () => await bodyWith(await newToken(), { role: 'vba' }), /for role vra, not vba/],
    ['for another VRA', async () => await bodyWith(await newToken(), { instanceId: '99' }), /for instanceId .*, not 99/],
    ['that has expired', async () => {
      const text = await newToken();
      await query(`UPDATE trust_tokens SET expires_at = now() - interval '1 second' WHERE token_id = $1`, [parseToken(text).tokenId]);
      return await bodyWith(text);
    }, /ended at .*ask for a new one/],
  ];

  it.each(refusals)('one %s', async (_name, make, message) => {
    const body = await make();
    const before = await users();
    const answer = await post('/internal/v1/enrol', body);
    expect({ status: answer.status, ...(JSON.parse(answer.text) as object) }).toEqual({ status: 403, Message: expect.stringMatching(message) });
    expect(await users()).toBe(before);
  });

  it('one that was used, but to who used it with the same keys; a token is no secret after that', async () => {
    const body = await bodyWith(await newToken());
    expect((await post('/internal/v1/enrol', body)).status).toBe(200);
    expect((await post('/internal/v1/enrol', body)).status).toBe(200);
    const { token } = JSON.parse(body) as { token: string };
    const answer = await post('/internal/v1/enrol', await bodyWith(token));
    expect([answer.status, answer.text]).toEqual([403, expect.stringMatching(/used already at/)]);
    const events = await client.ok<{ Description: string }[]>('GET', '/events');
    expect(events.map(({ Description: text }) => text).join('\n')).toMatch(/refused to 127\.0\.0\.1: this token was used already/);
  });

  it('a request for a key that its sender does not hold', async () => {
    const { pem } = await makeRequest();
    const lines = pem.split('\n');
    const forged = lines.map((line, index) => (index === lines.length - 3 ? `${line.slice(0, 8)}${line[8] === 'A' ? 'B' : 'A'}${line.slice(9)}` : line)).join('\n');
    expect((await post('/internal/v1/enrol', await bodyWith(await newToken(), { certificateRequest: forged }))).status).toBe(400);
  });
});

/** A CA of a site that is none of ours. */
const TestSiteCa = {
  make: async (siteId: string): Promise<string> => (await SiteCa.openOrMake(join(folder, 'stranger-ca'), { siteId, siteName: 'nobody' }, Date.now)).trustedPem.join(''),
};

describe('an enrolled VRA', () => {
  it('renews certificate and user over NATS, and goes on being heard', async () => {
    const identity = vra.identity;
    if (!identity) throw new Error('not enrolled');
    // The tests above have enrolled others in its place: as a host that was set up anew it needs a new token.
    await enrol({ token: await newToken(), role: 'vra', siteId: site.config.siteId, instanceId: vra.options.vraId, hostId: vra.options.hostId, folder: vra.options.folder, identity });
    const before = identity.current();
    const bus = new ControlBus({ url: site.config.natsUrl, name: 'vra', access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vra', vraId: vra.options.vraId })) });
    await eventually('it is connected', async () => Promise.resolve(bus.isConnected));
    await renewIdentity(bus, identity);
    const after = identity.current();
    expect(after.keyPem).not.toBe(before.keyPem);
    expect(after.natsCredentials).not.toBe(before.natsCredentials);
    expect((await ComponentIdentity.open(vra.options.folder))?.current().certificatePem).toBe(after.certificatePem);
    await eventually('the VRA is heard', async () => (await client.ok<{ VraIdentifierStr: string; IsConnected: boolean }[]>('GET', '/vras')).find((one) => one.VraIdentifierStr === vra.options.vraId)?.IsConnected);
    await bus.close();
  });

  it('is cut off as soon as another one is enrolled in its place', async () => {
    const identity = vra.identity;
    if (!identity) throw new Error('not enrolled');
    const old = new ControlBus({ url: site.config.natsUrl, name: 'old vra', access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vra', vraId: vra.options.vraId })) });
    await eventually('it is connected', async () => Promise.resolve(old.isConnected));
    expect((await post('/internal/v1/enrol', await bodyWith(await newToken()))).status).toBe(200);
    await eventually('it is refused', async () => Promise.resolve(/refuses this user/.test(old.problem ?? '')));
    await old.close();
  });

  it('is cut off when it is removed, and no token of it is good any more', async () => {
    const [, other] = [...plane.vras.values()];
    if (!other?.identity) throw new Error('not enrolled');
    const { Token: token } = await client.ok<{ Token: string }>('POST', `/vras/${other.options.vraId}/enrolmenttoken`);
    const left = new ControlBus({ url: site.config.natsUrl, name: 'left', access: ownBrokerAccess(other.identity, inboxNameOf({ kind: 'vra', vraId: other.options.vraId })) });
    await eventually('it is connected', async () => Promise.resolve(left.isConnected));
    await completed(client, await client.ok<string>('DELETE', `/vras/${other.options.vraId}`));
    await eventually('it is refused', async () => Promise.resolve(/refuses this user/.test(left.problem ?? '')));
    const { vraId: instanceId, hostId } = other.options;
    expect((await post('/internal/v1/enrol', await bodyWith(token, { instanceId, hostId }))).status).toBe(403);
    await left.close();
  });
});

describe('the audit', () => {
  it('has who was enrolled, who was refused and from where, and what was renewed; no token', async () => {
    const of = async (action: string): Promise<AuditEntryApi[]> => await client.ok<AuditEntryApi[]>('GET', `/audit?action=${action}&limit=1000`);
    const [subject, all] = [`vra:${vra.options.vraId}`, await of('enrolment')];
    expect(all.filter(({ Result }) => Result === 0)).toEqual(expect.arrayContaining([expect.objectContaining({
      Action: 'enrolment', Method: 'Appliance', Subject: subject, Address: '127.0.0.1', Entities: [subject, `host:${vra.options.hostId}`],
      Changes: [{ Path: '.', Before: 'null', After: expect.stringMatching(/"certificate":"[0-9A-F:]{95}"/) }],
    })]));
    const used = all.find(({ Message }) => Message?.startsWith('this token was used already'));
    expect(used).toMatchObject({ Action: 'enrolment', Method: 'Unknown', Subject: null, Address: '127.0.0.1', Result: 1 });
    expect(await of('identity.renewed')).toEqual([expect.objectContaining({ Method: 'Appliance', Subject: subject, Result: 0 })]);
    expect(JSON.stringify(all)).not.toMatch(/tidemark1\.\w+\.[\w-]{20}/);
  });
});

describe('port 9080', () => {
  it('reads little, serves nothing else, and answers few questions a minute', async () => {
    expect((await post('/internal/v1/enrol', 'x'.repeat(100_000))).status).toBe(413);
    expect((await post('/internal/v1/enrol', '{"token":')).status).toBe(400);
    expect((await post('/internal/v1/enrol', '[]')).status).toBe(400);
    expect((await post('/v1/session/add', '{}')).status).toBe(404);
    const statuses = await Promise.all(Array.from({ length: 40 }, async () => (await post('/internal/v1/enrol', '{}')).status));
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(5);
  });
});
