import { setTimeout as pause } from 'node:timers/promises';
import { unreachable } from '@tidemark/base';
import { lowestPinned, oldestWithin, spaceBounds, thin, thinningLevels, type ThinningPolicy } from '@tidemark/checkpoint';
import type { HeldCheckpoint } from '@tidemark/journal';
import {
  commonCheckpoints, commonPage, HELD_REPORT_MAX, NEWEST_MAX, type CommonPage, type HeldAsk, type HeldMessage, type HeldPage, type HeldReport, type HeldThin,
} from './held-report.js';
import type { AgeClock } from './age-clock.js';
import type { RecoveryHost } from './recovery-host.js';
import type { RetirementHost } from './retirement-host.js';

/** How often what the journals hold is reported to the VRA that leads retirement; each second while a journal nears its limit. */
const REPORT_MS = 5000;
/** Reports older than this say nothing about now: nobody retires by them. */
const REPORT_AGE_MS_MAX = 3 * REPORT_MS;
const PAGE_TIMEOUT_MS = 5000;
/** Who sends a page for thinning pins none of its plain, old checkpoints so long: the leader may drop them. */
const PROMISE_MS = 3000;
/** Between two looks for what could be thinned, when the last one found nothing. */
const THIN_LOOK_MS_MAX = 60_000;
/** Of the checkpoints behind the wanted one: enough to find one that all hold. */
const SPACE_PAGE = 64;

export interface HeldSurroundings {
  readonly selfVraId: string;
  readonly ages: AgeClock;
  readonly retirements: ReadonlyMap<string, RetirementHost>;
  recoveriesOf(vpgId: string): readonly RecoveryHost[];
  /** Checkpoints of this VPG that somebody needs here. */
  pinnedIdsOf(vpgId: string): readonly number[];
  /** undefined: every checkpoint stays until it is retired. */
  thinningOf(vpgId: string): ThinningPolicy | undefined;
  send(vraId: string, message: HeldMessage): void;
}

interface OpenPage {
  readonly fromId: number;
  readonly waiting: Set<string>;
  readonly pages: HeldPage[];
  readonly done: (page: CommonPage | undefined) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Between the VRAs that recover one VPG: what each one's journals hold, told to the leader of retirement; and, at the leader, what all of
 * them hold together. Nothing here is durable, nothing here decides: the agreement is {@link RetirementHost}'s.
 */
export class HeldExchange {
  readonly #reports = new Map<string, { readonly report: HeldReport; readonly atMs: number }>();
  readonly #open = new Map<string, OpenPage>();
  readonly #promises = new Map<string, { readonly fromId: number; readonly ids: ReadonlySet<number>; readonly untilMs: number }>();
  /** By VPG and level: the last one that stays of those looked at. After a restart everything is looked at once more, a page at a time. */
  readonly #cursors = new Map<string, number>();
  readonly #thinnedAtMs = new Map<string, number>();
  readonly #reportedAtMs = new Map<string, number>();

  constructor(private readonly around: HeldSurroundings) {}

  message(fromVraId: string, message: HeldMessage): void {
    switch (message.type) {
      case 'held':
        if (this.#recoverers(message.vpgId).includes(fromVraId)) this.#reports.set(`${message.vpgId}/${fromVraId}`, { report: message, atMs: performance.now() });
        return;
      case 'heldAsk':
        if (this.#recoverers(message.vpgId)[0] === fromVraId) this.around.send(fromVraId, this.#page(message));
        return;
      case 'heldThin':
        if (this.#recoverers(message.vpgId)[0] === fromVraId) this.#thinHere(message);
        return;
      case 'heldPage':
        return this.#pageCame(fromVraId, message);
      default:
        return unreachable(message);
    }
  }

  tick(nowMs: number): void {
    for (const [vpgId, retirement] of this.around.retirements) {
      const wantedId = this.#wantedId(vpgId);
      const sinceMs = nowMs - (this.#reportedAtMs.get(vpgId) ?? -Infinity);
      if (sinceMs < REPORT_MS && wantedId === 0 && !this.#isSpaceWanted(vpgId, retirement)) continue;
      this.#reportedAtMs.set(vpgId, nowMs);
      this.#report(vpgId, retirement, { wantedId, nowMs });
    }
  }

  /** What every VRA of the VPG holds from `fromId` on; undefined: one of them did not answer. One question at a time for each VPG. */
  async common({ vpgId, ...what }: Omit<HeldAsk, 'type'>): Promise<CommonPage | undefined> {
    const retirement = this.around.retirements.get(vpgId);
    if (!retirement || this.#open.has(vpgId)) return undefined;
    const ask: HeldAsk = { type: 'heldAsk', vpgId, ...what };
    const others = retirement.config.recoverers.map(({ vraId }) => vraId).filter((vraId) => vraId !== this.around.selfVraId);
    const own = this.#page(ask);
    if (others.length === 0) return commonPage([own]);
    return await new Promise((resolve) => {
      const done = (page: CommonPage | undefined): void => {
        clearTimeout(timer);
        this.#open.delete(vpgId);
        resolve(page);
      };
      const timer = setTimeout(() => done(undefined), PAGE_TIMEOUT_MS);
      this.#open.set(vpgId, { fromId: what.fromId, waiting: new Set(others), pages: [own], done, timer });
      for (const vraId of others) this.around.send(vraId, ask);
    });
  }

  /** Waits while this checkpoint may be about to be thinned; then it is held and can be pinned, or is gone. */
  async pinnable(vpgId: string, checkpointId: number): Promise<void> {
    const promise = this.#promises.get(vpgId);
    if (promise?.ids.has(checkpointId) === true) await pause(promise.untilMs - performance.now());
  }

  /** At the leader: one page of one VPG is looked through at each level, and what is to go goes at all VRAs. */
  async thin(vpgId: string, policy: ThinningPolicy): Promise<void> {
    for (const [index, level] of thinningLevels(policy).entries()) {
      const cursor = `${vpgId}/${String(index)}`;
      const fromId = this.#cursors.get(cursor) ?? 0;
      const askedMs = performance.now();
      const page = await this.common({ vpgId, fromId, countMax: HELD_REPORT_MAX, thinAfterMs: level.afterMs });
      if (!page || performance.now() - askedMs > PROMISE_MS / 2) return;
      const { dropIds, nextId } = thin(page.checkpoints, level);
      if (nextId > 0) this.#cursors.set(cursor, nextId);
      if (dropIds.length === 0) continue;
      this.#thinnedAtMs.delete(vpgId); // there may be more: the next look comes soon
      const message: HeldThin = { type: 'heldThin', vpgId, fromId, checkpointIds: dropIds };
      const others = this.around.retirements.get(vpgId)?.config.recoverers.slice(1) ?? [];
      for (const { vraId } of others) this.around.send(vraId, message);
      this.#thinHere(message);
    }
  }

  /** Only what was promised not to be pinned meanwhile: a message that is late, or of another page, drops nothing. */
  #thinHere({ vpgId, fromId, checkpointIds }: HeldThin): void {
    const promise = this.#promises.get(vpgId);
    if (promise?.fromId !== fromId || performance.now() >= promise.untilMs) return;
    const dropped = checkpointIds.filter((id) => promise.ids.has(id));
    for (const recovery of this.around.recoveriesOf(vpgId)) void recovery.thin(dropped);
  }

  /** The first one leads; nobody else has a say about this VPG. */
  #recoverers(vpgId: string): readonly string[] {
    return this.around.retirements.get(vpgId)?.config.recoverers.map(({ vraId }) => vraId) ?? [];
  }

  close(): void {
    for (const { done } of [...this.#open.values()]) done(undefined);
  }

  #pageCame(fromVraId: string, page: HeldPage): void {
    const open = this.#open.get(page.vpgId);
    if (open?.fromId !== page.fromId || !open.waiting.delete(fromVraId)) return;
    open.pages.push(page);
    if (open.waiting.size === 0) open.done(commonPage(open.pages));
  }

  #report(vpgId: string, retirement: RetirementHost, { wantedId, nowMs }: { readonly wantedId: number; readonly nowMs: number }): void {
    const own = this.#ownReport(vpgId, wantedId);
    const [leader] = retirement.config.recoverers;
    if (!leader) return;
    if (!retirement.isLeading) return this.around.send(leader.vraId, own);
    const reports = this.#freshReports(vpgId, retirement, nowMs);
    if (!reports) return;
    this.#decide(vpgId, retirement, [own, ...reports]);
    const policy = this.around.thinningOf(vpgId);
    if (policy && wantedId === 0 && this.#isThinningDue(vpgId, policy, nowMs)) void this.thin(vpgId, policy);
  }

  #isThinningDue(vpgId: string, { keepAllMs }: ThinningPolicy, nowMs: number): boolean {
    const lookedAtMs = this.#thinnedAtMs.get(vpgId) ?? -Infinity;
    if (nowMs - lookedAtMs < Math.min(THIN_LOOK_MS_MAX, keepAllMs)) return false;
    this.#thinnedAtMs.set(vpgId, nowMs);
    return true;
  }

  /** Those of all the others; undefined: one is missing or too old. */
  #freshReports(vpgId: string, { config }: RetirementHost, nowMs: number): HeldReport[] | undefined {
    const others = config.recoverers.slice(1).map(({ vraId }) => this.#reports.get(`${vpgId}/${vraId}`));
    const fresh = others.flatMap((entry) => (entry && nowMs - entry.atMs < REPORT_AGE_MS_MAX ? [entry.report] : []));
    return fresh.length === others.length ? fresh : undefined;
  }

  #isSpaceWanted(vpgId: string, retirement: RetirementHost): boolean {
    if (!retirement.isLeading) return false;
    return retirement.config.recoverers.some(({ vraId }) => (this.#reports.get(`${vpgId}/${vraId}`)?.report.wantedId ?? 0) > 0);
  }

  #decide(vpgId: string, retirement: RetirementHost, reports: readonly HeldReport[]): void {
    const throughId = lowestPinned(reports);
    // As far as a pin allows, not as if there were none: that would be refused, again and again.
    const aged = commonCheckpoints(reports).filter(({ checkpointId }) => checkpointId <= throughId);
    const bounds = spaceBounds(reports);
    if (!bounds) return retirement.listed(aged, 0);
    void this.common({ vpgId, fromId: bounds.fromId, countMax: SPACE_PAGE, thinAfterMs: null }).then((page) => {
      retirement.listed(aged, oldestWithin((page?.checkpoints ?? []).map(({ checkpointId }) => checkpointId), bounds));
    });
  }

  #wantedId(vpgId: string): number {
    return Math.max(0, ...this.around.recoveriesOf(vpgId).map((recovery) => recovery.wantedOldest()?.checkpointId ?? 0));
  }

  #ownReport(vpgId: string, wantedId: number): HeldReport {
    const ageOf = this.#ages();
    const recoveries = this.around.recoveriesOf(vpgId);
    const common = commonCheckpoints(recoveries.map((recovery) => agedBy(recovery, ageOf)));
    const cut = common.length > HELD_REPORT_MAX ? [...common.slice(0, HELD_REPORT_MAX), ...common.slice(-1)] : common;
    const [first, ...others] = recoveries;
    const newest = (first?.journal.newestCheckpoints(NEWEST_MAX) ?? []).filter(({ checkpointId }) => others.every(({ journal }) => journal.holds(checkpointId)));
    return {
      type: 'held', vpgId, checkpointIds: cut.map(({ checkpointId }) => checkpointId), agesMs: cut.map(({ ageMs }) => ageMs),
      newestIds: newest.map(({ checkpointId }) => checkpointId), wantedId, pinnedId: lowestOf(this.around.pinnedIdsOf(vpgId)),
    };
  }

  /** 0 while this host's clocks are in doubt: then nothing of the VPG is old, for the youngest age that any VRA gives counts. */
  #ages(): AgeOf {
    const { ages } = this.around;
    if (ages.doubt()) return () => 0;
    const nowMs = ages.nowMs();
    return ({ arrivedMs, marker }) => Math.max(0, Math.floor(nowMs - arrivedMs + marker.ageMs));
  }

  #page({ vpgId, fromId, countMax, thinAfterMs }: HeldAsk): HeldPage {
    const [first, ...others] = this.around.recoveriesOf(vpgId);
    const own = first?.journal.checkpointsFrom(fromId, countMax) ?? [];
    const isEnd = own.length < countMax;
    const held = own.filter(({ checkpointId }) => others.every(({ journal }) => journal.holds(checkpointId)));
    const pinned = new Set(this.around.pinnedIdsOf(vpgId));
    const nowMs = performance.now();
    // The last one says how far this page reaches, though it may not be common here: then it is not listed anyway.
    const shown = isEnd || held.at(-1) === own.at(-1) ? held : [...held, ...own.slice(-1)];
    const keeps = shown.map(({ checkpointId, marker }) => isKept(marker) || pinned.has(checkpointId));
    const agesMs = shown.map(this.#ages());
    if (thinAfterMs !== null) {
      const ids = shown.map(({ checkpointId }) => checkpointId).filter((_, i) => keeps[i] === false && (agesMs[i] ?? 0) >= thinAfterMs);
      this.#promises.set(vpgId, { fromId, ids: new Set(ids), untilMs: nowMs + PROMISE_MS });
    }
    return {
      type: 'heldPage', vpgId, fromId, isEnd, checkpointIds: shown.map(({ checkpointId }) => checkpointId), atsMs: shown.map(({ marker }) => Math.floor(marker.atMs)),
      agesMs,
      keeps: keeps.map((isOne) => (isOne ? 1 : 0)),
    };
  }
}

const isKept = ({ tag, kind }: HeldCheckpoint['marker']): boolean => tag !== null || kind !== 'automatic';

const lowestOf = (ids: readonly number[]): number => (ids.length === 0 ? 0 : Math.min(...ids));

type AgeOf = (checkpoint: HeldCheckpoint) => number;

/** Only what is as old as the history window can be retired by age. The journal has them in order, so most are never looked at. */
function agedBy({ spec, journal }: RecoveryHost, ageOf: AgeOf): Pick<HeldReport, 'checkpointIds' | 'agesMs'> {
  const held = journal.oldestCheckpoints((checkpoint) => ageOf(checkpoint) >= spec.historyMs);
  return { checkpointIds: held.map(({ checkpointId }) => checkpointId), agesMs: held.map(ageOf) };
}
