import { unreachable } from '@tidemark/base';
import { lowestPinned, oldestWithin, Retirement, spaceBounds, type AgedCheckpoint, type RetirementConfig, type RetirementEffect, type RetirementEvent, type SpaceReport } from '@tidemark/checkpoint';
import type { RecoveringHost } from './recovering-host.js';
import type { SimRecovery } from './sim-recovery.js';

export interface RetirementPlan {
  readonly config: RetirementConfig;
  /** VMs of the VPG on this host. */
  readonly vmIds: readonly string[];
}

/** What the journals of one host have in common, oldest first. */
export interface HeldReport {
  readonly vpgId: string;
  readonly checkpoints: readonly AgedCheckpoint[];
  /** Where journals have limits; `ids`: of any age. */
  readonly space?: SpaceReport & { readonly ids: readonly number[] };
}

type Untimed<T> = T extends unknown ? Omit<T, 'nowMs'> : never;

const REPORT_AGE_MS_MAX = 1500;
const NEWEST_MAX = 64;

/** The retirement engine of one VPG at one host: what engine-host does around it. */
export class SimRetirement {
  readonly #engine: Retirement;
  readonly #reports = new Map<string, { readonly report: HeldReport; readonly atMs: number }>();
  readonly #vpgId: string;

  #isClosed = false;

  constructor(private plan: RetirementPlan, private readonly host: RecoveringHost) {
    this.#vpgId = plan.config.vpgId;
    this.#engine = new Retirement({ selfVraId: host.name, retiredId: 0 });
    this.take({ type: 'configured', config: plan.config });
  }

  canPin(checkpointId: number): boolean {
    return this.#engine.canPin(checkpointId, this.host.nowMs);
  }

  configure(plan: RetirementPlan): void {
    this.plan = plan;
    this.take({ type: 'configured', config: plan.config });
    for (const vraId of this.host.upPeers) this.take({ type: 'peerUp', vraId });
  }

  /** Nothing of the VPG is recovered here any more. */
  close(): void {
    this.#isClosed = true;
  }

  take(event: Untimed<RetirementEvent>): void {
    if (this.#isClosed) return;
    const effects: RetirementEffect[] = [];
    this.#engine.step({ ...event, nowMs: this.host.nowMs } as RetirementEvent, effects);
    for (const effect of effects) this.#carryOut(effect);
  }

  /** To the leader; the leader puts all reports together. */
  report(): void {
    const recoveries = this.host.recoveries.filter(({ vm }) => vm.vpgId === this.#vpgId);
    if (recoveries.some(({ journal }) => journal === undefined)) return;
    const report: HeldReport = { vpgId: this.#vpgId, checkpoints: common(recoveries.map((recovery) => this.#aged(recovery))), ...this.#spaceReport(recoveries) };
    const [leader, ...others] = this.plan.config.recoverers;
    if (leader === undefined) return;
    if (leader.vraId !== this.host.name) return this.host.sendReport(leader.vraId, report);
    const reports = others.map(({ vraId }) => this.#reports.get(vraId));
    const fresh = reports.flatMap((entry) => (entry !== undefined && this.host.nowMs - entry.atMs < REPORT_AGE_MS_MAX ? [entry.report] : []));
    if (fresh.length === others.length) this.#decide([report, ...fresh]);
  }

  #decide(reports: readonly HeldReport[]): void {
    const aged = common(reports.map(({ checkpoints }) => checkpoints));
    const spaces = reports.flatMap(({ space }) => space ?? []);
    if (spaces.length < reports.length) return this.take({ type: 'listed', checkpoints: aged });
    const throughId = lowestPinned(spaces);
    const [first, ...others] = spaces;
    const ids = first?.ids.filter((id) => others.every((space) => space.ids.includes(id))) ?? [];
    const bounds = spaceBounds(spaces);
    this.take({ type: 'listed', checkpoints: aged.filter(({ checkpointId }) => checkpointId <= throughId), spaceId: bounds === undefined ? 0 : oldestWithin(ids, bounds) });
  }

  #spaceReport(recoveries: readonly SimRecovery[]): Pick<HeldReport, 'space'> {
    if (recoveries.every(({ vm }) => vm.space === undefined)) return {};
    const wanted = recoveries.map((recovery) => {
      const wantedId = recovery.wantedOldest()?.checkpointId ?? 0;
      if (wantedId > 0) this.host.watcher.wished(recovery, wantedId);
      return wantedId;
    });
    const [first, ...others] = recoveries;
    const ids = first?.held().map(({ checkpointId }) => checkpointId).filter((id) => others.every(({ journal }) => journal?.holds(id))) ?? [];
    const needed = this.host.needed(this.#vpgId).map(({ checkpointId }) => checkpointId);
    return { space: { ids, newestIds: ids.slice(-NEWEST_MAX), wantedId: Math.max(0, ...wanted), pinnedId: needed.length === 0 ? 0 : Math.min(...needed) } };
  }

  reportCame(fromName: string, report: HeldReport): void {
    this.#reports.set(fromName, { report, atMs: this.host.nowMs });
  }

  /** Throws when one of them was moved away. */
  #own(): SimRecovery[] {
    return this.plan.vmIds.map((vmId) => {
      const recovery = this.host.recovery(this.#vpgId, vmId);
      if (recovery === undefined) throw new Error(`${vmId} of ${this.#vpgId} is not recovered here`);
      return recovery;
    });
  }

  #aged(recovery: SimRecovery): AgedCheckpoint[] {
    const nowMs = this.host.ageNowMs();
    if (this.host.areAgesInDoubt) return [];
    return recovery.held().map(({ checkpointId, arrivedMs, marker }) => ({ checkpointId, ageMs: nowMs - arrivedMs + marker.ageMs }));
  }

  #carryOut(effect: RetirementEffect): void {
    switch (effect.type) {
      case 'send': return this.host.sendControl(effect.vraId, effect.message);
      case 'askPins': {
        const { checkpointId } = effect;
        const reason = this.#pinnedReason(checkpointId);
        return this.take({ type: 'pinsAnswered', checkpointId, isFree: reason === undefined, reason: reason ?? '' });
      }
      case 'makeRetired': return this.#makeRetired(effect.checkpointId);
      case 'allowApply': return this.#allowApply(effect.checkpointId);
      case 'wakeAt': return this.host.after((effect.atMs - this.host.nowMs) / this.host.clockRate, () => this.take({ type: 'tick' }));
      default: return unreachable(effect);
    }
  }

  #pinnedReason(checkpointId: number): string | undefined {
    const gone = this.plan.vmIds.find((vmId) => this.host.recovery(this.#vpgId, vmId) === undefined);
    if (gone !== undefined) return `${gone} is not recovered here`;
    const missing = this.#own().find(({ journal }) => journal?.holds(checkpointId) !== true);
    if (missing !== undefined) return `the journal of ${missing.key} does not hold it`;
    if (this.host.plant?.flag === 'pinIgnored') return undefined;
    const pin = this.host.needed(this.#vpgId).find((one) => one.checkpointId < checkpointId);
    return pin && `${pin.name} needs checkpoint ${pin.checkpointId}`;
  }

  #makeRetired(checkpointId: number): void {
    const { host } = this;
    host.watcher.mayRetire(this.#vpgId, checkpointId);
    host.world.touch();
    const isHasty = host.plant?.flag === 'applyHasty';
    const work = async (): Promise<void> => {
      for (const { journal, key } of this.#own()) {
        if (journal === undefined) throw new Error(`the journal of ${key} is not open`);
        await journal.retire(checkpointId);
        host.retiredIds.set(key, Math.max(checkpointId, host.retiredIds.get(key) ?? 0));
      }
    };
    const life = host.life;
    void work().then(
      () => {
        if (host.life !== life) return;
        this.take({ type: 'retired', checkpointId, isDurable: true, reason: '' });
        if (isHasty) this.#allowApply(checkpointId);
      },
      (error: unknown) => {
        if (host.life === life) this.take({ type: 'retired', checkpointId, isDurable: false, reason: String(error) });
      },
    );
  }

  #allowApply(checkpointId: number): void {
    const { host } = this;
    host.watcher.mayApply(this.#vpgId, checkpointId);
    host.world.touch();
    const work = async (): Promise<void> => {
      for (const { journal } of this.#own()) await journal?.allowApply(checkpointId);
    };
    void work().catch(() => undefined);
  }
}

/** In all of the lists, with the youngest age that any gives. */
function common(lists: readonly (readonly AgedCheckpoint[])[]): AgedCheckpoint[] {
  const [first = [], ...others] = lists;
  return first.flatMap(({ checkpointId, ageMs }) => {
    const ages = others.map((list) => list.find((other) => other.checkpointId === checkpointId)?.ageMs);
    return ages.some((age) => age === undefined) ? [] : [{ checkpointId, ageMs: Math.min(ageMs, ...ages.map((age) => age ?? 0)) }];
  });
}
