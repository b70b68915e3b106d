import type { ComponentIdentity, ComponentName } from '@tidemark/trust';
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { databaseUrlOf } from '../identity.js';
import { credentialPath } from '../servers/hypervisor.js';
import { allowed, type Attempt, type Outcome, refused } from './attempt.js';
import { ask, peerSubjects, subjectAttempt, vraSubjects } from './broker.js';
import { mintIdentity, natsUserOf, peerUser, trustedSite, vraIdentity, zvmIdentity } from './components.js';
import { claimedVpg } from './claimed-vpg.js';
import { databaseLogIn } from './enrolment.js';
import { openStream, sayHello, type VraKeys } from './data-plane.js';
import { listExports } from './nbd-list.js';
import type { Port } from './ports.js';
import type { Stage } from './stage.js';
import { restCall, strangerAttempts } from './strangers.js';

/** Ports, by site and kind; the first of several. */
type Find = (site: 'a' | 'b', kind: Port['kind'], process?: string) => Port;

export const finder = (ports: readonly Port[]): Find => (site, kind, process) => {
  const found = ports.find((port) => port.site === site && port.kind === kind && (process === undefined || port.name.startsWith(`${site}/${process} `)));
  if (!found) throw new Error(`nothing of kind ${kind} listens at site ${site} ${process ?? ''}`);
  return found;
};

const tlsOf = (identity: ComponentIdentity): { key: string; cert: string } => ({ key: identity.current().keyPem, cert: identity.current().certificatePem });

/** What no component but those of the site itself may reach, with its keys. */
const FOR_OWN_SITE: readonly Port['kind'][] = ['nats', 'postgres', 'hypervisor', 'rest', 'internal', 'backup', 'vraHealth'];

/** A VRA of site a, at its own site: it was taken over, so it has all that a VRA has. */
export async function ownVra(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const who = 'VRA of the own site';
  const { a } = stage.pair.lab.layout.sites;
  const find = finder(ports);
  const [own, other] = [await vraIdentity(a, 0), await vraIdentity(a, 1)];
  const user = natsUserOf(own);
  const broker = find('a', 'nats');
  const subjects = vraSubjects({ siteId: own.name.siteId, ownId: own.name.instanceId, otherId: other.name.instanceId });
  const keys: VraKeys = { identity: own, believes: [await trustedSite(a, own.name.siteId)] };
  const [control, data] = [find('a', 'vraControl', 'vra2'), find('a', 'vraData', 'vra2')];
  return [
    ...subjects.map((one) => subjectAttempt({ who, port: broker.name, user, place: broker }, one)),
    ...strangerAttempts({ who, natsUser: user, tls: tlsOf(own) }, find('a', 'natsPeer')),
    ...strangerAttempts({ who, natsUser: user, tls: tlsOf(own) }, find('b', 'nats')),
    ...(['hypervisor', 'postgres', 'rest', 'internal', 'backup'] as const).flatMap((kind) => strangerAttempts({ who, natsUser: user, tls: tlsOf(own) }, find('a', kind))),
    { who, port: control.name, tried: 'say hello to another VRA', isExpectedAllowed: true, run: () => sayHello(control, keys, other.name) },
    { who, port: data.name, tried: 'ask for a stream that there is not', isExpectedAllowed: false, run: () => openStream(data, keys, other.name, { vpgId: stage.vpgId, vmId: stage.vmId }) },
  ];
}

/** A VRA of site a (it protects) at site b (which recovers), and the other way round. */
export async function otherSitesVra(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const who = 'VRA of the other site';
  const { a, b } = stage.pair.lab.layout.sites;
  const find = finder(ports);
  const [atA, atB] = [await vraIdentity(a, 0), await vraIdentity(b, 0)];
  const believes = [await trustedSite(a, atA.name.siteId), await trustedSite(b, atB.name.siteId)];
  const stranger = { who, tls: tlsOf(atB), natsUser: natsUserOf(atB) };
  const keys: VraKeys = { identity: atB, believes };
  const [control, data] = [find('a', 'vraControl', 'vra1'), find('a', 'vraData', 'vra1')];
  return [
    ...FOR_OWN_SITE.flatMap((kind) => strangerAttempts(stranger, find('a', kind))),
    ...strangerAttempts(stranger, find('a', 'natsPeer')),
    { who, port: control.name, tried: 'say hello where VRAs of one site agree', isExpectedAllowed: false, run: () => sayHello(control, keys, atA.name) },
    { who, port: data.name, tried: 'say hello where streams of pairs arrive', isExpectedAllowed: true, run: () => sayHello(data, keys, atA.name) },
    { who, port: data.name, tried: 'ask for the stream of the VM that this site protects itself', isExpectedAllowed: false, run: () => openStream(data, keys, atA.name, { vpgId: stage.vpgId, vmId: stage.vmId }) },
  ];
}

/** Whom the ports are for: an attempt that succeeds for nobody would prove nothing where it is refused. */
export async function rightfulOnes(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const who = 'the site manager itself';
  const { a } = stage.pair.lab.layout.sites;
  const find = finder(ports);
  const zvm = await zvmIdentity(a);
  const [hypervisor, backup, health] = [find('a', 'hypervisor'), find('a', 'backup'), find('a', 'vraHealth')];
  const authorization = `Bearer ${await readFile(credentialPath(a), 'utf8')}`;
  return [
    { who, port: hypervisor.name, tried: 'read the inventory', isExpectedAllowed: true, run: async () => answered(await restCall(hypervisor, { method: 'GET', path: '/v1/inventory', headers: { authorization } })) },
    { who, port: health.name, tried: 'GET /metrics', isExpectedAllowed: true, run: async () => answered(await restCall(health, { method: 'GET', path: '/metrics' }, tlsOf(zvm))) },
    { who, port: backup.name, tried: 'list what it serves', isExpectedAllowed: true, run: () => listExports(backup, tlsOf(zvm)) },
    { who, port: find('a', 'postgres').name, tried: 'log in', isExpectedAllowed: true, run: () => databaseLogIn(databaseUrlOf(a, stage.pair.lab.identity.sites.a)) },
  ];
}

const answered = ({ status, text }: { readonly status: number; readonly text: string }): Outcome => (status === 200 ? allowed(`${text.length} characters`) : refused(String(status)));

/** The third site: paired with b, so b believes its CA; the VPG is of a and b. */
export async function thirdSite(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const who = 'paired site, outside its pairing';
  const { b, a } = stage.pair.lab.layout.sites;
  const find = finder(ports);
  const { site: third, siteId: ownSiteId } = stage.third;
  const [siteId, otherSiteId] = [stage.pair.siteId('b'), stage.pair.siteId('a')];
  const user = await peerUser(third, siteId);
  const zvm = await zvmIdentity(third);
  const vra = await mintIdentity(third, { siteId: ownSiteId, role: 'vra', instanceId: '1' });
  const recovering = await vraIdentity(b, 0);
  const broker = find('b', 'natsPeer');
  const stranger = { who, tls: tlsOf(zvm), natsUser: user, isPaired: true };
  return [
    ...peerSubjects({ siteId, ownSiteId, otherSiteId }).map((one) => subjectAttempt({ who, port: broker.name, user, place: broker, isWebsocket: true }, one)),
    ...requestsOf({ who, ownSiteId, otherSiteId, siteId, vpgId: stage.vpgId, vmId: stage.vmId }).map(({ tried, subject, body, isExpectedAllowed = false, isMalformed = false }): Attempt => ({
      who, port: broker.name, tried, isExpectedAllowed, run: async () => assertUnderstood(await ask(broker, user, { subject, body, inbox: `_INBOX.peer-${ownSiteId}` }), isMalformed),
    })),
    ...FOR_OWN_SITE.flatMap((kind) => strangerAttempts(stranger, find('b', kind))),
    ...strangerAttempts({ ...stranger, isPaired: false, who: 'paired site, at another site' }, find('a', 'natsPeer')),
    ...await dataPlaneOf(stage, find, { who, vra, recovering: recovering.name, believes: [await trustedSite(b, siteId), await trustedSite(a, otherSiteId)] }),
  ];
}

interface DataPlaneFacts {
  readonly who: string;
  readonly vra: ComponentIdentity;
  readonly recovering: ComponentName;
  readonly believes: VraKeys['believes'];
}

async function dataPlaneOf(stage: Stage, find: Find, { who, vra, recovering, believes }: DataPlaneFacts): Promise<Attempt[]> {
  const protecting = (await vraIdentity(stage.pair.lab.layout.sites.a, 0)).name;
  const keys: VraKeys = { identity: vra, believes };
  const [control, data, elsewhere] = [find('b', 'vraControl', 'vra1'), find('b', 'vraData', 'vra1'), find('a', 'vraData', 'vra1')];
  return [
    { who, port: control.name, tried: 'say hello where VRAs of one site agree', isExpectedAllowed: false, run: () => sayHello(control, keys, recovering) },
    { who, port: data.name, tried: 'say hello where streams of pairs arrive', isExpectedAllowed: true, run: () => sayHello(data, keys, recovering) },
    { who, port: data.name, tried: 'take over the stream of the VM of the other pairing', isExpectedAllowed: false, run: () => openStream(data, keys, recovering, { vpgId: stage.vpgId, vmId: stage.vmId }) },
    { who: 'paired site, at another site', port: elsewhere.name, tried: 'say hello', isExpectedAllowed: false, run: () => sayHello(elsewhere, keys, protecting) },
  ];
}

/** A message that nobody could read is refused to everybody: that would prove nothing about who may send it. */
function assertUnderstood(outcome: Outcome, isMalformed: boolean): Outcome {
  if (!isMalformed && outcome.seen.startsWith('CONTROL_INVALID')) throw new Error(`the message is not a valid one: ${outcome.seen}`);
  return outcome;
}

interface PeerRequest {
  readonly tried: string;
  readonly subject: string;
  readonly body: unknown;
  readonly isExpectedAllowed?: boolean;
  /** Refused by its form alone. */
  readonly isMalformed?: boolean;
}

interface PeerFacts {
  readonly who: string;
  readonly siteId: string;
  readonly ownSiteId: string;
  readonly otherSiteId: string;
  readonly vpgId: string;
  readonly vmId: string;
}

/** What the ZVM is asked for in the third site's own name: about a VPG that is none of its business. */
function requestsOf({ siteId, ownSiteId, vpgId, vmId }: PeerFacts): PeerRequest[] {
  const request = (tried: string, topic: string, body: object, more: Partial<PeerRequest> = {}): PeerRequest => ({ tried, subject: `tidemark.v1.${siteId}.zvm.peer-${ownSiteId}.control.${topic}`, body, ...more });
  const act = (action: string, input: object = {}): PeerRequest => request(`${action} the VPG of the other pairing`, 'vpg.act', { taskId: `probe-${action}`, action, initiatedBy: 'probe', vpgId, input });
  const claim = (claimedId: string): object => claimedVpg({ vpgId: claimedId, protectedSiteId: siteId, recoverySiteId: ownSiteId, vmId });
  return [
    request('read the inventory of its peer', 'inventory.get', {}, { isExpectedAllowed: true }),
    act('failover'), act('failoverTest'), act('delete', { Force: true }), act('pause'), act('update'), act('insertCheckpoint', { CheckpointName: 'x' }),
    request('power its VMs off', 'vm.power', { vpgId, vmIds: [vmId], action: 'forceOff' }),
    request('replace its checkpoint list', 'catalogue.put', { vpgId, baseRevision: 0, revision: 1, isWhole: true, added: [], removed: [] }),
    request('compare it anew', 'vpg.forceSync', { vpgId }),
    request('put a checkpoint into it', 'checkpoint.insert', { vpgId, tag: 'x' }),
    request('have its VMs settled', 'vpg.settle', { vpgId, checkpointId: 1 }),
    request('put a record of its own over it', 'vpg.put', { record: claim(vpgId) }),
    request('take it over in the other direction', 'vpg.takeReverse', { taskId: 'probe-reverse', initiatedBy: 'probe', record: claim(vpgId) }),
    request('protect a VM that it was not asked to', 'vpg.put', { record: claim(randomUUID()) }),
    request('end the pairing of the other two', 'peer.unpair', { isTargetKept: 'no' }, { isMalformed: true }),
    request('pair again without a token', 'pairing.redeem', { secret: 'x' }, { isMalformed: true }),
  ];
}
