import { Injectable, type OnModuleInit } from '@nestjs/common';
import { nextState } from '@tidemark/vpg';
import { Clock } from '../../clock.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { VpgDefinition, VpgRecord } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';

export interface CreateVpgInput {
  readonly definition: VpgDefinition;
}

/** Makes a VPG: first what receives at the recovery site, then the protected site begins to send. Initial sync goes on after it. */
@Injectable()
export class CreateVpgOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly site: RecoverySite,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<CreateVpgInput> {
    return {
      kind: 'createVpg',
      taskType: 'CreateProtectionGroup',
      isExclusive: true,
      done: ({ input }) => `VPG '${input.definition.name}' is created; its initial sync goes on`,
      steps: {
        recordVpg: {
          do: async ({ input }) => await this.#record(input.definition),
          undo: async ({ input }) => await this.#drop(input.definition.vpgId),
        },
        copyToPeer: {
          do: async ({ input }) => await this.site.tellPeer(input.definition.vpgId),
          // The record's removal reaches the protected site by itself, as soon as it is heard.
          undo: () => Promise.resolve(),
        },
        prepareRecovery: {
          do: async ({ input }) => await this.site.putRecoveries(input.definition, 1),
          // An existing disk is the user's until its VPG exists: rather a new volume too many than one of his too few.
          undo: async ({ input }) => await this.site.removeRecoveries(input.definition, { isMirrorKept: hasPreseed(input.definition), isForced: false }),
        },
        startProtection: {
          do: async ({ input }) => {
            const { vpgId } = input.definition;
            await this.vpgs.update(vpgId, (record) => ({ ...record, state: record.state === 'creating' ? nextState(record.state, 'created') : record.state }));
            await this.site.tellPeer(vpgId);
          },
          undo: async ({ input }) => {
            await this.vpgs.update(input.definition.vpgId, (record) => ({ ...record, state: 'creating' }));
            await this.site.tryTellPeer(input.definition.vpgId);
          },
        },
        markProtecting: { do: () => Promise.resolve() },
      },
    };
  }

  async #record(definition: VpgDefinition): Promise<void> {
    const record: VpgRecord = {
      definition, state: 'creating', generation: 1, epoch: 1, epochMax: 1, failover: null, failoverTest: null, lastTestAtMs: null, problem: null,
      createdAtMs: this.clock.nowMs(),
    };
    await this.vpgs.decide(definition.vpgId, (known) => Promise.resolve(known ? undefined : record));
  }

  async #drop(vpgId: string): Promise<void> {
    const record = this.vpgs.find(vpgId);
    if (!record || record.state === 'removed') return;
    await this.vpgs.update(vpgId, (current) => ({ ...current, state: nextState(current.state, 'creationFailed') }));
    await this.site.tryTellPeer(vpgId);
  }
}

const hasPreseed = ({ vms }: VpgDefinition): boolean => vms.some(({ disks }) => disks.some(({ isPreseeded }) => isPreseeded === true));
