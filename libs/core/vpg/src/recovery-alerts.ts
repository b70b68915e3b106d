import { GiB, MiB } from '@tidemark/base';
import { alert, type WantedAlert } from './alerts.js';
import { timeText } from './time-text.js';
import type { VmLimits } from './recovery-limits.js';
import { SLA } from './sla.js';

/** One VM's journal at a recovering VRA. */
export interface JournalFacts {
  readonly vpgId: string;
  readonly vpgName: string;
  readonly vmId: string;
  readonly vmName: string;
  readonly state: string;
  readonly detail: string;
  readonly journalBytes: number;
  readonly limits: VmLimits;
  readonly isAtHardLimit: boolean;
  readonly scrub: { readonly detail: string; readonly affectedIds: readonly number[] };
  /** Checkpoints that are kept by name, with all that is behind them. */
  readonly pins: readonly { readonly name: string; readonly checkpointId: number }[];
}

export interface ClockFacts {
  readonly vpgId: string;
  readonly vraName: string;
  /** Against the VRA that leads the VPG's checkpoints. */
  readonly clockOffsetMs: number;
}

/** A host whose wall clock and running time contradicted each other. */
export interface ClockDoubtFacts {
  readonly vraId: string;
  readonly vraName: string;
  /** How far the wall clock went beyond the running time; below 0: back. */
  readonly byMs: number;
  /** Wall clock behind it. */
  readonly atMs: number;
  /** What it recovers; without any there is nothing to retire. */
  readonly vpgIds: readonly string[];
}

export interface ScratchFacts {
  readonly vpgId: string;
  readonly vmName: string;
  readonly viewId: string;
  readonly scratchBytes: number;
  readonly isScratchFull: boolean;
  readonly warningBytes: number | null;
}

export interface DatastoreFacts {
  readonly path: string;
  readonly freeBytes: number;
  readonly guardBytes: number;
  readonly vpgIds: readonly string[];
}

export interface HistoryFacts {
  readonly vpgId: string;
  readonly name: string;
  readonly isReplicating: boolean;
  /** Age of the oldest listed checkpoint; null: none. */
  readonly historyMs: number | null;
  readonly historyTargetMs: number;
  /** Since the first checkpoint was listed: a young VPG cannot have an old one. null: not known. */
  readonly recoverableForMs: number | null;
}

export interface RecoveryAlertFacts {
  readonly journals: readonly JournalFacts[];
  readonly scratches: readonly ScratchFacts[];
  readonly datastores: readonly DatastoreFacts[];
  readonly histories: readonly HistoryFacts[];
  readonly clocks: readonly ClockFacts[];
  readonly clockDoubts: readonly ClockDoubtFacts[];
}

const CLOCK_OFFSET_MS_MAX = 1000;

/** History below this share of what could be there is an error; between it and {@link SLA.historyShare} a warning. */
const HISTORY_ERROR_SHARE = 0.5;

/** Alerts about journals, scratch, datastores and history: what the recovery site sees of its own. */
export function recoveryAlertsFor(facts: RecoveryAlertFacts): WantedAlert[] {
  return [
    ...facts.journals.flatMap(journalAlerts), ...facts.scratches.flatMap(scratchAlerts), ...facts.datastores.flatMap(datastoreAlerts),
    ...facts.histories.flatMap(historyAlerts), ...facts.clocks.flatMap(clockAlerts), ...facts.clockDoubts.flatMap(clockDoubtAlerts),
  ];
}

function journalAlerts(journal: JournalFacts): WantedAlert[] {
  const { vpgId, vpgName, vmId, vmName, journalBytes, limits, isAtHardLimit, state, detail, scrub } = journal;
  const pinned = pinText(journal.pins);
  const about = (description: string) => ({ subject: `${vpgId}/${vmId}`, description, vpgIds: [vpgId] });
  const wanted: WantedAlert[] = [];
  const { journalHardBytes: hardBytes, journalWarningBytes: warningBytes } = limits;
  if (isAtHardLimit && hardBytes !== null) {
    wanted.push(alert('VRA0039', about(`the journal of '${vmName}' is at its hard limit of ${size(hardBytes)}${pinned}`)));
    wanted.push(alert('VPG0007', about(`replication of '${vmName}' in VPG '${vpgName}' pauses: going on would cost the last checkpoint; it resumes when the journal's limit is raised`)));
  } else if (warningBytes !== null && journalBytes >= warningBytes) {
    wanted.push(alert('VRA0040', about(`the journal of '${vmName}' has ${size(journalBytes)}, its warning threshold is ${size(warningBytes)}${pinned}`)));
  }
  if (state === 'broken') wanted.push(alert('VRA0007', about(`the journal of '${vmName}' cannot be written${detail === '' ? '' : `: ${detail}`}`)));
  if (scrub.detail !== '') wanted.push(alert('TDM0002', about(`damage in the journal of '${vmName}': ${scrub.detail}; ${scrub.affectedIds.length} checkpoints were given up and everything is copied again`)));
  return wanted;
}

/** Retention goes no further than the oldest pin: who looks for space must learn of it. */
function pinText(pins: JournalFacts['pins']): string {
  const [first, ...more] = pins;
  if (!first) return '';
  const oldest = more.reduce((lowest, pin) => (pin.checkpointId < lowest.checkpointId ? pin : lowest), first);
  return `; pin '${oldest.name}' keeps everything from checkpoint ${oldest.checkpointId} on: drop it, or raise the limit`;
}

function clockAlerts({ vpgId, vraName, clockOffsetMs }: ClockFacts): WantedAlert[] {
  if (Math.abs(clockOffsetMs) <= CLOCK_OFFSET_MS_MAX) return [];
  const description = `the clock of VRA '${vraName}' is ${(Math.abs(clockOffsetMs) / 1000).toFixed(0)} s ${clockOffsetMs > 0 ? 'ahead of' : 'behind'} that of the VRA that leads the checkpoints`;
  return [alert('TDM0001', { subject: `${vpgId}/${vraName}`, description, vpgIds: [vpgId] })];
}

function clockDoubtAlerts({ vraId, vraName, byMs, atMs, vpgIds }: ClockDoubtFacts): WantedAlert[] {
  if (vpgIds.length === 0) return [];
  const description = `the wall clock of VRA '${vraName}' went ${duration(Math.abs(byMs))} ${byMs > 0 ? 'forward' : 'back'} against its running time (it then said ${timeText(atMs)}): ` +
    `no checkpoint of what it recovers is retired or thinned by age until both have agreed for an hour; look at the time service of its host`;
  return [alert('TDM0003', { subject: vraId, description, vpgIds })];
}

function scratchAlerts({ vpgId, vmName, viewId, scratchBytes, isScratchFull, warningBytes }: ScratchFacts): WantedAlert[] {
  const about = (description: string) => ({ subject: viewId, description, vpgIds: [vpgId] });
  if (isScratchFull) return [alert('TDM0004', about(`scratch of '${vmName}' is full at ${size(scratchBytes)}: its writes fail with ENOSPC; other VMs are not affected`))];
  if (warningBytes === null || scratchBytes < warningBytes) return [];
  return [alert('TDM0005', about(`scratch of '${vmName}' has ${size(scratchBytes)}, its warning threshold is ${size(warningBytes)}`))];
}

function datastoreAlerts({ path, freeBytes, guardBytes, vpgIds }: DatastoreFacts): WantedAlert[] {
  if (freeBytes > guardBytes) return [];
  const description = `datastore ${path} has ${size(freeBytes)} free, journals must leave ${size(guardBytes)}: they take no more until there is room`;
  return [alert('VRA0006', { subject: path, description, vpgIds })];
}

function historyAlerts({ vpgId, name, isReplicating, historyMs, historyTargetMs, recoverableForMs }: HistoryFacts): WantedAlert[] {
  if (!isReplicating || historyMs === null) return [];
  const possibleMs = recoverableForMs === null ? historyTargetMs : Math.min(historyTargetMs, recoverableForMs);
  const share = possibleMs === 0 ? 1 : historyMs / possibleMs;
  if (share >= SLA.historyShare) return [];
  const minutes = (ms: number): number => Math.floor(ms / 60_000);
  const description = `VPG '${name}' has ${minutes(historyMs)} min of history, ${minutes(possibleMs)} min should be there`;
  return [alert(share < HISTORY_ERROR_SHARE ? 'VPG0038' : 'VPG0037', { subject: vpgId, description, vpgIds: [vpgId] })];
}

function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

const size = (bytes: number): string => (bytes >= GiB ? `${(bytes / GiB).toFixed(2)} GiB` : `${(bytes / MiB).toFixed(1)} MiB`);
