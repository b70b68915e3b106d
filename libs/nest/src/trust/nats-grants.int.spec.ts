import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { inboxNameOf, type Speaker } from '@tidemark/contracts';
import type { NatsConnection } from '@nats-io/transport-node';
import { connectBroker } from '../bus/connect-broker.js';
import { SecuredNats } from '../testing/secured-nats.js';
import { brokerTls } from './broker-access.js';
import { pairingRights, peerRights, systemRights, vbaRights, vraRights, zvmRights } from './nats-grants.js';

const SITE = 'aaaaaaaa-0000-4000-8000-000000000000';
const OTHER_SITE = 'bbbbbbbb-0000-4000-8000-000000000000';
const PEER = 'cccccccc-0000-4000-8000-000000000000';
const OTHER_PEER = 'dddddddd-0000-4000-8000-000000000000';
const TOKEN = 'eeeeeeee-0000-4000-8000-000000000000';

const at = (rest: string, site = SITE): string => `tidemark.v1.${site}.${rest}`;

/** Every family of subjects there is, of this site and of another, its own and others': each user tries them all, both ways. */
const FAMILIES = [
  at('vra.7.control.state.apply'), at('vra.7.checkpoint.checkpoint.insert'), at('vra.7.log.level.set'), at('vra.7.event.status.published'),
  at('vra.8.control.recovery.remove'), at('vra.8.checkpoint.checkpoint.list'), at('vra.8.log.level.set'), at('vra.8.event.status.published'),
  // A VRA and a VBA of one id: it is the role that keeps them apart.
  at('vba.7.control.verification.start'), at('vba.7.checkpoint.x.y'), at('vba.7.event.status.published'), at('vba.8.control.verification.start'), at('vba.8.event.status.published'),
  at('zvm.main.control.trust.renew.vra.7'), at('zvm.main.control.trust.renew.vra.8'), at('zvm.main.control.trust.renew.vba.7'), at('zvm.main.control.trust.renew.vba.8'), at('zvm.main.control.trust.renew.7'), at('zvm.main.control.vpg.put'), at('zvm.main.event.peer.news'),
  at(`zvm.peer-${PEER}.control.vpg.act`), at(`zvm.peer-${PEER}.event.peer.news`), at(`zvm.peer-${OTHER_PEER}.control.vpg.act`), at(`zvm.peer-${OTHER_PEER}.event.peer.news`),
  at(`zvm.pairing-${TOKEN}.control.pairing.redeem`), at(`zvm.pairing-${TOKEN}.control.pairing.confirm`), at(`zvm.pairing-${PEER}.control.pairing.redeem`),
  at('vra.7.control.state.apply', OTHER_SITE), at('vra.7.event.status.published', OTHER_SITE), at(`zvm.peer-${PEER}.control.vpg.act`, OTHER_SITE), at('zvm.main.control.trust.renew.vra.7', OTHER_SITE), at('vba.7.event.status.published', OTHER_SITE),
  'tidemark.v2.x', 'elsewhere', '_INBOX.zvm-main.a.1', '_INBOX.vra-7.a.1', '_INBOX.vra-8.a.1', '_INBOX.vba-7.a.1', `_INBOX.peer-${PEER}.a.1`, `_INBOX.peer-${OTHER_PEER}.a.1`, `_INBOX.pairing-${TOKEN}.a.1`,
  '$SYS.REQ.CLAIMS.UPDATE', '$SYS.REQ.SERVER.PING', '$SYS.REQ.ACCOUNT.PING.CONNZ', '$JS.API.INFO', '$JS.API.STREAM.CREATE.x', '$KV.x.y', '$MQTT.x',
];
/** What only a subscription can name. */
const WILDCARDS = [
  '>', '*', 'tidemark.>', at('>'), at('*.>'), at('vra.>'), at('vra.*.control.>'), at('vra.7.>'), at('vra.7.*.>'), at('vba.>'), at('vba.7.>'), at('zvm.>'), at('zvm.*.control.>'), at(`zvm.peer-${PEER}.>`),
  '_INBOX.>', '_INBOX.*.>', '_INBOX.vra-7.>', '_INBOX.zvm-main.>', `_INBOX.peer-${PEER}.>`, '$SYS.>', '$SYS.ACCOUNT.>', '$JS.>',
];

let nats: SecuredNats;

beforeAll(async () => {
  nats = await SecuredNats.start({ siteId: SITE });
});
afterAll(async () => {
  await nats.close();
});

interface Tries {
  readonly published: readonly string[];
  readonly subscribed: readonly string[];
}

/** What the broker let this connection do. */
async function tryAll(connection: NatsConnection): Promise<Tries> {
  const refusals: string[] = [];
  void (async () => {
    for await (const status of connection.status()) if (status.type === 'error') refusals.push(status.error.message);
  })();
  for (const subject of FAMILIES) connection.publish(subject, 'x');
  await connection.flush();
  const subjects = [...FAMILIES, ...WILDCARDS];
  for (const subject of subjects) {
    // One at a time: a user may hold only a few.
    const subscription = connection.subscribe(subject, { callback: () => undefined });
    await connection.flush();
    if (!subscription.isClosed()) subscription.unsubscribe();
  }
  await connection.flush();
  await connection.close();
  const isRefused = (verb: string, subject: string): boolean => refusals.some((text) => text.toLowerCase().includes(`permissions violation for ${verb} to "${subject}"`.toLowerCase()));
  return {
    published: FAMILIES.filter((subject) => !isRefused('publish', subject)),
    subscribed: subjects.filter((subject) => !isRefused('subscription', subject)),
  };
}

async function tryAs(speaker: Speaker, url: string, text: string): Promise<Tries> {
  return await tryAll(await connectBroker(url, 'test', { inboxName: inboxNameOf(speaker), credentials: () => text, tls: () => brokerTls(SITE, nats.ca.trustedPem) }));
}

describe('what each user may say and hear', () => {
  it('the ZVM: everything of its own site, nothing of another one, no other inbox', async () => {
    const own = FAMILIES.filter((subject) => subject.startsWith(at('')));
    const tries = await tryAs({ kind: 'zvm' }, nats.url, await nats.user(zvmRights(SITE)));
    expect(tries.published).toEqual(own);
    expect(tries.subscribed).toEqual([...own, '_INBOX.zvm-main.a.1', ...WILDCARDS.filter((subject) => subject.startsWith(at(''))), '_INBOX.zvm-main.>']);
  });

  it('a VRA: its own events out, its own commands in', async () => {
    const tries = await tryAs({ kind: 'vra', vraId: '7' }, nats.url, await nats.user(vraRights(SITE, '7')));
    expect(tries.published).toEqual([at('vra.7.event.status.published'), at('zvm.main.control.trust.renew.vra.7')]);
    expect(tries.subscribed).toEqual([at('vra.7.control.state.apply'), at('vra.7.checkpoint.checkpoint.insert'), at('vra.7.log.level.set'), '_INBOX.vra-7.a.1', '_INBOX.vra-7.>']);
  });

  it('a VBA: its own events out, its own commands in, nothing of a VRA', async () => {
    const tries = await tryAs({ kind: 'vba', vbaId: '7' }, nats.url, await nats.user(vbaRights(SITE, '7')));
    expect(tries.published).toEqual([at('vba.7.event.status.published'), at('zvm.main.control.trust.renew.vba.7')]);
    expect(tries.subscribed).toEqual([at('vba.7.control.verification.start'), '_INBOX.vba-7.a.1']);
  });

  it('a paired site: what it has to say under its own name', async () => {
    const tries = await tryAs({ kind: 'peer', siteId: PEER }, nats.peerUrl, await nats.user(peerRights(SITE, PEER)));
    expect(tries.published).toEqual([at(`zvm.peer-${PEER}.control.vpg.act`), at(`zvm.peer-${PEER}.event.peer.news`)]);
    expect(tries.subscribed).toEqual([`_INBOX.peer-${PEER}.a.1`, `_INBOX.peer-${PEER}.>`]);
  });

  it('a pairing token: to be redeemed', async () => {
    const tries = await tryAs({ kind: 'pairing', tokenId: TOKEN }, nats.peerUrl, await nats.user(pairingRights(SITE, TOKEN)));
    expect(tries.published).toEqual([at(`zvm.pairing-${TOKEN}.control.pairing.redeem`)]);
    expect(tries.subscribed).toEqual([`_INBOX.pairing-${TOKEN}.a.1`]);
  });

  it('the ZVM on the system account: claims', async () => {
    const tries = await tryAs({ kind: 'zvm' }, nats.url, await nats.systemUser(systemRights()));
    expect(tries.published).toEqual(['$SYS.REQ.CLAIMS.UPDATE']);
    expect(tries.subscribed).toEqual(['_INBOX.zvm-main.a.1', '_INBOX.zvm-main.>']);
  });
});

describe('where each user comes in', () => {
  it('a peer not through 4222, a VRA, a VBA and the ZVM not through 9081', async () => {
    const enter = async (url: string, text: string): Promise<string> => {
      const access = { inboxName: 'x', credentials: () => text, tls: () => brokerTls(SITE, nats.ca.trustedPem) };
      return await connectBroker(url, 'test', access).then(async (connection) => {
        await connection.close();
        return 'let in';
      }, (error: unknown) => (error as Error).message);
    };
    const [zvm, vra, vba] = [await nats.user(zvmRights(SITE)), await nats.user(vraRights(SITE, '7')), await nats.user(vbaRights(SITE, '7'))];
    const [peer, pairing] = [ await nats.user(peerRights(SITE, PEER)), await nats.user(pairingRights(SITE, TOKEN))];
    for (const text of [zvm, vra, vba]) {
      expect(await enter(nats.url, text)).toBe('let in');
      expect(await enter(nats.peerUrl, text)).toMatch(/authorization violation/i);
    }
    for (const text of [peer, pairing]) {
      expect(await enter(nats.peerUrl, text)).toBe('let in');
      expect(await enter(nats.url, text)).toMatch(/authorization violation/i);
    }
  });

  it('a user of another operator, and a JWT with another key, nowhere', async () => {
    const stranger = await SecuredNats.make({ siteId: SITE });
    const texts = [await stranger.user(zvmRights(SITE)), (await nats.user(zvmRights(SITE))).replace(/SU[A-Z2-7]{56}/, /SU[A-Z2-7]{56}/.exec(await nats.user(zvmRights(SITE)))?.[0] ?? '')];
    for (const text of texts) {
      const access = { inboxName: 'zvm-main', credentials: () => text, tls: () => brokerTls(SITE, nats.ca.trustedPem) };
      await expect(connectBroker(nats.url, 'test', access)).rejects.toThrow(/authorization violation/i);
    }
    await stranger.close();
  });

  it('ids that would be more than one token of a subject get no user', () => {
    for (const id of ['a.b', '*', '>', 'a b', '', 'x'.repeat(65), '../7']) for (const rights of [vraRights, vbaRights]) expect(() => rights(SITE, id)).toThrow(/cannot be part of a NATS subject/);
    expect(() => peerRights(SITE, '>')).toThrow(/cannot be part/);
    expect(() => pairingRights(SITE, 'a.>')).toThrow(/cannot be part/);
  });

  it('a message or a number of subscriptions above its limits is refused', async () => {
    const connection = await connectBroker(nats.peerUrl, 'test', await nats.pairing(TOKEN));
    const errors: string[] = [];
    void (async () => {
      for await (const status of connection.status()) if (status.type === 'error') errors.push(status.error.message);
    })();
    const ended = connection.closed();
    for (let n = 0; n < 8; n += 1) connection.subscribe(`_INBOX.pairing-${TOKEN}.${n}`, { callback: () => undefined });
    await Promise.race([connection.flush().catch(() => undefined), ended.then(() => undefined)]);
    expect(errors.join()).toMatch(/maximum subscriptions exceeded/i);
    await connection.close();

    const other = await connectBroker(nats.peerUrl, 'test', await nats.pairing(TOKEN));
    const publish = async (): Promise<void> => {
      other.publish(at(`zvm.pairing-${TOKEN}.control.pairing.redeem`), 'x'.repeat(65 * 1024));
      const reason = await Promise.race([other.closed(), new Promise<void>((resolve) => setTimeout(resolve, 5000))]);
      if (reason) throw reason;
    };
    await expect(publish()).rejects.toThrow(/max.*payload/i);
    await other.close();
  });
});
