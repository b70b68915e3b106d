import type { Attempt } from './attempt.js';
import { subjectAttempt, type SubjectTry } from './broker.js';
import { natsUserOf, trustedSite, vbaIdentity, vraIdentity } from './components.js';
import { sayHello, type VraKeys } from './data-plane.js';
import { listExports } from './nbd-list.js';
import { finder } from './other-components.js';
import type { Port } from './ports.js';
import type { Stage } from './stage.js';
import { strangerAttempts } from './strangers.js';

/** What a VBA may and may not do at its own site's broker. */
function vbaSubjects({ siteId, ownId, vraId }: { readonly siteId: string; readonly ownId: string; readonly vraId: string }): SubjectTry[] {
  const [own, vra, zvm] = [`tidemark.v1.${siteId}.vba.${ownId}`, `tidemark.v1.${siteId}.vra.${vraId}`, `tidemark.v1.${siteId}.zvm`];
  const one = (isExpectedAllowed: boolean) => (tried: string, verb: SubjectTry['verb'], subject: string): SubjectTry => ({ tried, verb, subject, isExpectedAllowed });
  const [may, mayNot] = [one(true), one(false)];
  return [
    may('read commands for itself', 'read', `${own}.control.>`),
    may('send its own events', 'send', `${own}.event.probe.nothing`),
    may('ask to renew its own certificate', 'send', `${zvm}.main.control.trust.renew.vba.${ownId}`),
    mayNot('ask for the certificate of a VRA', 'send', `${zvm}.main.control.trust.renew.vra.${vraId}`),
    mayNot('ask for the certificate of a VRA of its own id', 'send', `${zvm}.main.control.trust.renew.vra.${ownId}`),
    mayNot('have a VRA open a disk to be read', 'send', `${vra}.control.view.open`),
    mayNot('send commands to itself', 'send', `${own}.control.verification.start`),
    mayNot('send events of a VRA', 'send', `${vra}.event.status.published`),
    mayNot('send events of another VBA', 'send', `tidemark.v1.${siteId}.vba.1.event.status.published`),
    mayNot('read commands for another VBA', 'read', `tidemark.v1.${siteId}.vba.*.control.>`),
    mayNot('read commands for a VRA', 'read', `${vra}.control.>`),
    mayNot('read everything of the site', 'read', `tidemark.v1.${siteId}.>`),
    mayNot('read everybody’s answers', 'read', '_INBOX.>'),
    mayNot('change accounts of the broker', 'send', '$SYS.REQ.CLAIMS.UPDATE'),
  ];
}

/** The VBA of site a, at its own site and at the other one: it was taken over, so it has all that a VBA has. */
export async function backupAppliance(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const [who, elsewhere] = ['VBA of the own site', 'VBA of the other site'];
  const { a } = stage.pair.lab.layout.sites;
  const find = finder(ports);
  const [own, vra] = [await vbaIdentity(a), await vraIdentity(a, 0)];
  const natsUser = natsUserOf(own);
  const { keyPem: key, certificatePem: cert } = own.current();
  const broker = find('a', 'nats');
  const backup = find('a', 'backup', 'vra1');
  const subjects = vbaSubjects({ siteId: own.name.siteId, ownId: own.name.instanceId, vraId: vra.name.instanceId });
  const keys: VraKeys = { identity: own, believes: [await trustedSite(a, own.name.siteId)] };
  return [
    ...subjects.map((one) => subjectAttempt({ who, port: broker.name, user: natsUser, place: broker }, one)),
    ...(['natsPeer', 'hypervisor', 'postgres', 'rest', 'internal'] as const).flatMap((kind) => strangerAttempts({ who, natsUser, tls: { key, cert } }, find('a', kind))),
    { who, port: backup.name, tried: 'list what is open to be read', isExpectedAllowed: true, run: () => listExports(backup, { key, cert }) },
    ...(['vraControl', 'vraData'] as const).map((kind): Attempt => {
      const port = find('a', kind, 'vra1');
      return { who, port: port.name, tried: 'say hello as a VRA does', isExpectedAllowed: false, run: () => sayHello(port, keys, vra.name) };
    }),
    ...(['nats', 'backup', 'vraHealth'] as const).flatMap((kind) => strangerAttempts({ who: elsewhere, natsUser, tls: { key, cert } }, find('b', kind))),
  ];
}
