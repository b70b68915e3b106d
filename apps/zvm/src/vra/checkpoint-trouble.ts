import { Inject, Injectable } from '@nestjs/common';
import type { VraStatusV1 } from '@tidemark/contracts';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { VraLinkService } from './vra-link.service.js';
import { VraStateService } from './vra-state.service.js';
import { VraStore } from './vra.store.js';

/** Why a VPG gets no checkpoints, as the VRAs of this site that protect its VMs say, and no others: the one that leads knows of all. */
@Injectable()
export class CheckpointTrouble {
  constructor(
    private readonly link: VraLinkService,
    private readonly states: VraStateService,
    private readonly vras: VraStore,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** null: the newest was sealed, or nothing is known here. */
  of({ definition: { vpgId, vms, protectedSiteId } }: VpgRecord): string | null {
    if (protectedSiteId !== this.config.siteId) return null;
    const protecting = this.states.vraIdsOf(vms.map(({ vmId }) => vmId)).flatMap((vraId) => this.link.status(vraId) ?? []);
    const reason = voidReasonOf(protecting, vpgId);
    return reason === null ? null : withNames(reason, new Map(this.vras.all().map(({ vraId, name }) => [vraId, name])));
  }
}

/** Ids stand in it as words of their own: a number that has one in it is none. */
export const withNames = (reason: string, nameOf: ReadonlyMap<string, string>): string =>
  reason.replace(/[\w-]+/g, (word) => (nameOf.has(word) ? `VRA '${nameOf.get(word) ?? ''}'` : word));

export function voidReasonOf(statuses: readonly Pick<VraStatusV1, 'vraId' | 'barriers'>[], vpgId: string): string | null {
  const parts = statuses.flatMap(({ vraId, barriers }) => barriers.filter((barrier) => barrier.vpgId === vpgId).map((barrier) => ({ vraId, ...barrier })));
  const leading = parts.find(({ vraId, leaderVraId }) => vraId === leaderVraId);
  if (leading) return leading.lastVoidReason;
  return parts.length === 0 ? null : (parts.find(({ lastVoidReason }) => lastVoidReason !== null)?.lastVoidReason ?? 'no VRA that answers leads its checkpoints');
}
