import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { IDENTITY_GRANT, type IdentityGrantV1, IdentityRequestV1, inboxNameOf, subjectOf } from '@tidemark/contracts';
import { ComponentIdentity, credentials, LEAF_LIFETIME_MS, makeNatsKey, makeRequest, SiteCa, type TrustedSite } from '@tidemark/trust';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlBus } from '../bus/control-bus.js';
import { SecuredNats } from '../testing/secured-nats.js';
import { ownBrokerAccess } from '../trust/broker-access.js';
import { vraRights } from '../trust/nats-grants.js';
import { IdentityKeeper } from './identity-keeper.js';

const DAY_MS = 86_400_000;
let folder: string;
let nats: SecuredNats;
let zvm: ControlBus;
let bus: ControlBus;
let identity: ComponentIdentity;
let keeper: IdentityKeeper;
/** How the ZVM answers a renewal: as it should, not at all, or with what would shut the appliance out. */
let answersWith: 'grant' | 'nothing' | ((grant: IdentityGrantV1) => object | Promise<object>) = 'nothing';
let nowMs = Date.now();
const believed = { trustedSites: [] as readonly TrustedSite[] };
const issued: string[] = [];

async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not within a minute: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function grant({ certificateRequest, natsPublicKey }: IdentityRequestV1): Promise<IdentityGrantV1> {
  const { certificatePem } = await nats.ca.issue(certificateRequest, { siteId: nats.siteId, role: 'vra', instanceId: 'v' }, ['127.0.0.1']);
  issued.push(natsPublicKey);
  return { certificatePem, caPem: nats.ca.trustedPem, natsJwt: await nats.authority.user(natsPublicKey, { ...vraRights(nats.siteId, 'v'), notAfterMs: Date.now() + LEAF_LIFETIME_MS }) };
}

/** Each of them would leave the appliance without a way back in, were it stored. */
async function uselessAnswers(): Promise<((grant: IdentityGrantV1) => object | Promise<object>)[]> {
  const user = makeNatsKey();
  const { natsJwt } = await grant({ certificateRequest: (await makeRequest()).pem, natsPublicKey: user.publicKey });
  const ofAnother = await nats.ca.issue((await makeRequest()).pem, { siteId: nats.siteId, role: 'vra', instanceId: 'w' }, ['127.0.0.1']);
  const otherFolder = join(folder, 'other-ca');
  const other = await SiteCa.openOrMake(otherFolder, { siteId: nats.siteId, siteName: 'other' }, Date.now);
  const otherSite = await SiteCa.openOrMake(join(folder, 'other-site'), { siteId: '7c9e6679-7425-40de-944b-e07fc1f90ae7', siteName: 'other' }, Date.now);
  return [
    () => ({}), (good) => ({ ...good, caPem: [] }), (good) => ({ ...good, caPem: ['x'] }), (good) => ({ ...good, caPem: [...good.caPem, ...otherSite.trustedPem] }), (good) => ({ ...good, caPem: other.trustedPem }),
    (good) => ({ ...good, certificatePem: 'x' }), (good) => ({ ...good, certificatePem: ofAnother.certificatePem }), (good) => ({ ...good, natsJwt: 'a.b.c' }), (good) => ({ ...good, natsJwt: '' }), (good) => ({ ...good, natsJwt }),
    (good) => ({ ...good, certificatePem: 'x'.repeat(100_000) }),
  ];
}

beforeAll(async () => {
  Logger.overrideLogger(false);
  folder = await mkdtemp(join(tmpdir(), 'identity-keeper-'));
  nats = await SecuredNats.start();
  const { siteId } = nats;
  const [{ pem, keyPem }, user] = [await makeRequest(), makeNatsKey()];
  const { natsJwt, ...parts } = await grant({ certificateRequest: pem, natsPublicKey: user.publicKey });
  identity = await ComponentIdentity.store(join(folder, 'trust'), { ...parts, keyPem, natsCredentials: credentials(natsJwt, user.seed) });
  zvm = new ControlBus({ url: nats.url, name: 'zvm', access: await nats.zvm() });
  zvm.respond(subjectOf({ siteId, service: 'zvm', instanceId: 'main', channel: 'control', topic: 'trust.renew.vra.v' }), IdentityRequestV1, async (asked) => {
    if (answersWith === 'grant') return await grant(asked);
    if (answersWith !== 'nothing') return await answersWith(await grant(asked));
    throw new Error('killed before it answered');
  });
  bus = new ControlBus({ url: nats.url, name: 'vra', access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vra', vraId: 'v' })) });
  const appliance = { siteId, role: 'vra', instanceId: 'v', hostId: 'h', address: '127.0.0.1', healthPort: 0, enrolmentTokenFile: join(folder, 'token') } as const;
  keeper = new IdentityKeeper(appliance, bus, identity, believed);
  keeper.nowMs = () => nowMs;
  await until('both are connected', () => zvm.isConnected && bus.isConnected);
}, 120_000);
afterAll(async () => {
  await keeper.onApplicationShutdown();
  await bus.close();
  await zvm.close();
  await nats.close();
  await rm(folder, { recursive: true });
});

describe('the identity of an appliance', () => {
  it('is renewed after two thirds of its life, not before, as soon as the ZVM answers, and used from then on', async () => {
    const before = identity.current();
    answersWith = 'grant';
    nowMs = Date.now() + 59 * DAY_MS;
    await keeper.look();
    expect(identity.current()).toBe(before);
    nowMs = Date.now() + 61 * DAY_MS;
    answersWith = 'nothing';
    await keeper.look();
    expect(identity.current()).toBe(before);
    for (const answer of await uselessAnswers()) {
      answersWith = answer;
      await keeper.look();
      expect(identity.current()).toBe(before);
    }
    answersWith = 'grant';
    await keeper.look();
    const after = identity.current();
    expect([after.keyPem === before.keyPem, after.certificatePem === before.certificatePem, after.natsCredentials === before.natsCredentials]).toEqual([false, false, false]);
    expect((await ComponentIdentity.open(identity.folder))?.current()).toMatchObject({ keyPem: after.keyPem, natsCredentials: after.natsCredentials });
    // The user of before ends: the connection is of the one after.
    await nats.push(await nats.authority.revoke(issued[0] ?? '', Date.now()));
    await until('it is connected as its new user', async () => {
      if (!bus.isConnected) return false;
      answersWith = 'nothing';
      const renewal = bus.request(subjectOf({ siteId: nats.siteId, service: 'zvm', instanceId: 'main', channel: 'control', topic: 'trust.renew.vra.v' }), { certificateRequest: '', natsPublicKey: '' }, IDENTITY_GRANT);
      return await renewal.then(() => false, (error: unknown) => /certificateRequest/.test(String(error)));
    });
    nowMs = Date.now();
  }, 120_000);

  it('believes the broker of the next CA by the state in force, also when it died before it had noted that; of what came with a new enrolment it gives nothing up', async () => {
    const first = nats.ca.trustedPem;
    await nats.ca.announceNext();
    const both = nats.ca.trustedPem;
    believed.trustedSites = [{ siteId: nats.siteId, caPem: both }];
    await keeper.look();
    expect(identity.current().caPem).toEqual(both);
    expect(keeper.marks.trusts).toHaveLength(2);
    // Enrolled anew with the next CA alone, while the state on disk is one of before.
    await identity.believe(() => both.slice(1));
    believed.trustedSites = [{ siteId: nats.siteId, caPem: first }];
    await keeper.look();
    expect([...identity.current().caPem].sort()).toEqual([...both].sort());
    expect(keeper.marks.trusts).toHaveLength(1);
    // A state that was taken is followed exactly.
    await keeper.followState();
    expect(identity.current().caPem).toEqual(first);
  }, 120_000);
});
