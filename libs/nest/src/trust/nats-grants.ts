import { inboxNameOf, pairingInstance, peerInstance, renewalTopic, type Speaker, subjectOf, ZVM_INSTANCE } from '@tidemark/contracts';
import { isTrustId, type NatsGrant } from '@tidemark/trust';

/** A user's rights without its key and its time. */
export type NatsRights = Omit<NatsGrant, 'notAfterMs'>;

const SYSTEM_INBOX = `zvm-${ZVM_INSTANCE}`;
/** As `max_payload` of the server: catalogues and desired states are the largest messages. */
const OWN_PAYLOAD_BYTES = 4 * 1024 * 1024;
const TOKEN_PAYLOAD_BYTES = 64 * 1024;

/** Below a subject token's alphabet of NATS: a dot would make two tokens of one, `*` and `>` would open more than one. */
function tokenOf(id: string, what: string): string {
  if (!isTrustId(id) || id.includes('.')) throw new Error(`${what} '${id.slice(0, 80)}' cannot be part of a NATS subject: letters, digits, _ and - are`);
  return id;
}

const inboxOf = (speaker: Speaker): string => `_INBOX.${inboxNameOf(speaker)}.>`;

/** Everything of its own site; it answers whoever asks it. */
export function zvmRights(siteId: string): NatsRights {
  const site = `tidemark.v1.${tokenOf(siteId, 'site')}`;
  return {
    name: 'zvm', publish: [`${site}.vra.>`, `${site}.vba.>`, `${site}.zvm.>`], subscribe: [`${site}.>`, inboxOf({ kind: 'zvm' })], listener: 'standard', answers: true,
    payloadBytesMax: OWN_PAYLOAD_BYTES, subscriptionsMax: 256,
  };
}

/** On the system account: hands the account's claims to the server, and nothing else. */
export const systemRights = (): NatsRights => ({
  name: 'zvm system', publish: ['$SYS.REQ.CLAIMS.UPDATE'], subscribe: [`_INBOX.${SYSTEM_INBOX}.>`], listener: 'standard', payloadBytesMax: OWN_PAYLOAD_BYTES, subscriptionsMax: 8,
});

/** Its own events out, commands to itself in, and the renewal of its own identity. */
export function vraRights(siteId: string, vraId: string): NatsRights {
  const site = tokenOf(siteId, 'site');
  const instanceId = tokenOf(vraId, 'VRA');
  const own = (channel: 'event' | 'control' | 'checkpoint' | 'log'): string => subjectOf({ siteId: site, service: 'vra', instanceId, channel, topic: '>' });
  return {
    name: `vra ${vraId}`,
    publish: [own('event'), subjectOf({ siteId: site, service: 'zvm', instanceId: ZVM_INSTANCE, channel: 'control', topic: renewalTopic('vra', instanceId) })],
    subscribe: [own('control'), own('checkpoint'), own('log'), inboxOf({ kind: 'vra', vraId: instanceId })],
    listener: 'standard', answers: true, payloadBytesMax: OWN_PAYLOAD_BYTES, subscriptionsMax: 64,
  };
}

/** As a VRA's: its own events out, commands to itself in, and the renewal of its own identity. It asks no VRA for anything: what it reads, it reads over 9180. */
export function vbaRights(siteId: string, vbaId: string): NatsRights {
  const site = tokenOf(siteId, 'site');
  const instanceId = tokenOf(vbaId, 'VBA');
  const own = (channel: 'event' | 'control'): string => subjectOf({ siteId: site, service: 'vba', instanceId, channel, topic: '>' });
  return {
    name: `vba ${vbaId}`,
    publish: [own('event'), subjectOf({ siteId: site, service: 'zvm', instanceId: ZVM_INSTANCE, channel: 'control', topic: renewalTopic('vba', instanceId) })],
    subscribe: [own('control'), inboxOf({ kind: 'vba', vbaId: instanceId })],
    listener: 'standard', answers: true, payloadBytesMax: OWN_PAYLOAD_BYTES, subscriptionsMax: 16,
  };
}

/** A paired site speaks to this one's ZVM under an instance id of its own; it hears only the answers. */
export function peerRights(siteId: string, peerSiteId: string): NatsRights {
  const instanceId = peerInstance(tokenOf(peerSiteId, 'site'));
  return {
    name: `site ${peerSiteId}`, publish: [`tidemark.v1.${tokenOf(siteId, 'site')}.zvm.${instanceId}.>`], subscribe: [inboxOf({ kind: 'peer', siteId: peerSiteId })],
    listener: 'websocket', payloadBytesMax: OWN_PAYLOAD_BYTES, subscriptionsMax: 8,
  };
}

/** Whoever holds a pairing token may redeem it. */
export function pairingRights(siteId: string, tokenId: string): NatsRights {
  const instanceId = pairingInstance(tokenOf(tokenId, 'token'));
  return {
    name: `pairing token ${tokenId}`, publish: [subjectOf({ siteId: tokenOf(siteId, 'site'), service: 'zvm', instanceId, channel: 'control', topic: 'pairing.redeem' })],
    subscribe: [inboxOf({ kind: 'pairing', tokenId })], listener: 'websocket', payloadBytesMax: TOKEN_PAYLOAD_BYTES, subscriptionsMax: 4,
  };
}
