import { Injectable, type OnModuleInit } from '@nestjs/common';
import { conflict } from '../../errors.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { VraLinkService } from '../../vra/vra-link.service.js';
import { movedVms, withMoveUndone } from '../moved-recoveries.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { VpgDefinition } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';

export interface MoveRecoveryInput {
  readonly before: VpgDefinition;
  /** Whatever else an edit changes comes with it. */
  readonly definition: VpgDefinition;
  /** The operator's word: an old VRA that does not answer is not waited for. */
  readonly isOldHostDown?: boolean;
}

/** Other VRAs take over journals and recovery volumes of a VPG's VMs, where these are. */
@Injectable()
export class MoveRecoveryOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly site: RecoverySite,
    private readonly vras: VraLinkService,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<MoveRecoveryInput> {
    const record = async (definition: VpgDefinition): Promise<void> => {
      await this.vpgs.update(definition.vpgId, (current) => ({ ...current, definition }));
    };
    const epochOf = ({ vpgId }: VpgDefinition): number => this.vpgs.get(vpgId).epoch;
    return {
      kind: 'moveRecovery',
      taskType: 'UpdateProtectionGroup',
      isExclusive: true,
      done: ({ input }) => `VPG '${input.definition.name}' is changed: ${moveText(input)}; no sync was needed and every checkpoint stays`,
      steps: {
        checkRecoveryMove: { do: ({ input }) => Promise.resolve(this.#check(input)) },
        releaseRecoveries: {
          do: async ({ input }) => await this.site.releaseRecoveries(input.before, input.definition, { epoch: epochOf(input.definition), ...forcedBy(input) }),
          undo: async ({ input }) => {
            // The number first: what is put to the old VRAs must be what the VPG says from then on.
            const undone = withMoveUndone(input.before, input.definition);
            await record(undone);
            if (input.isOldHostDown === true) await this.site.tryTakeBack(input.definition, undone, epochOf(undone));
            else await this.site.takeOverRecoveries(input.definition, undone, { epoch: epochOf(undone) });
          },
        },
        takeOverRecoveries: {
          do: async ({ input }) => await this.site.takeOverRecoveries(input.before, input.definition, { epoch: epochOf(input.definition), ...forcedBy(input) }),
          undo: async ({ input }) => await this.site.releaseRecoveries(input.definition, withMoveUndone(input.before, input.definition), { epoch: epochOf(input.definition) }),
        },
        recordRecoveryHost: { do: async ({ input }) => await record(input.definition) },
        applyRecoveryHost: { do: async ({ input }) => await this.site.putRecoveries(input.definition, epochOf(input.definition)) },
        tellRecoveryHost: { do: async ({ input }) => await this.site.tryTellPeer(input.definition.vpgId) },
      },
    };
  }

  /** It may have been failed over or tested since it was asked. */
  #check({ before, definition, isOldHostDown }: MoveRecoveryInput): void {
    const { state, failoverTest, failover } = this.vpgs.get(before.vpgId);
    if (failoverTest) throw conflict(`a failover test of VPG '${before.name}' runs: stop it first`);
    if (state !== 'protecting' || failover) throw conflict(`VPG '${before.name}' is not protecting now`);
    const silent = (vraIds: readonly string[]): string[] => [...new Set(vraIds)].filter((vraId) => !this.vras.isAlive(vraId));
    const moved = movedVms(before, definition);
    const silentOld = isOldHostDown === true ? [] : silent(moved.map(({ from }) => from.recoveringVra.vraId));
    if (silentOld.length > 0) throw conflict(oldVraSilent(silentOld.join(', ')));
    // All of the VPG's: they are told who retires with whom.
    const silentNew = silent(definition.vms.map(({ recoveringVra }) => recoveringVra.vraId));
    if (silentNew.length > 0) throw conflict(`VRA ${silentNew.join(', ')} does not answer, which recovers VMs of VPG '${before.name}' after the move: start it, or move to another host`);
  }
}

const forcedBy = ({ isOldHostDown }: MoveRecoveryInput): { readonly isOldHostDown: boolean } => ({ isOldHostDown: isOldHostDown === true });

/** What an operator has to know before saying that a host is down. */
export const oldVraSilent = (vra: string): string =>
  `VRA ${vra} does not answer, so it cannot be asked to let go of its journals: start it; or make sure that its host is powered off or cut off from the datastore, and move with HostIsDown (two VRAs that write one journal destroy it)`;

export const moveText = ({ before, definition }: MoveRecoveryInput): string =>
  movedVms(before, definition).map(({ from, to }) => `'${to.name}' is recovered by VRA ${to.recoveringVra.vraId} instead of ${from.recoveringVra.vraId}`).join(', ');
