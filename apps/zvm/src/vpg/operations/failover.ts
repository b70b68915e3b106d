import { Injectable, type OnModuleInit } from '@nestjs/common';
import { ZvmError } from '../../errors.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { PeerLinkService } from '../../peer/peer-link.service.js';
import { RecoveredVms } from '../recovered-vms.service.js';
import { RecoverySite } from '../recovery-site.service.js';
import { VpgStore } from '../vpg.store.js';
import { scriptRemarks } from '../../script/script-outcome.js';
import { backToProtecting, type FailoverInput, FailoverSteps } from './failover-steps.js';

export interface FailoverRefInput {
  readonly vpgId: string;
}

/** How a failover, or a move, is ended. */
export interface FailoverEndInput extends FailoverRefInput {
  readonly isMove: boolean;
}

export interface FailoverCommitInput extends FailoverEndInput {
  readonly isReverse: boolean;
}

const SLOT = 'failover';

/** A live failover up to the point where its VMs run, and the way back from there. Neither needs the protected site. */
@Injectable()
export class FailoverOperations implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly vms: RecoveredVms,
    private readonly site: RecoverySite,
    private readonly steps: FailoverSteps,
    private readonly link: PeerLinkService,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#failoverKind());
    this.operations.register(this.#rollbackKind());
  }

  #failoverKind(): OperationKind<FailoverInput> {
    return {
      kind: 'failover',
      taskType: 'FailOver',
      isExclusive: true,
      done: ({ input, notes }) => `the recovered VMs run at checkpoint ${input.checkpointId}; commit or roll back${scriptRemarks(notes)}`,
      steps: {
        recordFailover: {
          do: async ({ input, taskId }) => await this.steps.record(input, taskId),
          undo: async ({ input, taskId }) => await this.steps.forget(input.vpgId, taskId),
        },
        reserveEpoch: {
          do: async ({ input }) => await this.steps.epochs(input.vpgId, 'reserve'),
          undo: async ({ input }) => await this.steps.epochs(input.vpgId, 'burn'),
        },
        runPreScript: { do: async (context) => await this.steps.runScript(context, 'preRecovery') },
        createVms: {
          do: async ({ input }) => await this.vms.create(input.vpgId, SLOT),
          undo: async ({ input }) => await this.vms.delete(input.vpgId, SLOT),
        },
        openViews: {
          do: async ({ input }) => await this.vms.openViews(input.vpgId, SLOT),
          undo: async ({ input }) => await this.vms.closeViews(input.vpgId, SLOT),
        },
        shutDownProtectedVms: {
          do: async ({ input }) => await this.#shutDown(input.vpgId),
          undo: async ({ input }) => void (await this.steps.startProtectedVms(input.vpgId)),
        },
        powerOnVms: {
          do: async ({ input, signal, share }) => await this.vms.powerOn(input.vpgId, SLOT, { signal, share }),
          undo: async ({ input }) => await this.vms.powerOff(input.vpgId, SLOT),
        },
        runPostScript: { do: async (context) => await this.steps.runScript(context, 'postRecovery') },
        markBeforeCommit: { do: async ({ input }) => await this.steps.markBeforeCommit(input.vpgId) },
      },
    };
  }

  /** Nobody to ask when the protected site is away: that is what failovers are for. */
  async #shutDown(vpgId: string): Promise<void> {
    const { definition, failover } = this.vpgs.get(vpgId);
    if (failover?.shutdownPolicy === 'None' || !this.link.isAlive(definition.protectedSiteId)) return;
    try {
      await this.steps.shutDownProtectedVms(vpgId);
    } catch (error) {
      // Lost while asking is as good as away; a guest that refuses a graceful shutdown stops the failover, as its policy says.
      if (!(error instanceof ZvmError && error.isRetryable)) throw error;
    }
  }

  #rollbackKind(): OperationKind<FailoverEndInput> {
    return {
      kind: 'failoverRollback',
      taskType: ({ isMove }) => (isMove ? 'MoveRollback' : 'FailoverRollback'),
      isExclusive: true,
      done: ({ notes }) => `rolled back; protection goes on${notes['areProtectedVmsOn'] === false ? '; the protected VMs could not be powered on again: their site is away' : ''}`,
      steps: {
        markRollingBack: { do: async ({ input }) => await this.steps.update(input.vpgId, (failover) => ({ ...failover, phase: 'rollingBack', decideAtMs: null })) },
        powerOffVms: { do: async ({ input }) => await this.vms.powerOff(input.vpgId, SLOT) },
        deleteVms: { do: async ({ input }) => await this.vms.delete(input.vpgId, SLOT) },
        closeViews: { do: async ({ input }) => await this.vms.closeViews(input.vpgId, SLOT) },
        burnEpoch: { do: async ({ input }) => await this.steps.epochs(input.vpgId, 'burn') },
        powerOnProtectedVms: { do: async ({ input }) => ({ areProtectedVmsOn: await this.steps.startProtectedVms(input.vpgId) }) },
        markRolledBack: {
          do: async ({ input }) => {
            await this.vpgs.update(input.vpgId, (record) => (record.failover ? backToProtecting(record) : record));
            await this.site.tryTellPeer(input.vpgId);
          },
        },
      },
    };
  }
}
