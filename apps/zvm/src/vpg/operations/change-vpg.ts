import { Injectable, type OnModuleInit } from '@nestjs/common';
import { nextState } from '@tidemark/vpg';
import { conflict } from '../../errors.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { CatalogueStore } from '../catalogue.store.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { VpgDefinition } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';

export interface UpdateVpgInput {
  readonly before: VpgDefinition;
  readonly definition: VpgDefinition;
  /** What is changed, when it was not a user who asked. */
  readonly reason?: string;
}

export interface DeleteVpgInput {
  readonly vpgId: string;
  readonly name: string;
  readonly isMirrorKept: boolean;
  readonly isForced: boolean;
}

/** Changing what a VPG is, and ending it. */
@Injectable()
export class ChangeVpgOperations implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly catalogues: CatalogueStore,
    private readonly site: RecoverySite,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#updateKind());
    this.operations.register(this.#deleteKind());
  }

  #updateKind(): OperationKind<UpdateVpgInput> {
    const record = async (definition: VpgDefinition): Promise<void> => {
      await this.vpgs.update(definition.vpgId, (current) => ({ ...current, definition }));
    };
    return {
      kind: 'updateVpg',
      taskType: 'UpdateProtectionGroup',
      isExclusive: true,
      done: ({ input }) => `VPG '${input.definition.name}' is changed${input.reason === undefined ? '' : `: ${input.reason}`}`,
      steps: {
        recordSettings: { do: ({ input }) => record(input.definition), undo: ({ input }) => record(input.before) },
        applySettings: {
          do: async ({ input }) => await this.site.putRecoveries(input.definition, this.vpgs.get(input.definition.vpgId).epoch),
          undo: async ({ input }) => await this.site.putBackRecoveries(input.before, this.vpgs.get(input.before.vpgId).epoch),
        },
        copySettings: { do: async ({ input }) => await this.site.tryTellPeer(input.definition.vpgId) },
      },
    };
  }

  #deleteKind(): OperationKind<DeleteVpgInput> {
    return {
      kind: 'deleteVpg',
      taskType: 'RemoveProtectionGroup',
      isExclusive: true,
      done: ({ input }) => `VPG '${input.name}' is deleted; its recovery volumes are ${input.isMirrorKept ? 'kept' : 'deleted'}`,
      steps: {
        markDeleting: {
          do: async ({ input }) => {
            await this.vpgs.update(input.vpgId, (record) => {
              if (record.state === 'deleting' || record.state === 'removed') return record;
              // What a handover left half done is ended with the VPG; the VMs run on.
              if (record.state === 'reversing') return { ...record, state: nextState(record.state, 'deletionStarted'), failover: null };
              if (record.failover || record.failoverTest) throw conflict('a failover or a failover test is under way');
              return { ...record, state: nextState(record.state, 'deletionStarted') };
            });
          },
        },
        // A site that is away learns it when it is heard again; its streams are refused until then.
        stopProtection: { do: async ({ input }) => await this.site.tryTellPeer(input.vpgId) },
        removeRecovery: {
          do: async ({ input }) => {
            const record = this.vpgs.find(input.vpgId);
            if (record) await this.site.removeRecoveries(record.definition, { isMirrorKept: input.isMirrorKept, isForced: input.isForced });
          },
        },
        removePeerCopy: {
          do: async ({ input }) => {
            const record = this.vpgs.find(input.vpgId);
            if (!record) return;
            if (record.state !== 'removed') await this.vpgs.update(input.vpgId, (current) => ({ ...current, state: nextState(current.state, 'deleted') }));
            await this.site.tryTellPeer(input.vpgId);
          },
        },
        // The record itself stays as 'removed' until the other site has confirmed; see PeerExchange.
        removeVpg: { do: async ({ input }) => await this.catalogues.clear(input.vpgId) },
      },
    };
  }
}
