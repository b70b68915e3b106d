import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { CATALOGUE_PAGE_MAX, type CataloguePutV1, type PeerNewsV1, type VpgNewsV1 } from '@tidemark/contracts';
import { Background, eachAlone } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { ZvmError } from '../errors.js';
import { TaskService } from '../task/task.service.js';
import { ZVM_VERSION } from '../version.js';
import { CatalogueService } from '../vpg/catalogue.service.js';
import { CatalogueStore } from '../vpg/catalogue.store.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { CheckpointTrouble } from '../vra/checkpoint-trouble.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { VraStateService } from '../vra/vra-state.service.js';
import { VraWords } from '../vra/vra-words.service.js';
import { PeerLinkService } from './peer-link.service.js';
import { PeerTaskIntake } from './peer-task-intake.js';
import { PeerStore } from './peer.store.js';

/** Ended tasks are told for this long, for a site that was away for a moment. */
const TASK_NEWS_MS = 10 * 60_000;

/**
 * What paired sites tell each other without being asked. Every second each sends all that the other may show; and the recovery site
 * compares what it hears with what it has decided and hands over what the other lacks: a site that was away catches up by itself.
 */
@Injectable()
export class PeerExchange implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #news = new Background('peer-news', 1000, () => this.#tellAll());
  readonly #heal = new Background('peer-heal', 1000, () => this.#healAll());
  readonly #intake: PeerTaskIntake;
  /** Revision of each VPG's list that the protected site has confirmed. */
  readonly #confirmed = new Map<string, number>();

  constructor(
    private readonly peers: PeerStore,
    private readonly link: PeerLinkService,
    private readonly vpgs: VpgStore,
    private readonly vras: VraLinkService,
    private readonly words: VraWords,
    private readonly vraStates: VraStateService,
    private readonly tasks: TaskService,
    private readonly catalogues: CatalogueStore,
    private readonly catalogue: CatalogueService,
    private readonly trouble: CheckpointTrouble,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {
    this.#intake = new PeerTaskIntake(tasks, vpgs, clock);
  }

  onApplicationBootstrap(): void {
    this.link.onNews((siteId, news) => this.#hear(siteId, news));
    this.catalogue.onChange(() => this.#heal.poke());
    this.#news.start();
    this.#heal.start();
  }

  /** True when the protected site lists everything up to `revision`. */
  isConfirmed(vpgId: string, revision: number): boolean {
    return (this.#confirmed.get(vpgId) ?? -1) >= revision;
  }

  async #tellAll(): Promise<void> {
    // News of no VPGs, sent before they are read, would make the other site forget what it remembers of them.
    if (!this.vpgs.isLoaded) return;
    const changedAfter = new Date(this.clock.nowMs() - TASK_NEWS_MS);
    // Without the database the heartbeat goes on; it only has no tasks to tell.
    const tasks = await this.tasks.listShared(changedAfter).catch(() => []);
    await eachAlone(this.peers.all(), (peer) => {
      const shared = this.vpgs.all().filter(({ definition: { protectedSiteId, recoverySiteId } }) => protectedSiteId === peer.siteId || recoverySiteId === peer.siteId);
      this.link.tell(peer.siteId, {
        siteName: this.config.siteName,
        location: this.config.location,
        version: ZVM_VERSION,
        vpgs: shared.map((vpg) => this.#newsOf(vpg)),
        removedVpgIds: [...shared.filter((vpg) => vpg.state === 'removed').map((vpg) => vpg.definition.vpgId), ...this.#forgottenThatShow(peer.siteId)],
        tasks: tasks.filter((task) => task.related.vpgIds.length > 0 && task.related.siteIds.includes(peer.siteId)),
      });
    });
  }

  /** Deleted here, and still there: the other site was away when it happened. */
  #forgottenThatShow(siteId: string): string[] {
    return (this.link.lastNews(siteId)?.news.vpgs ?? []).map(({ vpgId }) => vpgId).filter((vpgId) => this.vpgs.isForgotten(vpgId));
  }

  #newsOf(vpg: VpgRecord): VpgNewsV1 {
    const { vpgId, recoverySiteId } = vpg.definition;
    const isRecoveringHere = recoverySiteId === this.config.siteId;
    return {
      vpgId,
      generation: vpg.generation,
      catalogueRevision: this.catalogues.summary(vpgId)?.revision ?? 0,
      protections: this.words.protections(vpg),
      recoveries: isRecoveringHere ? this.words.recoveries(vpg) : [],
      newestCheckpointAgeMs: isRecoveringHere ? this.catalogue.newestAgeMs(vpgId) : null,
      voidReason: this.trouble.of(vpg),
      areVrasAlive: this.#vraIdsOf(vpg).every((vraId) => this.vras.isAlive(vraId)),
    };
  }

  /** VRAs of this site that the VPG needs now. */
  #vraIdsOf({ definition }: VpgRecord): string[] {
    if (definition.recoverySiteId === this.config.siteId) return definition.vms.map((vm) => vm.recoveringVra.vraId);
    return this.vraStates.vraIdsOf(definition.vms.map((vm) => vm.vmId));
  }

  #hear(siteId: string, news: PeerNewsV1): void {
    void this.#take(siteId, news).catch(() => undefined);
    this.#heal.poke();
  }

  /** Owned by the news that comes each second: what fails now comes again. */
  async #take(siteId: string, news: PeerNewsV1): Promise<void> {
    for (const { vpgId, catalogueRevision } of news.vpgs) {
      if (this.vpgs.find(vpgId)?.definition.protectedSiteId === siteId) this.#confirmed.set(vpgId, catalogueRevision);
    }
    await this.#intake.take({ siteId, name: this.peers.find(siteId)?.name ?? siteId }, news.tasks);
  }

  async #healAll(): Promise<void> {
    if (!this.vpgs.isLoaded) return;
    const all = this.vpgs.all();
    const protectors = new Set(all.filter(({ definition }) => definition.recoverySiteId === this.config.siteId).map(({ definition }) => definition.protectedSiteId));
    // A site that refuses, or is slow to answer, holds up the VPGs that it protects and no others.
    const healed = await Promise.allSettled([...protectors].filter((siteId) => this.link.isAlive(siteId)).map((siteId) => this.#healFor(siteId)));
    await eachAlone(all.filter(({ definition, state }) => definition.protectedSiteId === this.config.siteId && state === 'removed'), (vpg) => this.#forgetWhenGone(vpg, vpg.definition.recoverySiteId));
    for (const outcome of healed) if (outcome.status === 'rejected') throw outcome.reason as Error;
  }

  async #healFor(siteId: string): Promise<void> {
    const vpgs = this.vpgs.all().filter(({ definition }) => definition.recoverySiteId === this.config.siteId && definition.protectedSiteId === siteId);
    let isDown = false;
    await eachAlone(vpgs, async (vpg) => {
      // Each further question would wait for its deadline as well.
      if (isDown) return;
      await this.#healOne(vpg, siteId).catch((error: unknown) => {
        isDown = error instanceof ZvmError && error.code === 'ZVM_PEER_DOWN';
        throw error;
      });
    });
  }

  async #healOne(vpg: VpgRecord, siteId: string): Promise<void> {
    const { vpgId } = vpg.definition;
    const news = this.link.lastNews(siteId)?.news;
    const shown = news?.vpgs.find((candidate) => candidate.vpgId === vpgId);
    if (vpg.state === 'removed') {
      // The other site has let go of it, or never knew it: nobody needs the memory of it any more.
      if (!shown || news?.removedVpgIds.includes(vpgId)) await this.#forget(vpgId);
      else await this.link.ask(siteId, 'vpg.put', { record: vpg });
      return;
    }
    if (news?.removedVpgIds.includes(vpgId)) return await this.#orphan(vpg);
    if (shown?.generation !== vpg.generation) await this.link.ask(siteId, 'vpg.put', { record: this.vpgs.find(vpgId) });
    await this.#handOverCatalogue(vpgId, siteId, shown?.catalogueRevision ?? 0);
  }

  async #forget(vpgId: string): Promise<void> {
    await this.vpgs.forget(vpgId);
    this.catalogues.forget(vpgId);
    this.#confirmed.delete(vpgId);
  }

  /** Deleted here by force: remembered until the recovery site has let go of it too. */
  async #forgetWhenGone({ definition }: VpgRecord, recoverySiteId: string): Promise<void> {
    const news = this.link.isAlive(recoverySiteId) ? this.link.lastNews(recoverySiteId)?.news : undefined;
    if (news && !news.vpgs.some((vpg) => vpg.vpgId === definition.vpgId)) await this.#forget(definition.vpgId);
  }

  /** The protected site deleted it by force while this one was away. */
  async #orphan(vpg: VpgRecord): Promise<void> {
    const problem = 'the protected site has deleted this VPG by force; delete it here as well';
    if (vpg.problem !== problem) await this.vpgs.update(vpg.definition.vpgId, (record) => ({ ...record, problem }));
  }

  async #handOverCatalogue(vpgId: string, siteId: string, shownRevision: number): Promise<void> {
    const { revision } = await this.catalogues.load(vpgId);
    const baseRevision = Math.max(shownRevision, this.#confirmed.get(vpgId) ?? 0);
    if (baseRevision === revision) return;
    const change = this.catalogue.changesSince(vpgId, baseRevision);
    const isShort = change !== undefined && Math.max(change.added.length, change.removed.length) <= CATALOGUE_PAGE_MAX;
    const confirmed = isShort
      ? await this.#putCatalogue(siteId, { vpgId, baseRevision, revision, isWhole: false, added: [...change.added], removed: [...change.removed] })
      : await this.#putWholeCatalogue(siteId, { vpgId, baseRevision, revision });
    this.#confirmed.set(vpgId, confirmed);
  }

  /**
   * Page by page, as the list is when each is read: the copy is of the revision from before the first, so whatever changed meanwhile follows as a change (which
   * says again what a later page may have said already).
   */
  async #putWholeCatalogue(siteId: string, list: { readonly vpgId: string; readonly baseRevision: number; readonly revision: number }): Promise<number> {
    for (let afterId = 0; ; ) {
      const added = await this.catalogues.page(list.vpgId, afterId, CATALOGUE_PAGE_MAX);
      const last = added.at(-1);
      const isMore = added.length === CATALOGUE_PAGE_MAX;
      const revision = await this.#putCatalogue(siteId, { ...list, isWhole: true, afterId, isMore, added, removed: [] });
      if (!isMore || last === undefined) return revision;
      afterId = last.checkpointId;
    }
  }

  async #putCatalogue(siteId: string, message: CataloguePutV1): Promise<number> {
    return (await this.link.ask(siteId, 'catalogue.put', message, { timeoutMs: 15_000 })).revision;
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([this.#news.stop(), this.#heal.stop()]);
  }
}
