import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AuditEntryApi, DONE, pairingInstance, PEER_ANSWERS, peerInstance, type PairingGrantV1, type PairingRedeemV1, type PeerSiteApi, type SiteCardV1, subjectOf } from '@tidemark/contracts';
import { brokerTls, ControlBus, ControlError, peerRights } from '@tidemark/nest';
import { credentials, formatToken, makeNatsKey, NatsAuthority, newSecret, type NatsKey, type PairingToken, parseToken, SiteCa } from '@tidemark/trust';
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { PairedSites } from '../testing/paired-sites.js';
import { temporaryFolder } from '../testing/servers.js';
import { eventually, type TestSite } from '../testing/test-site.js';
import { SiteTrust } from '../trust/site-trust.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { VpgStore } from '../vpg/vpg.store.js';

/** A stranger against two paired sites with a VPG between them: it tries with tokens of site b, and then as a third site that is paired with b. */
let sites: PairedSites;
let b: TestSite;
let folder: string;
let vpgId: string;
let vmId: string;
const buses: ControlBus[] = [];

beforeAll(async () => {
  sites = await PairedSites.open(['web']);
  b = sites.b;
  folder = await temporaryFolder('stranger');
  vpgId = await sites.protect('App', ['web']);
  vmId = (await sites.a.hypervisor.inventory()).vms[0]?.id ?? '';
}, 90_000);
afterAll(async () => {
  await Promise.all(buses.map((bus) => bus.close()));
  await sites?.close();
  await rm(folder, { recursive: true, force: true });
});

const newToken = async (): Promise<PairingToken> => parseToken((await sites.atB.ok<{ Token: string }>('POST', '/peersites/generatetoken')).Token, 'pairing');

interface Stranger {
  readonly card: SiteCardV1;
  readonly key: NatsKey;
  readonly caPem: string[];
}

async function stranger(part: Partial<SiteCardV1> = {}): Promise<Stranger> {
  const siteId = part.siteId ?? randomUUID();
  const ca = await SiteCa.openOrMake(join(folder, siteId), { siteId, siteName: 'C' }, Date.now);
  const card = { siteId, name: 'Site c', location: '', version: '0.1.0', address: '127.0.0.1', port: 9, ...part };
  return { card, key: makeNatsKey(), caPem: [...ca.trustedPem] };
}

/** The user that it grants for that key, at a broker that nobody runs. */
async function userOf({ card: { siteId } }: Stranger, publicKey: string): Promise<string> {
  const authority = await NatsAuthority.openOrMake(join(folder, `${siteId}-nats`), { siteId, siteName: 'C' });
  return await authority.user(publicKey, { ...peerRights(siteId, b.config.siteId), notAfterMs: Date.now() + 3_600_000 });
}

const redeemBody = ({ card, key, caPem }: Stranger, token: PairingToken): PairingRedeemV1 => ({ secret: token.secret, site: card, caPem, natsPublicKey: key.publicKey });

async function busWith(text: string, inboxName: string): Promise<ControlBus> {
  const { siteId, caPem } = (await SiteTrust.open(b.config, Date.now)).ownSite();
  const bus = new ControlBus({ url: `wss://127.0.0.1:${b.config.natsPeerPort}`, name: 'stranger', access: { inboxName, credentials: () => text, tls: () => brokerTls(siteId, caPem) } });
  buses.push(bus);
  await eventually('the stranger is connected', async () => Promise.resolve(bus.isConnected));
  return bus;
}

async function redeem(who: Stranger, token: PairingToken, body: object = redeemBody(who, token)): Promise<PairingGrantV1> {
  const bus = await busWith(credentials(token.natsJwt, token.natsSeed), pairingInstance(token.tokenId));
  const subject = subjectOf({ siteId: b.config.siteId, service: 'zvm', instanceId: pairingInstance(token.tokenId), channel: 'control', topic: 'pairing.redeem' });
  return await bus.request(subject, body, PEER_ANSWERS['pairing.redeem']);
}

const refusalOf = async (attempt: Promise<unknown>): Promise<string> => await attempt.then(() => 'let in', (error: unknown) => (error instanceof ControlError ? `${error.remoteCode ?? error.code}: ${error.message}` : String(error)));

const peersOfB = async (): Promise<string[]> => (await sites.atB.ok<PeerSiteApi[]>('GET', '/peersites')).map((peer) => peer.SiteIdentifier);

async function age(tokenId: string): Promise<void> {
  const database = new pg.Client({ connectionString: b.config.databaseUrl });
  await database.connect();
  await database.query(`UPDATE trust_tokens SET expires_at = now() - interval '1 second' WHERE token_id = $1`, [tokenId]);
  await database.end();
}

describe('a site that shows a token which is not good', () => {
  const cases: [string, () => Promise<string>, RegExp][] = [
    ['forged', async () => {
      const token = { ...(await newToken()), secret: newSecret() };
      return await refusalOf(redeem(await stranger(), token));
    }, /ZVM_FORBIDDEN: this site has not made this token/],
    ['with the secret of another one', async () => await refusalOf(redeem(await stranger(), { ...(await newToken()), secret: (await newToken()).secret })), /ZVM_FORBIDDEN: this site has not made/],
    ['that has ended', async () => {
      const token = await newToken();
      await age(token.tokenId);
      return await refusalOf(redeem(await stranger(), token));
    }, /ZVM_FORBIDDEN: this token ended at/],
    ['in a version that does not fit', async () => await refusalOf(redeem(await stranger({ version: '7.2.0' }), await newToken())), /ZVM_CONFLICT: site Site c runs Tidemark 7\.2\.0, this site 0\.1\.0/],
    ['as this very site', async () => await refusalOf(redeem(await stranger({ siteId: b.config.siteId }), await newToken())), /itself/],
    ['as a site that is paired already', async () => await refusalOf(redeem(await stranger({ siteId: sites.a.config.siteId }), await newToken())), /paired with Site b already/],
    ['with the CA of somebody else', async () => {
      const [who, other, token] = [await stranger(), await stranger(), await newToken()];
      return await refusalOf(redeem(who, token, { ...redeemBody(who, token), caPem: other.caPem }));
    }, /ZVM_INVALID: .*names site/],
    ['with a key that is none', async () => {
      const [who, token] = [await stranger(), await newToken()];
      return await refusalOf(redeem(who, token, { ...redeemBody(who, token), natsPublicKey: 'UAAA' }));
    }, /CONTROL_INVALID/],
  ];

  it.each(cases)('%s gets nothing, and is told why', async (_name, attempt, message) => {
    expect(await attempt()).toMatch(message);
    expect(await peersOfB()).toEqual([sites.a.config.siteId]);
  });

  it('at the site that is to use it: a token of another kind, cut short, or ended is refused before anybody is asked', async () => {
    const token = await newToken();
    const pairWith = async (text: string): Promise<string> => await sites.atA.refused(400, 'POST', '/peersites', { HostName: '127.0.0.1', Port: b.config.natsPeerPort, Token: text });
    expect(await pairWith(formatToken(token).slice(0, -40))).toMatch(/copy all of it/);
    expect(await pairWith(formatToken({ ...token, expiresAtMs: Date.now() - 1000 }))).toMatch(/ended at/);
    const vras = await sites.atB.ok<{ VraIdentifierStr: string }[]>('GET', '/vras');
    expect(await pairWith((await sites.atB.ok<{ Token: string }>('POST', `/vras/${vras[0]?.VraIdentifierStr ?? ''}/enrolmenttoken`)).Token)).toMatch(/kind 'enrolment'/);
  });
});

describe('a third site', () => {
  let third: Stranger;
  let token: PairingToken;
  /** Of the user that site b wants there. */
  let grantedKey: string;
  let bus: ControlBus;
  const ask = async (topic: string, body: object): Promise<string> =>
    await refusalOf(bus.request(subjectOf({ siteId: b.config.siteId, service: 'zvm', instanceId: peerInstance(third.card.siteId), channel: 'control', topic }), body, DONE));

  /** As it would be true, were the VM its own. */
  const recordOf = (part: Partial<VpgRecord['definition']>, rest: Partial<VpgRecord> = {}): VpgRecord => {
    const record = b.zvm?.app.get(VpgStore).get(vpgId) as VpgRecord;
    return { ...record, ...rest, definition: { ...record.definition, protectedSiteId: b.config.siteId, recoverySiteId: third.card.siteId, ...part } };
  };

  it('redeems its token, again with the same key, and nobody else does', async () => {
    [third, token] = [await stranger(), await newToken()];
    const grant = await redeem(third, token);
    grantedKey = grant.natsPublicKey;
    expect(await redeem(third, token)).toMatchObject({ natsPublicKey: grantedKey });
    expect(await refusalOf(redeem(await stranger(), token))).toMatch(/ZVM_FORBIDDEN: this token was used already at/);
    expect(await refusalOf(redeem({ ...third, key: makeNatsKey() }, token))).toMatch(/used already/);
    bus = await busWith(credentials(grant.userJwt, third.key.seed), peerInstance(third.card.siteId));
  });

  it('gets nothing before it is paired', async () => {
    expect(await ask('inventory.get', {})).toMatch(/PEER_NOT_PAIRED/);
    expect(await ask('vpg.act', { taskId: 't', action: 'delete', initiatedBy: 'x', vpgId, input: {} })).toMatch(/PEER_NOT_PAIRED/);
    expect(await ask('pairing.confirm', { userJwt: 'a.b.c' })).toMatch(/TRUST_CERTIFICATE: .*no NATS user that can be read/);
    expect(await ask('pairing.confirm', { userJwt: await userOf(third, grantedKey) })).toBe('let in');
    expect(await ask('pairing.seal', {})).toBe('let in');
    expect(await ask('inventory.get', {})).toBe('let in');
  });

  it('reaches no VPG of another pairing: there is none for it', async () => {
    const record = recordOf({});
    for (const [topic, body] of [
      ['vpg.act', { taskId: 't1', action: 'delete', initiatedBy: 'x', vpgId, input: { Force: true } }], ['vpg.act', { taskId: 't2', action: 'failover', initiatedBy: 'x', vpgId, input: {} }],
      ['checkpoint.insert', { vpgId, tag: 'mine' }], ['vpg.forceSync', { vpgId }], ['vm.power', { vpgId, vmIds: [vmId], action: 'forceOff' }],
      ['vpg.settle', { vpgId, checkpointId: 1 }], ['vpg.put', { record }], ['vpg.takeReverse', { taskId: 't3', initiatedBy: 'x', record }],
      ['catalogue.put', { vpgId, baseRevision: 0, revision: 9, isWhole: true, added: [], removed: [] }],
    ] as const) expect([topic, await ask(topic, body)]).toEqual([topic, expect.stringMatching(/ZVM_NOT_FOUND: VPG .* does not exist/)]);
    expect(await sites.atB.ok('GET', `/vpgs/${vpgId}`)).toMatchObject({ VpgName: 'App' });
  });

  it('makes no VM of this site its own by saying that it protects it, unless it is let', async () => {
    const claim = (state: VpgRecord['state'], generation = 1): object => ({ record: recordOf({ vpgId: claimedId, name: 'Stolen' }, { state, generation }) });
    const claimedId = randomUUID();
    expect(await ask('vpg.put', claim('creating'))).toMatch(/ZVM_FORBIDDEN: site Site b has not asked for VPG 'Stolen'/);
    expect(await ask('vpg.put', claim('protecting'))).toMatch(/ZVM_FORBIDDEN/);
    expect(await ask('vpg.put', claim('needsConfiguration'))).toMatch(/ZVM_CONFLICT: .*none begins in state needsConfiguration/);
    expect(await ask('vm.power', { vpgId: claimedId, vmIds: [vmId], action: 'forceOff' })).toMatch(/ZVM_NOT_FOUND/);
    expect(await sites.atB.call('GET', `/vpgs/${claimedId}`)).toMatchObject({ status: 404 });
    expect(await sites.atB.ok('PUT', `/peersites/${third.card.siteId}`, { CanProtectVms: true })).toMatchObject({ CanProtectVms: true });
    expect(await ask('vpg.put', claim('protecting'))).toBe('let in');
    expect(await sites.atB.ok('GET', '/audit?action=vpg.begun')).toMatchObject([{ Method: 'Peer', Entities: [`vpg:${claimedId}`, `site:${third.card.siteId}`] }]);
    await sites.atB.ok('PUT', `/peersites/${third.card.siteId}`, { CanProtectVms: false });
    expect(await ask('vpg.put', { record: recordOf({ vpgId: randomUUID(), name: 'Another' }) })).toMatch(/ZVM_FORBIDDEN/);
    expect(await ask('vpg.put', claim('removed', 2))).toBe('let in');
  });

  it('has left an entry of each: what it got and what it did not', async () => {
    const entries = await sites.atB.ok<AuditEntryApi[]>('GET', '/audit?action=peer&limit=1000');
    const ofThird = entries.filter(({ Entities }) => Entities.includes(`site:${third.card.siteId}`)).map(({ Action, Result, Method }) => `${Action} ${Result === 0 ? 'done' : 'refused'} ${Method}`);
    for (const expected of [
      'peer pairing.redeem done Peer', 'peer pairing.redeem refused Unknown', 'peer pairing.confirm done Peer', 'peer pairing.seal done Peer', 'peer vpg.act refused Peer', 'peer vm.power refused Peer',
      'peer vpg.forceSync refused Peer', 'peer checkpoint.insert refused Peer',
    ]) expect(ofThird).toContain(expected);
    expect(entries.find(({ Action, Entities }) => Action === 'peer vm.power' && Entities.includes(`vpg:${vpgId}`))).toMatchObject({ Subject: third.card.siteId, UserName: 'site Site c', Input: { vmIds: [vmId], action: 'forceOff' } });
    expect(entries.filter(({ Action }) => /inventory|catalogue/.test(Action))).toEqual([]);
    expect(JSON.stringify(entries)).not.toContain(token.secret);
  });

  it('is shut out as soon as it is unpaired, and its token opens nothing any more', async () => {
    await sites.done(sites.atB, 'DELETE', `/peersites/${third.card.siteId}`, { IsKeepTargetDisks: true });
    await eventually('its connection is cut', async () => Promise.resolve(/refuses this user/.test(bus.problem ?? '')));
    expect(await refusalOf(redeem(third, token))).toMatch(/used already/);
    expect(await peersOfB()).toEqual([sites.a.config.siteId]);
    await eventually('the pairing of others stands', async () => (await sites.atB.call('GET', `/virtualizationsites/${sites.a.config.siteId}/vms`)).status === 200);
  });
});
