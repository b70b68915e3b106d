import { allowed, type Attempt, type Outcome, refused } from './attempt.js';
import { NatsProbe, type NatsUser } from './nats-probe.js';
import type { Place } from './wire.js';

/** One subject that a user tries at a broker. */
export interface SubjectTry {
  readonly tried: string;
  readonly verb: 'read' | 'send';
  readonly subject: string;
  readonly isExpectedAllowed: boolean;
}

/** Each with a connection of its own: nothing that is refused first can colour what comes after it. */
export function subjectAttempt({ who, port, user, place, isWebsocket = false }: { readonly who: string; readonly port: string; readonly user: NatsUser; readonly place: Place; readonly isWebsocket?: boolean }, one: SubjectTry): Attempt {
  return { who, port, tried: one.tried, isExpectedAllowed: one.isExpectedAllowed, run: () => trySubject(place, user, isWebsocket, one) };
}

async function trySubject(place: Place, user: NatsUser, isWebsocket: boolean, { verb, subject }: SubjectTry): Promise<Outcome> {
  const probe = await NatsProbe.open(place, user, { isWebsocket });
  try {
    const complaint = verb === 'read' ? await probe.subscribe(subject) : await probe.publish(subject);
    return complaint === '' ? allowed(subject) : refused(complaint);
  } finally {
    probe.close();
  }
}

/** What a request to the other site's ZVM is answered with; a refusal with a code is a refusal. */
export async function ask(place: Place, user: NatsUser, { subject, body, inbox }: { readonly subject: string; readonly body: unknown; readonly inbox: string }): Promise<Outcome> {
  const probe = await NatsProbe.open(place, user, { isWebsocket: true });
  try {
    const { complaint, answer } = await probe.request(subject, body, inbox);
    if (complaint !== '') return refused(complaint);
    const reply = JSON.parse(answer) as { isOk: boolean; code?: string; message?: string };
    return reply.isOk ? allowed(answer.slice(0, 100)) : refused(`${reply.code ?? ''}: ${reply.message ?? ''}`);
  } finally {
    probe.close();
  }
}

/** What a VRA may and may not do at its own site's broker. */
export function vraSubjects({ siteId, ownId, otherId }: { readonly siteId: string; readonly ownId: string; readonly otherId: string }): SubjectTry[] {
  const own = `tidemark.v1.${siteId}.vra.${ownId}`;
  const other = `tidemark.v1.${siteId}.vra.${otherId}`;
  const zvm = `tidemark.v1.${siteId}.zvm`;
  const may = (tried: string, verb: SubjectTry['verb'], subject: string): SubjectTry => ({ tried, verb, subject, isExpectedAllowed: true });
  const mayNot = (tried: string, verb: SubjectTry['verb'], subject: string): SubjectTry => ({ tried, verb, subject, isExpectedAllowed: false });
  return [
    may('read commands for itself', 'read', `${own}.control.>`),
    may('send its own events', 'send', `${own}.event.probe.nothing`),
    may('ask to renew its own certificate', 'send', `${zvm}.main.control.trust.renew.vra.${ownId}`),
    may('read its own answers', 'read', `_INBOX.vra-${ownId}.x`),
    mayNot('read commands for another VRA', 'read', `${other}.control.>`),
    mayNot('read checkpoint commands for another VRA', 'read', `${other}.checkpoint.>`),
    mayNot('read events of another VRA', 'read', `${other}.event.>`),
    mayNot('read everything of the site', 'read', `tidemark.v1.${siteId}.>`),
    mayNot('read everything', 'read', '>'),
    mayNot('read everybody’s answers', 'read', '_INBOX.>'),
    mayNot('read the ZVM’s answers', 'read', '_INBOX.zvm-main.>'),
    mayNot('read what peers ask', 'read', `${zvm}.*.control.>`),
    mayNot('read the system account', 'read', '$SYS.>'),
    mayNot('send commands to another VRA', 'send', `${other}.control.recovery.remove`),
    mayNot('send commands to itself', 'send', `${own}.control.recovery.remove`),
    mayNot('send events of another VRA', 'send', `${other}.event.status.published`),
    mayNot('ask for another VRA’s certificate', 'send', `${zvm}.main.control.trust.renew.vra.${otherId}`),
    mayNot('speak as a paired site', 'send', `${zvm}.peer-11111111-1111-4111-8111-111111111111.control.vpg.act`),
    mayNot('redeem a pairing token', 'send', `${zvm}.pairing-x.control.pairing.redeem`),
    mayNot('change accounts of the broker', 'send', '$SYS.REQ.CLAIMS.UPDATE'),
    mayNot('use JetStream', 'send', '$JS.API.STREAM.CREATE.x'),
    mayNot('answer in another’s place', 'send', '_INBOX.zvm-main.guess.1'),
  ];
}

/** What a paired site may and may not do at the other site's broker. */
export function peerSubjects({ siteId, ownSiteId, otherSiteId }: { readonly siteId: string; readonly ownSiteId: string; readonly otherSiteId: string }): SubjectTry[] {
  const zvm = `tidemark.v1.${siteId}.zvm`;
  const mayNot = (tried: string, verb: SubjectTry['verb'], subject: string): SubjectTry => ({ tried, verb, subject, isExpectedAllowed: false });
  return [
    { tried: 'speak to the ZVM as itself', verb: 'send', subject: `${zvm}.peer-${ownSiteId}.event.peer.nothing`, isExpectedAllowed: true },
    { tried: 'read its own answers', verb: 'read', subject: `_INBOX.peer-${ownSiteId}.x`, isExpectedAllowed: true },
    mayNot('speak as another paired site', 'send', `${zvm}.peer-${otherSiteId}.control.vpg.act`),
    mayNot('read another site’s answers', 'read', `_INBOX.peer-${otherSiteId}.>`),
    mayNot('read what it asks itself', 'read', `${zvm}.peer-${ownSiteId}.>`),
    mayNot('read everything of the site', 'read', `tidemark.v1.${siteId}.>`),
    mayNot('read everything', 'read', '>'),
    mayNot('read everybody’s answers', 'read', '_INBOX.>'),
    mayNot('read the system account', 'read', '$SYS.>'),
    mayNot('send commands to a VRA', 'send', `tidemark.v1.${siteId}.vra.1.control.recovery.remove`),
    mayNot('send events of a VRA', 'send', `tidemark.v1.${siteId}.vra.1.event.status.published`),
    mayNot('speak to the ZVM as the ZVM', 'send', `${zvm}.main.control.vpg.act`),
    mayNot('redeem a pairing token', 'send', `${zvm}.pairing-x.control.pairing.redeem`),
    mayNot('change accounts of the broker', 'send', '$SYS.REQ.CLAIMS.UPDATE'),
  ];
}
