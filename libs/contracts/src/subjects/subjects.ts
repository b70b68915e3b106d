import type { ApplianceRole } from '../trust/messages.js';

/** NATS subjects: `tidemark.v1.<siteId>.<service>.<instanceId>.<channel>.<noun>.<verb>`. */
export type Service = 'zvm' | 'vra' | 'vba';
export type Channel = 'control' | 'checkpoint' | 'log' | 'event';

export interface SubjectParts {
  readonly siteId: string;
  readonly service: Service;
  readonly instanceId: string;
  readonly channel: Channel;
  /** `<noun>.<verb>`, e.g. `view.open`, or `>` to subscribe to the whole channel. */
  readonly topic: string;
}

export function subjectOf({ siteId, service, instanceId, channel, topic }: SubjectParts): string {
  return `tidemark.v1.${siteId}.${service}.${instanceId}.${channel}.${topic}`;
}

/** The ZVM's own instance id: a site has one. */
export const ZVM_INSTANCE = 'main';

/**
 * Who speaks on a subject that the broker lets one user alone publish to. A paired site and the holder of a pairing token speak to the ZVM under
 * instance ids of their own; an appliance renews its identity under its own role and id; to an appliance the ZVM alone speaks.
 */
export type Speaker =
  | { readonly kind: 'zvm' }
  | { readonly kind: 'vra'; readonly vraId: string }
  | { readonly kind: 'vba'; readonly vbaId: string }
  | { readonly kind: 'peer'; readonly siteId: string }
  | { readonly kind: 'pairing'; readonly tokenId: string };

export const peerInstance = (siteId: string): string => `peer-${siteId}`;
export const pairingInstance = (tokenId: string): string => `pairing-${tokenId}`;

const TRUST_RENEWAL = 'trust.renew';

/** `trust.renew.vra.7`: an appliance asks for its next certificate. `*` for the id: all of that role. */
export const renewalTopic = (role: ApplianceRole, instanceId: string): string => `${TRUST_RENEWAL}.${role}.${instanceId}`;

const FIRST_TOKENS = 4;

/** undefined: not a subject of ours, or one on which nobody asks. */
export function speakerOn(subject: string): Speaker | undefined {
  const tokens = subject.split('.');
  const [product, version, , service] = tokens;
  const instanceId = tokens[FIRST_TOKENS] ?? '';
  if (product !== 'tidemark' || version !== 'v1') return undefined;
  if (service === 'vra' || service === 'vba') return { kind: 'zvm' };
  if (service !== 'zvm') return undefined;
  if (instanceId.startsWith('peer-')) return { kind: 'peer', siteId: instanceId.slice('peer-'.length) };
  if (instanceId.startsWith('pairing-')) return { kind: 'pairing', tokenId: instanceId.slice('pairing-'.length) };
  const topic = tokens.slice(FIRST_TOKENS + 2);
  const isRenewal = instanceId === ZVM_INSTANCE && topic.length === 4 && topic.slice(0, 2).join('.') === TRUST_RENEWAL;
  const [role, id = ''] = topic.slice(2);
  if (!isRenewal || (role !== 'vra' && role !== 'vba')) return undefined;
  return role === 'vra' ? { kind: role, vraId: id } : { kind: role, vbaId: id };
}

/** Name under which a speaker's answers come in: it may subscribe to `_INBOX.<name>.>` and to no other inbox. */
export function inboxNameOf(speaker: Speaker): string {
  switch (speaker.kind) {
    case 'zvm': return `zvm-${ZVM_INSTANCE}`;
    case 'vra': return `vra-${speaker.vraId}`;
    case 'vba': return `vba-${speaker.vbaId}`;
    case 'peer': return peerInstance(speaker.siteId);
    case 'pairing': return pairingInstance(speaker.tokenId);
  }
}

/** What every responder answers: the result, or an error with a stable code. */
export type Reply<Result> =
  | { readonly isOk: true; readonly result: Result }
  | { readonly isOk: false; readonly code: string; readonly message: string };
