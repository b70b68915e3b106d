import { Inject, Injectable } from '@nestjs/common';
import type { ProtectionStatusV1, RecoveryStatusV1 } from '@tidemark/contracts';
import { type VisualStatus, visualStatus, type VpgStatusFacts } from '@tidemark/vpg';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { OperationService } from '../operation/operation.service.js';
import { OwnershipService } from '../ownership/ownership.service.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { CheckpointTrouble } from '../vra/checkpoint-trouble.js';
import { VraLinkService } from '../vra/vra-link.service.js';
import { VraStateService } from '../vra/vra-state.service.js';
import { VraWords } from '../vra/vra-words.service.js';
import { VraStore } from '../vra/vra.store.js';
import { CatalogueService } from './catalogue.service.js';
import { CatalogueStore, type CatalogueSummary } from './catalogue.store.js';
import { rpoSecondsOf } from './vpg-definition.js';
import type { VpgRecord } from './vpg-model.js';

/** Everything measured about a VPG, at this moment, as this site knows it. */
export interface VpgMeasures {
  readonly visual: VisualStatus;
  readonly measuredAtMs: number;
  readonly streams: readonly ProtectionStatusV1[];
  readonly recoveries: readonly RecoveryStatusV1[];
  readonly summary: CatalogueSummary;
  /** null: not known. */
  readonly rpoMs: number | null;
  /** Why the newest checkpoint was given up; null: it was sealed, or nothing is known. */
  readonly voidReason: string | null;
  readonly historyMs: number | null;
  /** Since the first checkpoint was listed; null: none was, or it is not known. */
  readonly recoverableForMs: number | null;
}

const NOTHING_LISTED: CatalogueSummary = { revision: 0, earliest: null, latest: null, firstListedAtMs: null };

/** Puts together what the own VRAs say and what the other site tells: each site measures its half, both show the whole. */
@Injectable()
export class VpgStatusService {
  constructor(
    private readonly vras: VraStore,
    private readonly vraLink: VraLinkService,
    private readonly words: VraWords,
    private readonly vraStates: VraStateService,
    private readonly link: PeerLinkService,
    private readonly catalogue: CatalogueService,
    private readonly catalogues: CatalogueStore,
    private readonly operations: OperationService,
    private readonly ownership: OwnershipService,
    private readonly trouble: CheckpointTrouble,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** Reads what is needed once; afterwards {@link measure} answers from memory. */
  async load(vpg: VpgRecord): Promise<void> {
    await this.catalogues.load(vpg.definition.vpgId);
  }

  measure(vpg: VpgRecord): VpgMeasures {
    const { vpgId } = vpg.definition;
    const summary = this.catalogues.summary(vpgId) ?? NOTHING_LISTED;
    const measured = this.#measured(vpg, summary);
    const historyMs = summary.earliest ? Math.max(0, this.clock.nowMs() - summary.earliest.atMs) : null;
    const visual = visualStatus(this.#facts(vpg, { ...measured, summary, historyMs }));
    const remarks = [this.ownership.textOf(vpgId), vpg.problem ?? ''].filter((text) => text !== '');
    return { measuredAtMs: this.clock.nowMs(), visual: { ...visual, description: [visual.description, ...remarks].filter((text) => text !== '').join('; ') }, ...measured, summary, historyMs, recoverableForMs: this.#recoverableForMs(summary) };
  }

  #recoverableForMs({ firstListedAtMs }: CatalogueSummary): number | null {
    return firstListedAtMs === null ? null : Math.max(0, this.clock.nowMs() - firstListedAtMs);
  }

  isRecoveredHere(vpg: VpgRecord): boolean {
    return vpg.definition.recoverySiteId === this.config.siteId;
  }

  otherSiteId(vpg: VpgRecord): string {
    return this.isRecoveredHere(vpg) ? vpg.definition.protectedSiteId : vpg.definition.recoverySiteId;
  }

  #measured(vpg: VpgRecord, summary: CatalogueSummary): Pick<VpgMeasures, 'streams' | 'recoveries' | 'rpoMs' | 'voidReason'> {
    const { vpgId } = vpg.definition;
    const heard = this.link.lastNews(this.otherSiteId(vpg));
    const isHeard = this.link.isAlive(this.otherSiteId(vpg));
    const news = isHeard ? heard?.news.vpgs.find((candidate) => candidate.vpgId === vpgId) : undefined;
    const voidReason = this.trouble.of(vpg) ?? news?.voidReason ?? null;
    if (this.isRecoveredHere(vpg)) {
      return { voidReason, streams: news?.protections ?? [], recoveries: this.words.recoveries(vpg), rpoMs: this.#ownRpoMs(vpgId, summary) };
    }
    const ageMs = news?.newestCheckpointAgeMs ?? null;
    return {
      voidReason,
      streams: this.words.protections(vpg),
      recoveries: news?.recoveries ?? [],
      // Its copy of the list may lack the newest checkpoints: then the RPO shown is too high, never too low.
      rpoMs: ageMs === null || !heard ? this.#listedAgeMs(summary) : ageMs + heard.ageMs,
    };
  }

  /** The list's own wall-clock times stand in until a journal has been read since the start. */
  #ownRpoMs(vpgId: string, summary: CatalogueSummary): number | null {
    return this.catalogue.newestAgeMs(vpgId) ?? this.#listedAgeMs(summary);
  }

  #listedAgeMs({ latest }: CatalogueSummary): number | null {
    return latest ? Math.max(0, this.clock.nowMs() - latest.atMs) : null;
  }

  #facts(vpg: VpgRecord, measured: Omit<VpgMeasures, 'visual' | 'measuredAtMs' | 'recoverableForMs'>): VpgStatusFacts {
    const { definition } = vpg;
    const nameOf = (vmId: string): string => definition.vms.find((vm) => vm.vmId === vmId)?.name ?? vmId;
    const { summary } = measured;
    return {
      state: vpg.state,
      failoverPhase: vpg.failover?.phase ?? null,
      isMove: vpg.failover?.kind === 'move',
      isPausedByUser: definition.isPaused === true,
      vmCount: definition.vms.length,
      hasCheckpoint: summary.latest !== null,
      isPeerConnected: this.link.isAlive(this.otherSiteId(vpg)),
      silentVras: this.silentVras(vpg),
      streams: measured.streams.map(({ vmId, state, detail, sync }) => ({ vmName: nameOf(vmId), state, detail, sync })),
      recoverings: measured.recoveries.map(({ vmId, state, detail, isAtHardLimit }) => ({ vmName: nameOf(vmId), state, detail, isAtHardLimit })),
      operationPercent: this.operations.percentOn(definition.vpgId),
      rpoMs: measured.rpoMs,
      voidReason: measured.voidReason,
      rpoTargetMs: 1000 * rpoSecondsOf(definition),
      historyMs: measured.historyMs,
      historyTargetMs: definition.historyMs,
      recoverableForMs: this.#recoverableForMs(summary),
    };
  }

  /** Ids of this site's VRAs that the VPG needs. */
  ownVraIds(vpg: VpgRecord): string[] {
    if (this.isRecoveredHere(vpg)) return [...new Set(vpg.definition.vms.map((vm) => vm.recoveringVra.vraId))];
    return this.vraStates.vraIdsOf(vpg.definition.vms.map((vm) => vm.vmId));
  }

  /** Names of VRAs that the VPG needs and that have gone silent, at either site. */
  silentVras(vpg: VpgRecord): string[] {
    const own = this.ownVraIds(vpg).filter((vraId) => !this.vraLink.isAlive(vraId)).map((vraId) => this.vras.find(vraId)?.name ?? `VRA ${vraId}`);
    const heard = this.link.isAlive(this.otherSiteId(vpg)) ? this.link.lastNews(this.otherSiteId(vpg)) : undefined;
    const news = heard?.news.vpgs.find((candidate) => candidate.vpgId === vpg.definition.vpgId);
    return news?.areVrasAlive === false ? [...own, `a VRA of site ${heard?.news.siteName ?? ''}`] : own;
  }
}
