import { Injectable, type OnModuleInit } from '@nestjs/common';
import { conflict, messageOf, ZvmError } from '../errors.js';
import type { OperationKind, StepContext } from '../operation/operation-kind.js';
import { OperationService, pause } from '../operation/operation.service.js';
import { TaskService } from '../task/task.service.js';
import { type MoveTargets, RecoveryActions } from '../vpg/recovery-actions.service.js';

export interface EvacuateInput {
  readonly vraId: string;
  readonly name: string;
  readonly moves: readonly (MoveTargets & { readonly vpgId: string; readonly vpgName: string; readonly taskId: string })[];
}

const LOOK_MS = 250;

/** Moves recoveries away from one VRA: a task of its own for each VPG, and this one that says how they ended. */
@Injectable()
export class EvacuateVraOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly actions: RecoveryActions,
    private readonly tasks: TaskService,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<EvacuateInput> {
    return {
      kind: 'evacuateVra',
      taskType: 'MaintainHost',
      isExclusive: false,
      done: ({ input }) => {
        const count = input.moves.reduce((sum, { targets }) => sum + targets.length, 0);
        return `${String(count)} ${count === 1 ? 'recovery' : 'recoveries'} of ${input.name} moved to other VRAs`;
      },
      steps: {
        beginMoves: { do: async (context) => ({ refused: await this.#begin(context) }) },
        awaitMoves: { do: async (context) => await this.#await(context) },
      },
    };
  }

  /** What is refused stands in nobody's way. Done again after a restart: the task's id tells a move that was begun. */
  async #begin({ input, initiatedBy }: StepContext<EvacuateInput>): Promise<Record<string, string>> {
    const refused: Record<string, string> = {};
    for (const { vpgId, taskId, targets, isOldHostDown } of input.moves) {
      try {
        await this.actions.moveRecoveries({ vpgId, targets, isOldHostDown: isOldHostDown === true, initiatedBy, taskId });
      } catch (error) {
        if (!(error instanceof ZvmError) || error.isRetryable) throw error;
        refused[vpgId] = messageOf(error);
      }
    }
    return refused;
  }

  async #await({ input, notes, signal, share }: StepContext<EvacuateInput>): Promise<void> {
    const refused = notes['refused'] as Record<string, string>;
    const begun = input.moves.filter(({ vpgId }) => refused[vpgId] === undefined);
    const failed = input.moves.flatMap(({ vpgId, vpgName }) => (refused[vpgId] === undefined ? [] : [`VPG '${vpgName}': ${refused[vpgId]}`]));
    for (const [index, { taskId, vpgName }] of begun.entries()) {
      await share(index / begun.length, `VPG '${vpgName}', ${String(index + 1)} of ${String(begun.length)}`);
      const ended = await this.#ended(taskId, signal);
      if (ended && ended.state !== 'Completed') failed.push(`VPG '${vpgName}': ${ended.reason}`);
    }
    if (failed.length > 0 && !signal.aborted) throw conflict(`${String(input.moves.length - failed.length)} of ${String(input.moves.length)} VPGs moved; not moved: ${failed.join('; ')}`);
  }

  /** undefined: this ZVM stops. */
  async #ended(taskId: string, signal: AbortSignal): Promise<{ readonly state: string; readonly reason: string } | undefined> {
    while (!signal.aborted) {
      const task = await this.tasks.get(taskId);
      if (task.state !== 'InProgress') return task;
      await pause(LOOK_MS, signal);
    }
    return undefined;
  }
}
