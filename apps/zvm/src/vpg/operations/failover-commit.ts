import { Injectable, type OnModuleInit } from '@nestjs/common';
import { nextState } from '@tidemark/vpg';
import type { OperationKind, StepContext } from '../../operation/operation-kind.js';
import { OperationService, pause } from '../../operation/operation.service.js';
import { TaskService } from '../../task/task.service.js';
import { VraStateService } from '../../vra/vra-state.service.js';
import { CatalogueStore } from '../catalogue.store.js';
import { RecoveredVms } from '../recovered-vms.service.js';
import { RecoverySite } from '../recovery-site.service.js';
import { VpgStore } from '../vpg.store.js';
import type { FailoverCommitInput, FailoverRefInput } from './failover.js';

const POLL_MS = 1000;

/** Ends the old history: the recovered VMs are the VMs from now on, and their disks are made whole behind their backs. */
@Injectable()
export class FailoverCommitOperations implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly vms: RecoveredVms,
    private readonly site: RecoverySite,
    private readonly catalogues: CatalogueStore,
    private readonly vraStates: VraStateService,
    private readonly tasks: TaskService,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#commitKind());
    this.operations.register(this.#promotionKind());
  }

  #commitKind(): OperationKind<FailoverCommitInput> {
    return {
      kind: 'failoverCommit',
      taskType: ({ isMove }) => (isMove ? 'MoveCommit' : 'FailoverCommit'),
      isExclusive: true,
      done: ({ input }) => `committed; the recovered disks are being promoted while the VMs run${input.isReverse ? '; then the VPG protects in the other direction' : ''}`,
      steps: {
        markCommitting: {
          do: async ({ input }) => {
            await this.vpgs.update(input.vpgId, (record) =>
              record.failover ? { ...record, failover: { ...record.failover, phase: 'committing', decideAtMs: null, isReverse: input.isReverse } } : record);
          },
        },
        commitEpoch: {
          do: async ({ input }) => {
            const { definition, failover } = this.vpgs.get(input.vpgId);
            if (failover) await this.site.epochs(definition, 'commit', failover.reservedEpoch);
          },
        },
        startPromotion: { do: async ({ input }) => await this.vms.promoteViews(input.vpgId) },
        endReplication: {
          do: async ({ input }) => {
            await this.#endReplication(input.vpgId);
            return { promotionTaskId: this.tasks.newTaskId() };
          },
        },
        markPromoting: {
          do: async ({ input, notes, initiatedBy }) => {
            const taskId = String(notes['promotionTaskId']);
            const related = { vpgIds: [input.vpgId], siteIds: [this.vpgs.get(input.vpgId).definition.protectedSiteId] };
            await this.operations.begin({ kind: 'promotion', taskId, input, vpgId: input.vpgId, initiatedBy, related });
          },
        },
      },
    };
  }

  async #endReplication(vpgId: string): Promise<void> {
    await this.vpgs.update(vpgId, (record) => {
      if (!record.failover || record.state === 'promoting') return record;
      return {
        ...record, state: nextState(record.state, 'committed'), epoch: record.failover.reservedEpoch, failover: { ...record.failover, phase: 'promoting' },
      };
    });
    await this.catalogues.clear(vpgId);
    await this.site.tryTellPeer(vpgId);
  }

  /** Not exclusive: it begins while the commit is still under way, and the state `promoting` keeps everything else out. */
  #promotionKind(): OperationKind<FailoverRefInput> {
    return {
      kind: 'promotion',
      taskType: 'HandleMirrorPromotion',
      isExclusive: false,
      done: () => 'the recovered disks are plain files',
      steps: {
        awaitPromotion: { do: async (context) => await this.#untilPromoted(context) },
        switchDisksToFiles: {
          do: async ({ input }) => {
            await this.vms.markDisksAsFiles(input.vpgId);
            this.vraStates.poke();
          },
        },
        closePromotedViews: {
          do: async ({ input, signal }) => {
            while (!this.vms.areTakenOver(input.vpgId) && !signal.aborted) await pause(POLL_MS, signal);
            if (!signal.aborted) await this.vms.closeViews(input.vpgId, 'failover');
          },
        },
        removeJournals: {
          do: async ({ input }) => {
            await this.site.removeRecoveries(this.vpgs.get(input.vpgId).definition, { isMirrorKept: true, isForced: false });
            return { reverseTaskId: this.tasks.newTaskId() };
          },
        },
        markPromoted: { do: async (context) => await this.#markPromoted(context) },
      },
    };
  }

  /** With reverse protection the record keeps the recovered VMs: they are what is protected next. */
  async #markPromoted({ input, initiatedBy, notes }: StepContext<FailoverRefInput>): Promise<void> {
    const record = await this.vpgs.update(input.vpgId, (current) => {
      if (current.state !== 'promoting') return current;
      const { failover } = current;
      if (failover?.isReverse !== true) return { ...current, state: nextState(current.state, 'promoted'), failover: null };
      return { ...current, state: nextState(current.state, 'promotedToReverse'), failover: { ...failover, phase: 'reversing' } };
    });
    await this.site.tryTellPeer(input.vpgId);
    if (record.state !== 'reversing') return;
    const related = { vpgIds: [input.vpgId], siteIds: [record.definition.protectedSiteId] };
    await this.operations.begin({ kind: 'reverseProtection', taskId: String(notes['reverseTaskId']), input, vpgId: input.vpgId, initiatedBy, related });
  }

  async #untilPromoted({ input, signal, share }: StepContext<FailoverRefInput>): Promise<void> {
    while (!signal.aborted) {
      const done = await this.vms.promotionShare(input.vpgId);
      if (done >= 1) return;
      await share(done);
      await pause(POLL_MS, signal);
    }
  }
}
