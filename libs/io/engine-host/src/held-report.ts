import { ProtocolError } from '@tidemark/base';
import { decodeControl, type JsonFields } from '@tidemark/frame';

/** At most so many checkpoints in one report or page: of a report the oldest ones, and always the newest. */
export const HELD_REPORT_MAX = 2000;
/** So many of the newest checkpoints stand in each report: the newest one that all hold is among them. */
export const NEWEST_MAX = 64;

/**
 * A recovering VRA tells the one that leads retirement which checkpoints as old as the history every journal of its own VMs of a
 * VPG holds, oldest first. Ages are on the reporter's monotonic clock and never overstated.
 */
export interface HeldReport {
  readonly type: 'held';
  readonly vpgId: string;
  readonly checkpointIds: readonly number[];
  readonly agesMs: readonly number[];
  /** The newest ones of any age, oldest first. */
  readonly newestIds: readonly number[];
  /** A journal here nears its hard limit: this one should become the oldest. 0: no need. */
  readonly wantedId: number;
  /** The oldest one that a view, a backup or a file restore needs here; 0: none. */
  readonly pinnedId: number;
}

/** The leader asks for what a VRA holds from `fromId` on, of any age. */
export interface HeldAsk {
  readonly type: 'heldAsk';
  readonly vpgId: string;
  readonly fromId: number;
  readonly countMax: number;
  /** Plain checkpoints at least this old may be thinned: promise not to pin them for a moment. null: only asked. */
  readonly thinAfterMs: number | null;
}

/** The answer: oldest first; `isEnd`: there is nothing behind the last one. */
export interface HeldPage {
  readonly type: 'heldPage';
  readonly vpgId: string;
  readonly fromId: number;
  readonly isEnd: boolean;
  readonly checkpointIds: readonly number[];
  /** Wall clock of the markers, ms: the same in every journal. */
  readonly atsMs: readonly number[];
  readonly agesMs: readonly number[];
  /** 1: tagged, application-consistent or pinned here. */
  readonly keeps: readonly number[];
}

/** The leader has chosen these out of the pages that all have just sent: drop them. Not answered; what one drops is not listed any more. */
export interface HeldThin {
  readonly type: 'heldThin';
  readonly vpgId: string;
  /** Of the page that they are from. */
  readonly fromId: number;
  readonly checkpointIds: readonly number[];
}

export type HeldMessage = HeldReport | HeldAsk | HeldPage | HeldThin;
export const isHeldType = (type: string): boolean => type === 'held' || type === 'heldAsk' || type === 'heldPage' || type === 'heldThin';

/** Throws ProtocolError for what is none of the messages. */
export function decodeHeldMessage(body: Uint8Array): HeldMessage {
  const { type, fields } = decodeControl(body);
  const vpgId = fields.text('vpgId', 200);
  const message = type === 'held' ? reportIn(fields, vpgId) : type === 'heldAsk' ? askIn(fields, vpgId) : type === 'heldThin' ? thinIn(fields, vpgId) : pageIn(fields, vpgId);
  fields.end();
  return message;
}

const idsIn = (fields: JsonFields, countMax: number): number[] => fields.integers('checkpointIds', { countMax, min: 1 });

function reportIn(fields: JsonFields, vpgId: string): HeldReport {
  const checkpointIds = idsIn(fields, HELD_REPORT_MAX + 1);
  const agesMs = fields.integers('agesMs', { countMax: HELD_REPORT_MAX + 1, min: 0 });
  const newestIds = fields.integers('newestIds', { countMax: NEWEST_MAX, min: 1 });
  checkLengths(checkpointIds, agesMs);
  return { type: 'held', vpgId, checkpointIds, agesMs, newestIds, wantedId: fields.integer('wantedId', 0), pinnedId: fields.integer('pinnedId', 0) };
}

const askIn = (fields: JsonFields, vpgId: string): HeldAsk => ({
  type: 'heldAsk', vpgId, fromId: fields.integer('fromId', 0), countMax: fields.integer('countMax', 1, HELD_REPORT_MAX),
  thinAfterMs: fields.nullableInteger('thinAfterMs', 0),
});

const thinIn = (fields: JsonFields, vpgId: string): HeldThin => ({ type: 'heldThin', vpgId, fromId: fields.integer('fromId', 0), checkpointIds: idsIn(fields, HELD_REPORT_MAX) });

function pageIn(fields: JsonFields, vpgId: string): HeldPage {
  const bounds = { countMax: HELD_REPORT_MAX, min: 0 };
  const page: HeldPage = {
    type: 'heldPage', vpgId, fromId: fields.integer('fromId', 0), isEnd: fields.flag('isEnd'), checkpointIds: idsIn(fields, HELD_REPORT_MAX),
    atsMs: fields.integers('atsMs', bounds), agesMs: fields.integers('agesMs', bounds), keeps: fields.integers('keeps', { ...bounds, max: 1 }),
  };
  checkLengths(page.checkpointIds, page.atsMs, page.agesMs, page.keeps);
  return page;
}

function checkLengths(first: readonly number[], ...others: readonly (readonly number[])[]): void {
  if (others.some(({ length }) => length !== first.length)) throw new ProtocolError('PROTOCOL_LAYOUT', 'columns of a report do not match');
}

/** Checkpoints that every report holds; the age is the youngest that any of them gives. */
export function commonCheckpoints(
  reports: readonly Pick<HeldReport, 'checkpointIds' | 'agesMs'>[],
): { readonly checkpointId: number; readonly ageMs: number }[] {
  const [first, ...others] = reports;
  if (!first) return [];
  const rest = others.map(({ checkpointIds, agesMs }) => new Map(checkpointIds.map((id, index) => [id, agesMs[index] ?? 0])));
  return first.checkpointIds.flatMap((checkpointId, index) => {
    const ages = rest.map((report) => report.get(checkpointId));
    if (ages.some((age) => age === undefined)) return [];
    return [{ checkpointId, ageMs: Math.min(first.agesMs[index] ?? 0, ...ages.map((age) => age ?? 0)) }];
  });
}

export interface CommonCheckpoint {
  readonly checkpointId: number;
  readonly atMs: number;
  readonly ageMs: number;
  readonly isKept: boolean;
}

export interface CommonPage {
  readonly checkpoints: readonly CommonCheckpoint[];
  /** What is common behind this id was not asked for yet; undefined: this was the end. */
  readonly nextId: number | undefined;
}

/** What all pages from one id on hold together, as far as the shortest of them reaches; kept if any of them says so. */
export function commonPage(pages: readonly HeldPage[]): CommonPage {
  const ends = pages.filter(({ isEnd }) => !isEnd).map(({ checkpointIds }) => checkpointIds.at(-1) ?? 0);
  const reachId = ends.length === 0 ? Infinity : Math.min(...ends);
  const kept = new Set(pages.flatMap(({ checkpointIds, keeps }) => checkpointIds.filter((_, i) => keeps[i] === 1)));
  const atMs = new Map(pages[0]?.checkpointIds.map((id, i) => [id, pages[0]?.atsMs[i] ?? 0]));
  const checkpoints = commonCheckpoints(pages)
    .filter(({ checkpointId }) => checkpointId <= reachId)
    .map(({ checkpointId, ageMs }) => ({ checkpointId, ageMs, atMs: atMs.get(checkpointId) ?? 0, isKept: kept.has(checkpointId) }));
  return { checkpoints, nextId: reachId === Infinity ? undefined : reachId + 1 };
}
