import { makePeople } from './accounts.js';
import type { Attempt, Result } from './attempt.js';
import { backupAppliance } from './backup-appliance.js';
import type { Listener } from './listeners.js';
import { databaseUrlOf } from '../identity.js';
import { PORTS } from '../layout.js';
import { vraIdentity } from './components.js';
import { enrolmentAttempts } from './enrolment.js';
import { finder, otherSitesVra, ownVra, rightfulOnes, thirdSite } from './other-components.js';
import { personAttempts } from './people.js';
import { type Port, portOf } from './ports.js';
import { programAttempts } from './programs.js';
import type { Stage } from './stage.js';
import { type Stranger, strangerAttempts } from './strangers.js';
import { canBeSomebodyElse, filesAttempt, socketAttempt } from './this-machine.js';

export interface Plan {
  readonly attempts: readonly Attempt[];
  /** Listeners that nobody has described, as results that fail. */
  readonly undescribed: readonly Result[];
}

/** Everything that is tried, from what listens now. */
export async function attemptsOn(stage: Stage): Promise<Plan> {
  const ports: Port[] = [];
  const undescribed: Result[] = [];
  for (const listener of await stage.listeners()) {
    const port = portOf(listener, stage.pair.lab.layout.sites[listener.process.startsWith('a/') ? 'a' : 'b']);
    if (port) ports.push(port);
    else undescribed.push(unknownListener(listener));
  }
  const attempts: Attempt[] = [];
  for (const [who, group] of Object.entries(GROUPS)) {
    try {
      attempts.push(...(await group(stage, ports)));
    } catch (error) {
      undescribed.push({ ...failure('(none)', 'anything', `its attempts could not be made: ${(error as Error).message}`), who });
    }
  }
  const untried = ports.filter(({ name }) => !attempts.some(({ port }) => port === name));
  return { attempts, undescribed: [...undescribed, ...untried.map(untriedPort)] };
}

type Group = (stage: Stage, ports: readonly Port[]) => Promise<Attempt[]> | Attempt[];

const GROUPS: Readonly<Record<string, Group>> = {
  'outsiders': strangersAt, 'the site manager itself': rightfulOnes, 'VRA of the own site': ownVra, 'VBA': backupAppliance, 'VRA of the other site': otherSitesVra, 'paired site, outside its pairing': thirdSite, 'roles': peopleAt, 'programs': programsAt, 'components that enrol': enrolmentsAt, 'persons of an identity provider': personsAt, 'another user of the machine': machineAt,
};

async function strangersAt(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const { forger, pair } = stage;
  const name = { siteId: pair.siteId('a'), role: 'zvm', instanceId: 'main' } as const;
  const strangers: Stranger[] = [
    { who: 'outsider with nothing' },
    { who: 'outsider, self-made keys', tls: await forger.tls(name), natsUser: await forger.natsUser('standard') },
  ];
  return strangers.flatMap((stranger) => ports.flatMap((port) => strangerAttempts(stranger, port)));
}

/** The roles of one site: the other one runs the same program. */
async function peopleAt(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const port = ports.find(({ kind, site }) => kind === 'rest' && site === 'a');
  if (!port) return [];
  const ids = { siteId: stage.pair.siteId('a'), vpgId: stage.vpgId, none: 'ffffffff-0000-4000-8000-000000000000' };
  const people = await makePeople(await stage.pair.api('a'), port);
  return people.flatMap(({ role, isElsewhere, ...person }) => personAttempts(person, role, { port, ids, isElsewhere }));
}

async function programsAt(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  return await programAttempts(await stage.pair.api('a'), finder(ports)('a', 'rest'), stage.vpgId);
}

async function enrolmentsAt(stage: Stage, ports: readonly Port[]): Promise<Attempt[]> {
  const { layout, identity } = stage.pair.lab;
  const [api, vra] = [await stage.pair.api('a'), await vraIdentity(layout.sites.a, 0)];
  return await enrolmentAttempts({ api, port: finder(ports)('a', 'internal'), vra, databaseUrl: databaseUrlOf(layout.sites.a, identity.sites.a) });
}

/** At the third site: its own ports are not those of the lab that is attacked. */
function personsAt({ third }: Stage): Attempt[] {
  return third.provider.attempts({ place: third.site.managerAddress, port: PORTS.rest }, `third/zvm ${PORTS.rest}`);
}

function machineAt(stage: Stage, ports: readonly Port[]): Attempt[] {
  if (!canBeSomebodyElse()) return [];
  return [...ports.filter(({ kind }) => kind === 'nbd' || kind === 'postgres').map(socketAttempt), filesAttempt(stage.pair.lab.layout.folder)];
}

const failure = (port: string, tried: string, seen: string): Result => ({ who: 'anybody', port, tried, isExpectedAllowed: false, isAllowed: true, isAsExpected: false, seen });

const unknownListener = ({ process, kind, place, port }: Listener): Result =>
  failure(`${process} ${kind} ${place}${port === 0 ? '' : `:${port}`}`, 'reach it', 'nobody has said what may be done here: describe it in security/ports.ts');

const untriedPort = ({ name }: Port): Result => failure(name, '(nothing)', 'no attempt is made at this port');
