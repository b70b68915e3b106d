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
          do: async ({ input }) => await this.site.releaseRecoveries(input.before, input.definition),
          undo: async ({ input }) => {
            // The number first: what is put to the old VRAs must be what the VPG says from then on.
            const undone = withMoveUndone(input.before, input.definition);
            await record(undone);
            await this.site.takeOverRecoveries(input.definition, undone, epochOf(undone));
          },
        },
        takeOverRecoveries: {
          do: async ({ input }) => await this.site.takeOverRecoveries(input.before, input.definition, epochOf(input.definition)),
          undo: async ({ input }) => await this.site.releaseRecoveries(input.definition, withMoveUndone(input.before, input.definition)),
        },
        recordRecoveryHost: { do: async ({ input }) => await record(input.definition) },
        applyRecoveryHost: { do: async ({ input }) => await this.site.putRecoveries(input.definition, epochOf(input.definition)) },
        tellRecoveryHost: { do: async ({ input }) => await this.site.tryTellPeer(input.definition.vpgId) },
      },
    };
  }

  /** It may have been failed over or tested since it was asked. */
  #check({ before, definition }: MoveRecoveryInput): void {
    const { state, failoverTest, failover } = this.vpgs.get(before.vpgId);
    if (failoverTest) throw conflict(`a failover test of VPG '${before.name}' runs: stop it first`);
    if (state !== 'protecting' || failover) throw conflict(`VPG '${before.name}' is not protecting now`);
    const needed = new Set(movedVms(before, definition).flatMap(({ from, to }) => [from.recoveringVra.vraId, to.recoveringVra.vraId]));
    const silent = [...needed].filter((vraId) => !this.vras.isAlive(vraId));
    if (silent.length > 0) throw conflict(`VRA ${silent.join(', ')} does not answer: both VRAs of a move must run, so that one lets go before the other takes over`);
  }
}

export const moveText = ({ before, definition }: MoveRecoveryInput): string =>
  movedVms(before, definition).map(({ from, to }) => `'${to.name}' is recovered by VRA ${to.recoveringVra.vraId} instead of ${from.recoveringVra.vraId}`).join(', ');
