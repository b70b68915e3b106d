import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { RecoveredVms } from '../recovered-vms.service.js';
import { scriptRemarks } from '../../script/script-outcome.js';
import { type FailoverInput, FailoverSteps } from './failover-steps.js';
import { MoveStreams } from './move-streams.js';

const SLOT = 'failover';

/**
 * A planned move: the VMs are shut down, everything that they wrote is sent, and they start at the recovery site on a checkpoint behind their last write. Commit and
 * rollback are those of a failover.
 */
@Injectable()
export class MoveOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vms: RecoveredVms,
    private readonly steps: FailoverSteps,
    private readonly streams: MoveStreams,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<FailoverInput> {
    return {
      kind: 'move',
      taskType: 'Move',
      isExclusive: true,
      done: ({ notes }) => `the moved VMs run at the recovery site with everything that they had written (checkpoint ${String(notes['checkpointId'])}); commit or roll back${scriptRemarks(notes)}`,
      steps: {
        recordMove: {
          do: async ({ input, taskId }) => await this.steps.record(input, taskId),
          undo: async ({ input, taskId }) => await this.steps.forget(input.vpgId, taskId),
        },
        reserveMoveEpoch: {
          do: async ({ input }) => await this.steps.epochs(input.vpgId, 'reserve'),
          undo: async ({ input }) => await this.steps.epochs(input.vpgId, 'burn'),
        },
        runMovePreScript: { do: async (context) => await this.steps.runScript(context, 'preRecovery') },
        shutDownVms: {
          do: async ({ input }) => await this.steps.shutDownProtectedVms(input.vpgId),
          undo: async ({ input }) => void (await this.steps.startProtectedVms(input.vpgId)),
        },
        drainStreams: { do: async (context) => await this.streams.drain(context) },
        insertLastCheckpoint: {
          do: async (context) => {
            const last = await this.streams.lastCheckpoint(context);
            const settled = await this.streams.settled(context.input.vpgId, last.checkpointId);
            await this.steps.update(context.input.vpgId, (failover) => ({ ...failover, checkpointId: last.checkpointId, checkpointAtMs: last.atMs, settled }));
            return { checkpointId: last.checkpointId };
          },
        },
        createMovedVms: {
          do: async ({ input }) => await this.vms.create(input.vpgId, SLOT),
          undo: async ({ input }) => await this.vms.delete(input.vpgId, SLOT),
        },
        openMovedViews: {
          do: async ({ input }) => await this.vms.openViews(input.vpgId, SLOT),
          undo: async ({ input }) => await this.vms.closeViews(input.vpgId, SLOT),
        },
        powerOnMovedVms: {
          do: async ({ input, signal, share }) => await this.vms.powerOn(input.vpgId, SLOT, { signal, share }),
          undo: async ({ input }) => await this.vms.powerOff(input.vpgId, SLOT),
        },
        runMovePostScript: { do: async (context) => await this.steps.runScript(context, 'postRecovery') },
        markMoved: { do: async ({ input }) => await this.steps.markBeforeCommit(input.vpgId) },
      },
    };
  }
}
