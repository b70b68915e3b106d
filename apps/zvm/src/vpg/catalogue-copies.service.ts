import { Injectable, Logger } from '@nestjs/common';
import type { CataloguePutV1, CatalogueRevisionV1 } from '@tidemark/contracts';
import { ListingAllowance, type ListingLimits } from '@tidemark/recovery';
import { VPG_LIMITS } from '@tidemark/vpg';
import { type Allowance, EntryBudget } from '../audit/entry-budget.js';
import { Clock } from '../clock.js';
import { conflict, messageOf, notFound } from '../errors.js';
import { EventService } from '../event/event.service.js';
import { CatalogueStore, type WrittenRows } from './catalogue.store.js';
import type { VpgRecord } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

/** The other site's record says the history: what no settings allow makes no list longer. */
const HISTORY_MS_MAX = VPG_LIMITS.historyHoursMax * 3_600_000;
const INTERVAL_MS_MIN = 1000;
/** So much text of a row comes with it: its tag. Its VMs' names are the VPG's. */
const ROW_CHARACTERS = 400;
/** Quotes, comma and blank of a name in a list. */
const NAME_CHARACTERS = 4;
/** Of each site; the next event says how many had none. */
const REFUSED_EVENTS: Allowance = { burst: 10, everyMs: 10 * 60_000 };

/**
 * Copies of the checkpoint lists of VPGs that other sites recover. A site that was taken over sends what it likes, and each row takes room in this site's database: rows are paid for
 * from the VPG's {@link ListingAllowance}, which no message gives back.
 */
@Injectable()
export class CatalogueCopies {
  readonly #log = new Logger('catalogue copies');
  readonly #allowances = new Map<string, ListingAllowance>();
  readonly #refusals: EntryBudget;

  constructor(
    private readonly vpgs: VpgStore,
    private readonly catalogues: CatalogueStore,
    private readonly events: EventService,
    private readonly clock: Clock,
  ) {
    this.#refusals = new EntryBudget(clock, REFUSED_EVENTS);
  }

  /** All of the message or nothing. @throws ZvmError ZVM_NOT_FOUND; ZVM_CONFLICT for a list that its history cannot have made */
  async put({ vpgId, baseRevision, revision, isWhole, afterId = 0, isMore = false, added, removed }: CataloguePutV1): Promise<CatalogueRevisionV1> {
    const vpg = this.vpgs.find(vpgId);
    if (!vpg) throw notFound('VPG', vpgId);
    let refusal: Error | undefined;
    const admit = (written: WrittenRows): void => {
      refusal = this.#refusalOf(vpg, written);
      if (refusal) throw refusal;
    };
    try {
      if (isWhole) return { revision: await this.catalogues.copyPage(vpgId, { afterId, entries: added, revision: isMore ? undefined : revision, admit }) };
      const own = (await this.catalogues.load(vpgId)).revision;
      if (own !== baseRevision || own === revision) return { revision: own };
      return { revision: await this.catalogues.apply(vpgId, { added, removed }, { revision, admit }) };
    } catch (error) {
      if (refusal) await this.#tell(vpg, refusal);
      throw error;
    }
  }

  #refusalOf(vpg: VpgRecord, written: WrittenRows): Error | undefined {
    const { vpgId, name, vms } = vpg.definition;
    const nowMs = this.clock.monotonicMs();
    const limits = limitsOf(vpg);
    const allowance = this.#allowances.get(vpgId) ?? new ListingAllowance(limits, { listedBefore: 0, nowMs });
    for (const known of this.#allowances.keys()) if (!this.vpgs.find(known)) this.#allowances.delete(known);
    this.#allowances.set(vpgId, allowance);
    const ownCharacters = vms.reduce((sum, { vmId }) => sum + vmId.length + NAME_CHARACTERS, ROW_CHARACTERS);
    const units = Math.max(written.rows, written.characters / ownCharacters);
    if (allowance.isEnough(units, limits, nowMs)) {
      allowance.take(units);
      return undefined;
    }
    return conflict(`the checkpoint list of VPG '${name}' is longer than its history and its interval can have made (60,000 checkpoints and twice its history at once, then two an interval); this part of it is refused, and the copy stays as it is`);
  }

  async #tell({ definition: { vpgId, recoverySiteId, recoverySiteName } }: VpgRecord, { message }: Error): Promise<void> {
    const leftOut = this.#refusals.spend(recoverySiteId);
    if (leftOut === undefined) return;
    const description = `site ${recoverySiteName}: ${message}. It is of another version, or somebody else speaks in its name${leftOut === 0 ? '' : `; ${leftOut} before it had no event of their own`}`;
    this.#log.warn(description);
    await this.events.record({ type: 'CheckpointListRefused', category: 'Events', entity: 'VPG', description: description.slice(0, 1000), userName: 'System', isSuccess: false, vpgIds: [vpgId] })
      .catch((error: unknown) => this.#log.warn(`the event could not be recorded: ${messageOf(error)}`));
  }
}

const limitsOf = ({ definition: { historyMs, checkpointIntervalMs } }: VpgRecord): ListingLimits => (
  { historyMs: Math.min(historyMs, HISTORY_MS_MAX), intervalMs: Math.max(checkpointIntervalMs, INTERVAL_MS_MIN) }
);
