import { Inject, Injectable } from '@nestjs/common';
import type { RecoveryV1 } from '@tidemark/contracts';
import { ControlError } from '@tidemark/nest';
import { limitsOf, thinningOf } from '@tidemark/vpg';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { ZvmError } from '../errors.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { OPEN_OR_CLOSE_MS, VraLinkService } from '../vra/vra-link.service.js';
import { settingsOf } from './vpg-definition.js';
import { liveDisks } from './followed-disks.js';
import { movedVms, moveNumberOf } from './moved-recoveries.js';
import type { VpgDefinition, VpgVm } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

/** What operations do at the recovery site's VRAs and towards the protected site. Every method may be repeated. */
@Injectable()
export class RecoverySite {
  constructor(
    private readonly vras: VraLinkService,
    private readonly vpgs: VpgStore,
    private readonly link: PeerLinkService,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** Hands the newest record to the protected site. @throws ZvmError ZVM_PEER_DOWN */
  async tellPeer(vpgId: string): Promise<void> {
    const record = this.vpgs.find(vpgId);
    if (!record || record.definition.protectedSiteId === this.config.siteId) return;
    await this.link.ask(record.definition.protectedSiteId, 'vpg.put', { record });
  }

  /** As {@link tellPeer} where the operation must not depend on it, nor wait for a site that is silent: the news of each second bring it later. */
  async tryTellPeer(vpgId: string): Promise<void> {
    const record = this.vpgs.find(vpgId);
    if (!record || !this.link.isAlive(record.definition.protectedSiteId)) return;
    try {
      await this.tellPeer(vpgId);
    } catch {
      // Away: PeerExchange hands the record over when it is heard again.
    }
  }

  async putRecoveries(definition: VpgDefinition, epoch: number): Promise<void> {
    await Promise.all(definition.vms.map((vm) => this.vras.putRecovery(vm.recoveringVra.vraId, recoveryOf(definition, vm, epoch))));
  }

  /**
   * What {@link putRecoveries} has changed in part is put back. A VRA that is not heard is passed over: it may be gone for good, and the VPG would stay locked; and so is one that refuses,
   * because volumes have grown there, which they do not take back. @throws ZvmError ZVM_VRA_DOWN when one that is heard does not answer: it may have taken the newer settings
   */
  async putBackRecoveries(before: VpgDefinition, epoch: number): Promise<void> {
    await Promise.all(before.vms.map(async (vm) => {
      const { vraId } = vm.recoveringVra;
      try {
        await this.vras.putRecovery(vraId, recoveryOf(before, vm, epoch));
      } catch (error) {
        const isGone = error instanceof ZvmError && error.code === 'ZVM_VRA_DOWN' && !this.vras.isAlive(vraId);
        const isRefused = error instanceof ControlError && error.code === 'CONTROL_REFUSED';
        if (!isGone && !isRefused) throw error;
      }
    }));
  }

  /** The old VRAs let go of what the new ones shall have. With `isOldHostDown`, one that is silent is not asked. */
  async releaseRecoveries(before: VpgDefinition, after: VpgDefinition, { epoch, isOldHostDown = false }: { readonly epoch: number; readonly isOldHostDown?: boolean }): Promise<void> {
    const asked = movedVms(before, after).filter(({ from }) => !isOldHostDown || this.vras.isAlive(from.recoveringVra.vraId));
    await Promise.all(asked.map(({ from, to }) => this.vras.releaseRecovery(from.recoveringVra.vraId, { ...refOf(before, from), epoch, moveNumber: moveNumberOf(to), journalFolder: from.journalFolder })));
  }

  /** To be called when the old VRAs have let go, or with `isOldHostDown`. */
  async takeOverRecoveries(before: VpgDefinition, after: VpgDefinition, { epoch, isOldHostDown = false }: { readonly epoch: number; readonly isOldHostDown?: boolean }): Promise<void> {
    await Promise.all(movedVms(before, after).map(async ({ to }) => {
      const recovery = { ...recoveryOf(after, to, epoch), ...(isOldHostDown && { isOldHostDown }) };
      await this.vras.putRecovery(to.recoveringVra.vraId, recovery, OPEN_OR_CLOSE_MS);
    }));
  }

  /** As {@link takeOverRecoveries}, back to a VRA whose host is said to be down: one that does not answer finds out by the files whether they are still its own. */
  async tryTakeBack(before: VpgDefinition, after: VpgDefinition, epoch: number): Promise<void> {
    try {
      await this.takeOverRecoveries(before, after, { epoch });
    } catch (error) {
      if (!(error instanceof ZvmError) || error.code !== 'ZVM_VRA_DOWN') throw error;
    }
  }

  /** With `isForced`, a VRA that does not answer is left behind. */
  async removeRecoveries(definition: VpgDefinition, { isMirrorKept, isForced }: { readonly isMirrorKept: boolean; readonly isForced: boolean }): Promise<void> {
    const epoch = this.vpgs.find(definition.vpgId)?.epoch ?? FIRST_EPOCH;
    await Promise.all(definition.vms.map(async (vm) => {
      try {
        await this.vras.removeRecovery(vm.recoveringVra.vraId, { ...refOf(definition, vm), epoch }, { isMirrorKept });
      } catch (error) {
        if (isForced && error instanceof ZvmError && error.code === 'ZVM_VRA_DOWN') return;
        if (isUnknownThere(error)) return;
        throw error;
      }
    }));
  }

  /** One after the other would leave more time between the first and the last; the order does not matter. */
  async epochs(definition: VpgDefinition, verb: 'reserve' | 'commit' | 'burn', epoch: number): Promise<void> {
    await Promise.all(definition.vms.map((vm) => this.vras.epoch(vm.recoveringVra.vraId, verb, { ...refOf(definition, vm), epoch })));
  }
}

/** Of a VPG of which nothing is recorded (any more): whatever is newer is not its own. */
const FIRST_EPOCH = 1;

/** Removed already: an earlier try of this step did it. */
const isUnknownThere = (error: unknown): boolean => error instanceof ControlError && /UNKNOWN|NOT_FOUND/.test(error.remoteCode ?? '');

export const refOf = ({ vpgId }: VpgDefinition, { vmId }: VpgVm): { readonly vpgId: string; readonly vmId: string } => ({ vpgId, vmId });

/** VMs by the VRA that recovers them, in the order of the VPG: the first VRA leads retirement. */
function recoverersOf(definition: VpgDefinition): RecoveryV1['recoverers'] {
  const members = new Map<string, RecoveryV1['recoverers'][number]>();
  for (const vm of definition.vms) {
    const member = members.get(vm.recoveringVra.vraId) ?? { vra: vm.recoveringVra, vmIds: [] };
    member.vmIds.push(vm.vmId);
    members.set(vm.recoveringVra.vraId, member);
  }
  return [...members.values()];
}

function recoveryOf(definition: VpgDefinition, vm: VpgVm, epoch: number): RecoveryV1 {
  const settings = settingsOf(definition);
  const thinning = thinningOf(settings);
  return {
    ...(thinning === undefined ? {} : { thinning }),
    ...(vm.basis && { basis: vm.basis }),
    ...refOf(definition, vm),
    protectedSiteId: definition.protectedSiteId,
    epoch,
    recoverers: recoverersOf(definition),
    volumes: vm.disks.map(({ diskId, sizeBytes, mirrorPath, isPreseeded, isRemoved }) => ({
      diskId, sizeBytes, mirrorPath, ...(isPreseeded === true && { isPreseeded }), ...(isRemoved === true && { isRemoved }),
    })),
    journalFolder: vm.journalFolder,
    ...(moveNumberOf(vm) > 0 && { moveNumber: moveNumberOf(vm) }),
    datastore: { path: vm.journalDatastore.path, capacityBytes: vm.journalDatastore.capacityBytes },
    historyMs: definition.historyMs,
    limits: limitsOf(settings, settings.vms.find(({ vmIdentifier }) => vmIdentifier === vm.vmId), liveDisks(vm).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
  };
}
