import { rpoLevel } from './sla.js';

/** Reference §11; the ids of this version. */
export type AlertId =
  | 'VPG0007' | 'VPG0037' | 'VPG0038' | 'VRA0006' | 'VRA0007' | 'VRA0021' | 'VRA0039' | 'VRA0040' | 'TDM0001' | 'TDM0002' | 'TDM0003' | 'TDM0004' | 'TDM0005' | 'TDM0006' | 'TDM0010' | 'TDM0011' | 'TDM0012' | 'TDM0013' | 'TDM0020' | 'TDM0021' | 'TDM0022'
  | 'BCK0006' | 'VPG0009' | 'VPG0010' | 'VPG0014' | 'VPG0050' | 'ZVM0002' | 'ZVM0003' | 'TDM0030';

export interface AlertDefinition {
  readonly level: 'Warning' | 'Error';
  readonly entity: 'Zvm' | 'Vra' | 'Vpg';
  /** Stays on until a user dismisses it: what it tells of has happened, and nothing that is measured later makes it undone. */
  readonly isLatched?: true;
}

export const ALERTS: Readonly<Record<AlertId, AlertDefinition>> = {
  VPG0007: { level: 'Error', entity: 'Vpg' }, // replication pauses to keep the last checkpoint
  VPG0037: { level: 'Warning', entity: 'Vpg' }, // history under 75 % of what should be there
  VPG0038: { level: 'Error', entity: 'Vpg' }, // under half of it
  VRA0006: { level: 'Error', entity: 'Vra' }, // datastore of journals at its guard
  VRA0007: { level: 'Error', entity: 'Vra' }, // journal cannot be written
  VRA0021: { level: 'Error', entity: 'Vra' }, // protected disk inaccessible
  VRA0039: { level: 'Error', entity: 'Vra' }, // journal at its hard limit
  VRA0040: { level: 'Warning', entity: 'Vra' }, // journal at its warning threshold
  TDM0001: { level: 'Warning', entity: 'Vra' }, // clocks of two VRAs differ by more than a second (ours)
  TDM0002: { level: 'Error', entity: 'Vra' }, // the scrub found damage in a journal (ours)
  TDM0003: { level: 'Warning', entity: 'Vra' }, // wall clock and running time of a VRA contradict each other: nothing is retired by age (ours)
  TDM0004: { level: 'Error', entity: 'Vra' }, // scratch full (ours: the reference has no id for it)
  TDM0005: { level: 'Warning', entity: 'Vra' }, // scratch at its warning threshold (ours)
  TDM0006: { level: 'Error', entity: 'Vra' }, // heartbeats of a VRA or VBA that are none (ours)
  TDM0010: { level: 'Warning', entity: 'Zvm' }, // a certificate ends within 30 days (ours)
  TDM0011: { level: 'Error', entity: 'Zvm' }, // within 7 days (ours)
  TDM0012: { level: 'Error', entity: 'Zvm' }, // a certificate has ended or has not begun (ours)
  TDM0013: { level: 'Error', entity: 'Zvm' }, // audit entries do not reach the syslog collector (ours)
  TDM0020: { level: 'Error', entity: 'Vpg' }, // another site owns the VMs since a failover; those here are fenced (ours)
  TDM0021: { level: 'Error', entity: 'Vpg' }, // claimed here by force: both sites may run the VMs (ours)
  TDM0022: { level: 'Error', entity: 'Vpg', isLatched: true }, // the recovery side has lost acknowledged writes (ours)
  BCK0006: { level: 'Error', entity: 'Zvm' }, // VBA unreachable
  VPG0009: { level: 'Warning', entity: 'Vpg' }, // RPO 15 to 25 % above its target
  VPG0010: { level: 'Error', entity: 'Vpg' }, // RPO 25 % or more above it
  VPG0014: { level: 'Warning', entity: 'Vpg' }, // failover waits for commit or rollback
  VPG0050: { level: 'Warning', entity: 'Vpg' }, // not tested within its test interval
  ZVM0002: { level: 'Error', entity: 'Vra' }, // VRA unreachable
  ZVM0003: { level: 'Error', entity: 'Zvm' }, // paired site unreachable
  TDM0030: { level: 'Error', entity: 'Zvm' }, // the site's own broker cannot be used (ours)
};

/** An alert that should be on now. */
export interface WantedAlert extends AlertDefinition {
  readonly helpIdentifier: AlertId;
  /** What it is about: with the id it names the alert. */
  readonly subject: string;
  readonly description: string;
  readonly vpgIds: readonly string[];
}

export interface AlertFacts {
  readonly vpgs: readonly {
    readonly vpgId: string;
    readonly name: string;
    /** Protected and past its first checkpoint; false while failing over, deleting, initialising. */
    readonly isReplicating: boolean;
    /** null: not known here (then the link or the VRA has an alert of its own). */
    readonly rpoMs: number | null;
    readonly rpoTargetMs: number;
    /** Why the newest checkpoint was given up; null: it was sealed, or nothing is known. */
    readonly voidReason: string | null;
    readonly isWaitingForCommit: boolean;
    /** Since the last failover test began, or, without one, since the VPG was made. */
    readonly untestedForMs: number;
    readonly wasTested: boolean;
    /** 0: nobody is to be reminded. */
    readonly testIntervalMs: number;
  }[];
  /** VMs of this site that another one has failed over. */
  readonly fences: readonly { readonly vpgId: string; readonly vpgName: string; readonly ownerSiteName: string; readonly epoch: number; readonly isLifted: boolean; readonly liftedBy: string | null; readonly isDenied: boolean }[];
  /** `problem`: why its broker cannot be reached from here, null when it can. */
  readonly peers: readonly { readonly siteId: string; readonly name: string; readonly isConnected: boolean; readonly problem: string | null; readonly vpgIds: readonly string[] }[];
  /** Of this site's own broker; null: none. */
  readonly brokerProblem: string | null;
  readonly vras: readonly { readonly vraId: string; readonly name: string; readonly isConnected: boolean; readonly vpgIds: readonly string[] }[];
  readonly vbas: readonly VbaFacts[];
}

export interface VbaFacts {
  readonly vbaId: string;
  readonly name: string;
  readonly isConnected: boolean;
  /** Since the ZVM has started. */
  readonly wasHeard: boolean;
  /** Since it was added. */
  readonly knownForMs: number;
}

/** One that was added is enrolled by hand, with a token that is good for so long. */
const VBA_ENROLMENT_MS = 3_600_000;

export function alert(helpIdentifier: AlertId, about: { subject: string; description: string; vpgIds: readonly string[] }): WantedAlert {
  return { helpIdentifier, ...ALERTS[helpIdentifier], ...about };
}

/** Every alert that the facts ask for; what is on and not in here has cleared. */
export function alertsFor(facts: AlertFacts): WantedAlert[] {
  return [...facts.vpgs.flatMap(vpgAlerts), ...facts.vras.flatMap(vraAlert), ...facts.vbas.flatMap(vbaAlert), ...facts.peers.flatMap(peerAlert), ...facts.fences.map(fenceAlert), ...brokerAlert(facts.brokerProblem)];
}

function vpgAlerts(vpg: AlertFacts['vpgs'][number]): WantedAlert[] {
  const about = (description: string) => ({ subject: vpg.vpgId, description, vpgIds: [vpg.vpgId] });
  const wanted: WantedAlert[] = [];
  if (vpg.isWaitingForCommit) wanted.push(alert('VPG0014', about(`VPG '${vpg.name}' is failed over and waits for commit or rollback`)));
  if (vpg.isReplicating && vpg.testIntervalMs > 0 && vpg.untestedForMs > vpg.testIntervalMs) wanted.push(alert('VPG0050', about(overdueText(vpg))));
  if (!vpg.isReplicating || vpg.rpoMs === null) return wanted;
  const level = rpoLevel(vpg.rpoMs, vpg.rpoTargetMs);
  if (level === 'fine') return wanted;
  const over = Math.floor(100 * (vpg.rpoMs / vpg.rpoTargetMs - 1));
  const text = `RPO of VPG '${vpg.name}' is ${Math.round(vpg.rpoMs / 1000)} s, ${over} % above its target of ${Math.round(vpg.rpoTargetMs / 1000)} s`;
  const why = vpg.voidReason === null ? '' : `. The newest checkpoint was given up: ${vpg.voidReason}. Look at the log of that VRA and at its host`;
  wanted.push(alert(level === 'error' ? 'VPG0010' : 'VPG0009', about(`${text}${why}`)));
  return wanted;
}

/** Without the time that has passed: a text that changes is written down anew each time. */
function overdueText({ name, wasTested, testIntervalMs }: AlertFacts['vpgs'][number]): string {
  const what = wasTested ? 'had its last failover test' : 'was made and never tested';
  return `VPG '${name}' ${what} more than ${spanText(testIntervalMs)} ago: test it, or change its TestIntervalInMinutes (0: no reminder)`;
}

function spanText(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes % 1440 === 0) return minutes === 1440 ? 'a day' : `${minutes / 1440} days`;
  if (minutes % 60 === 0) return minutes === 60 ? 'an hour' : `${minutes / 60} hours`;
  return minutes === 1 ? 'a minute' : `${minutes} minutes`;
}

function vraAlert({ vraId, name, isConnected, vpgIds }: AlertFacts['vras'][number]): WantedAlert[] {
  if (isConnected) return [];
  return [alert('ZVM0002', { subject: vraId, description: `VRA '${name}' does not answer: its volumes get no new checkpoints that this site could list`, vpgIds })];
}

function vbaAlert({ vbaId, name, isConnected, wasHeard, knownForMs }: VbaFacts): WantedAlert[] {
  if (isConnected || (!wasHeard && knownForMs < VBA_ENROLMENT_MS)) return [];
  const description = `VBA '${name}' does not answer: it verifies no checkpoint. Look at its machine and at its log; one that was never enrolled, or whose certificate has ended, needs a token (tidemark vba-token), one that is not needed any more is removed (tidemark vba remove)`;
  return [alert('BCK0006', { subject: vbaId, description, vpgIds: [] })];
}

function peerAlert({ siteId, name, isConnected, problem, vpgIds }: AlertFacts['peers'][number]): WantedAlert[] {
  if (isConnected && problem === null) return [];
  const what = isConnected ? `site '${name}' is heard, but cannot be reached from here` : `site '${name}' does not answer`;
  return [alert('ZVM0003', { subject: siteId, description: problem === null ? what : `${what}: ${problem}`, vpgIds })];
}

function brokerAlert(problem: string | null): WantedAlert[] {
  if (problem === null) return [];
  const description = `this site's broker (NATS) cannot be used: ${problem}. Until then no VRA and no paired site is heard; replication and checkpoints go on`;
  return [alert('TDM0030', { subject: 'broker', description, vpgIds: [] })];
}

function fenceAlert({ vpgId, vpgName, ownerSiteName, epoch, isLifted, liftedBy, isDenied }: AlertFacts['fences'][number]): WantedAlert {
  const about = (description: string) => ({ subject: vpgId, description, vpgIds: [vpgId] });
  if (isLifted) {
    return alert('TDM0021', about(`'${liftedBy ?? ''}' has claimed the VMs of VPG '${vpgName}' by force, which site ${ownerSiteName} owns since its failover (epoch ${epoch}): power them off at one of the two sites`));
  }
  if (isDenied) {
    const what = `VMs of VPG '${vpgName}' are fenced at this site, their writes are refused: VRAs of site ${ownerSiteName} say that it has failed them over, and its site manager knows of no failover`;
    return alert('TDM0020', about(`${what}. Look there whether these VMs run: if not, a VRA of ${ownerSiteName} may have been taken over, and tidemark claim --force lets the VMs write again; if they do, its database is older than the failover`));
  }
  return alert('TDM0020', about(`the VMs of VPG '${vpgName}' are fenced at this site, their writes are refused: site ${ownerSiteName} owns them since its failover (epoch ${epoch}). Power them off, or set up reverse protection there`));
}

export interface ActiveAlert {
  readonly alertId: string;
  readonly isDismissed: boolean;
  readonly helpIdentifier: string;
  readonly subject: string;
  readonly description: string;
}

export interface AlertChanges<Active extends ActiveAlert> {
  readonly turnedOn: readonly WantedAlert[];
  readonly turnedOff: readonly Active[];
  /** On before and after, with another text. */
  readonly reworded: readonly ChangedAlert<Active>[];
  /** The same for those that are latched: it has happened again, whatever a user has dismissed. */
  readonly repeated: readonly ChangedAlert<Active>[];
}

export interface ChangedAlert<Active extends ActiveAlert> {
  readonly active: Active;
  readonly wanted: WantedAlert;
}

/** What to change so that exactly the wanted alerts are on, and the latched ones that nobody has dismissed. Going from VPG0009 to VPG0010 is one off and one on. */
export function alertChanges<Active extends ActiveAlert>(active: readonly Active[], wanted: readonly WantedAlert[]): AlertChanges<Active> {
  const key = (one: { helpIdentifier: string; subject: string }): string => `${one.helpIdentifier} ${one.subject}`;
  const wantedByKey = new Map(wanted.map((one) => [key(one), one]));
  const activeKeys = new Set(active.map(key));
  const changed = active.flatMap((one) => {
    const now = wantedByKey.get(key(one));
    return now !== undefined && now.description !== one.description ? [{ active: one, wanted: now }] : [];
  });
  const isLatched = ({ helpIdentifier }: ActiveAlert): boolean => (ALERTS as Readonly<Record<string, AlertDefinition>>)[helpIdentifier]?.isLatched === true;
  return {
    turnedOn: [...wantedByKey].filter(([name]) => !activeKeys.has(name)).map(([, one]) => one),
    turnedOff: active.filter((one) => !wantedByKey.has(key(one)) && (one.isDismissed || !isLatched(one))),
    reworded: changed.filter((one) => !isLatched(one.active)),
    repeated: changed.filter((one) => isLatched(one.active)),
  };
}
