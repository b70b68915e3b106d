import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { PeerTakeReverseV1 } from '@tidemark/contracts';
import { nextState, stateAfter } from '@tidemark/vpg';
import { Clock } from '../../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../../config.js';
import { conflict, ZvmError } from '../../errors.js';
import type { OperationKind, StepContext } from '../../operation/operation-kind.js';
import { OperationService, pause } from '../../operation/operation.service.js';
import { PeerLinkService } from '../../peer/peer-link.service.js';
import { TaskService } from '../../task/task.service.js';
import type { VpgRecord } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';
import type { FailoverRefInput } from './failover.js';

const POLL_MS = 500;
/** An answer may be lost with a connection; asked again under the same task id it is begun once. */
const ASK_MS = 10_000;

/**
 * At the site where the VMs run after a commit: hands the VPG over to the site where they ran, which recovers them from then on. Waits for that site as long as it
 * takes: it may be the one that burned.
 */
@Injectable()
export class ReverseProtectionOperation implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly link: PeerLinkService,
    private readonly tasks: TaskService,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#kind());
  }

  #kind(): OperationKind<FailoverRefInput> {
    return {
      kind: 'reverseProtection',
      taskType: 'ActivateAllMirrors',
      isExclusive: false,
      done: () => 'the old protected site recovers the VPG from now on; the sync of its volumes goes on',
      steps: {
        awaitOldSite: {
          do: async (context) => {
            await this.#until(context, async (record) => await Promise.resolve(this.link.isAlive(record.definition.protectedSiteId)));
            return { takeTaskId: this.tasks.newTaskId() };
          },
          undo: async ({ input }) => await this.#giveUp(input.vpgId),
        },
        handOver: { do: async (context) => await this.#handOver(context) },
        awaitReversed: { do: async (context) => await this.#untilTurned(context) },
      },
    };
  }

  /** Every look sees the VPG as it is then; one that was deleted meanwhile ends the waiting. */
  async #until({ input, signal }: StepContext<FailoverRefInput>, look: (record: VpgRecord) => Promise<boolean>): Promise<void> {
    while (!signal.aborted) {
      if (this.#isTurned(input.vpgId)) return;
      const record = this.vpgs.find(input.vpgId);
      if (record?.state !== 'reversing') throw conflict('the VPG was deleted before it was protected in the other direction');
      if (await look(record)) return;
      await pause(POLL_MS, signal);
    }
  }

  /**
   * Marked before the other site is asked, in the very record that it is asked with: from the mark on this site takes that site's word for the VPG, so an answer that gets
   * lost leaves no VPG with two deciders. Asked again under one task id it runs once.
   */
  async #handOver(context: StepContext<FailoverRefInput>): Promise<void> {
    await this.vpgs.update(context.input.vpgId, (record) => {
      if (record.state !== 'reversing' || !record.failover || record.failover.phase === 'handedOver') return record;
      return { ...record, failover: { ...record.failover, phase: 'handedOver' } };
    });
    await this.#until(context, async (record) => {
      const message: PeerTakeReverseV1 = { taskId: String(context.notes['takeTaskId']), initiatedBy: context.initiatedBy, record };
      try {
        await this.link.ask(record.definition.protectedSiteId, 'vpg.takeReverse', message, { timeoutMs: ASK_MS });
        return true;
      } catch (error) {
        if (error instanceof ZvmError && error.isRetryable) return false;
        throw error;
      }
    });
  }

  #isTurned(vpgId: string): boolean {
    return this.vpgs.find(vpgId)?.definition.protectedSiteId === this.config.siteId;
  }

  /** The other site puts its record here when it receives. A VPG that was deleted by force meanwhile is waited for no longer. */
  async #untilTurned({ input, signal }: StepContext<FailoverRefInput>): Promise<void> {
    while (!signal.aborted && !this.#isTurned(input.vpgId)) {
      if (this.vpgs.find(input.vpgId)?.state !== 'reversing') return;
      await pause(POLL_MS, signal);
    }
  }

  /** The old protected site refused: the VMs run on, unprotected, and the task says why. */
  async #giveUp(vpgId: string): Promise<void> {
    const record = this.vpgs.find(vpgId);
    if (!record || this.#isTurned(vpgId) || stateAfter(record.state, 'reverseRefused') === undefined) return;
    await this.vpgs.update(vpgId, (current) => ({
      ...current, state: nextState(current.state, 'reverseRefused'), failover: null,
      problem: `it is not protected in the other direction, see the task of ${new Date(this.clock.nowMs()).toISOString()}: delete this VPG and protect its VMs anew`,
    }));
  }
}
