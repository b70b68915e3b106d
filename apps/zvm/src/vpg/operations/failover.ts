import { Injectable, type OnModuleInit } from '@nestjs/common';
import type { VmPowerResultV1 } from '@tidemark/contracts';
import { nextState } from '@tidemark/vpg';
import { randomUUID } from 'node:crypto';
import { Clock } from '../../clock.js';
import { conflict, ZvmError } from '../../errors.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { PeerLinkService } from '../../peer/peer-link.service.js';
import { RecoveredVms } from '../recovered-vms.service.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { CommitPolicy, FailoverRecord, ShutdownPolicy, VpgRecord } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';

export interface FailoverInput {
  readonly vpgId: string;
  readonly checkpointId: number;
  readonly checkpointAtMs: number;
  readonly commitPolicy: CommitPolicy;
  readonly waitMs: number;
  readonly shutdownPolicy: ShutdownPolicy;
  readonly isReverse: boolean;
}

export interface FailoverRefInput {
  readonly vpgId: string;
}

export interface FailoverCommitInput extends FailoverRefInput {
  readonly isReverse: boolean;
}

/** A forced shutdown lets guests end by themselves first. */
const SHUTDOWN_MS = 5 * 60_000;

/** A live failover up to the point where its VMs run, and the way back from there. Neither needs the protected site. */
@Injectable()
export class FailoverOperations implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly vms: RecoveredVms,
    private readonly site: RecoverySite,
    private readonly link: PeerLinkService,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#failoverKind());
    this.operations.register(this.#rollbackKind());
  }

  #failoverKind(): OperationKind<FailoverInput> {
    const slot = 'failover';
    return {
      kind: 'failover',
      taskType: 'FailOver',
      isExclusive: true,
      done: ({ input }) => `the recovered VMs run at checkpoint ${input.checkpointId}; commit or roll back`,
      steps: {
        recordFailover: {
          do: async ({ input, taskId }) => await this.#record(input, taskId),
          undo: async ({ input, taskId }) => {
            await this.vpgs.update(input.vpgId, (record) => (record.failover?.taskId === taskId ? backToProtecting(record) : record));
          },
        },
        reserveEpoch: {
          do: async ({ input }) => await this.#epochs(input.vpgId, 'reserve'),
          undo: async ({ input }) => await this.#epochs(input.vpgId, 'burn'),
        },
        createVms: {
          do: async ({ input }) => await this.vms.create(input.vpgId, slot),
          undo: async ({ input }) => await this.vms.delete(input.vpgId, slot),
        },
        openViews: {
          do: async ({ input }) => await this.vms.openViews(input.vpgId, slot),
          undo: async ({ input }) => await this.vms.closeViews(input.vpgId, slot),
        },
        shutDownProtectedVms: {
          do: async ({ input }) => await this.#shutDown(input),
          undo: async ({ input }) => {
            await this.#startProtectedVms(input.vpgId);
          },
        },
        powerOnVms: {
          do: async ({ input, signal, share }) => await this.vms.powerOn(input.vpgId, slot, { signal, share }),
          undo: async ({ input }) => await this.vms.powerOff(input.vpgId, slot),
        },
        markBeforeCommit: {
          do: async ({ input }) => {
            const decideAtMs = input.commitPolicy === 'None' ? null : this.clock.nowMs() + input.waitMs;
            await this.#update(input.vpgId, (failover) => ({ ...failover, phase: 'beforeCommit', decideAtMs }));
            await this.site.tryTellPeer(input.vpgId);
          },
        },
      },
    };
  }

  async #record(input: FailoverInput, taskId: string): Promise<void> {
    await this.vpgs.update(input.vpgId, (record) => {
      if (record.failover?.taskId === taskId) return record;
      if (record.failoverTest || record.failover) throw conflict('a failover or a failover test is under way');
      const reservedEpoch = record.epochMax + 1;
      const failover: FailoverRecord = {
        taskId, kind: 'failover', isReverse: input.isReverse, phase: 'starting', checkpointId: input.checkpointId, checkpointAtMs: input.checkpointAtMs, reservedEpoch,
        commitPolicy: input.commitPolicy, waitMs: input.waitMs, decideAtMs: null, shutdownPolicy: input.shutdownPolicy, shutDownVmIds: [],
        vms: record.definition.vms.map((vm) => ({ vmId: vm.vmId, viewId: randomUUID(), name: vm.name, recoveredVmId: null })),
      };
      return { ...record, state: nextState(record.state, 'failoverStarted'), epochMax: reservedEpoch, failover };
    });
  }

  async #epochs(vpgId: string, verb: 'reserve' | 'burn'): Promise<void> {
    const { definition, failover } = this.vpgs.get(vpgId);
    if (failover) await this.site.epochs(definition, verb, failover.reservedEpoch);
  }

  async #update(vpgId: string, change: (failover: FailoverRecord) => FailoverRecord): Promise<void> {
    await this.vpgs.update(vpgId, (record) => (record.failover ? { ...record, failover: change(record.failover) } : record));
  }

  /** Nobody to ask when the protected site is away: that is what failovers are for. */
  async #shutDown({ vpgId, shutdownPolicy }: FailoverInput): Promise<void> {
    const { definition } = this.vpgs.get(vpgId);
    if (shutdownPolicy === 'None' || !this.link.isAlive(definition.protectedSiteId)) return;
    const message = { vpgId, vmIds: definition.vms.map((vm) => vm.vmId), action: shutdownPolicy === 'Shutdown' ? 'shutdown' : 'forceOff' };
    try {
      const { changedVmIds } = await this.link.ask<VmPowerResultV1>(definition.protectedSiteId, 'vm.power', message, { timeoutMs: SHUTDOWN_MS });
      await this.#update(vpgId, (failover) => ({ ...failover, shutDownVmIds: [...new Set([...failover.shutDownVmIds, ...changedVmIds])] }));
    } catch (error) {
      // Lost while asking is as good as away; a guest that refuses a graceful shutdown stops the failover, as its policy says.
      if (!(error instanceof ZvmError && error.isRetryable)) throw error;
    }
  }

  async #startProtectedVms(vpgId: string): Promise<boolean> {
    const { definition, failover } = this.vpgs.get(vpgId);
    if (!failover || failover.shutDownVmIds.length === 0) return true;
    try {
      await this.link.ask(definition.protectedSiteId, 'vm.power', { vpgId, vmIds: failover.shutDownVmIds, action: 'on' }, { timeoutMs: 30_000 });
      return true;
    } catch (error) {
      if (error instanceof ZvmError && error.isRetryable) return false;
      throw error;
    }
  }

  #rollbackKind(): OperationKind<FailoverRefInput> {
    const slot = 'failover';
    return {
      kind: 'failoverRollback',
      taskType: 'FailoverRollback',
      isExclusive: true,
      done: ({ notes }) => `rolled back; protection goes on${notes['areProtectedVmsOn'] === false ? '; the protected VMs could not be powered on again: their site is away' : ''}`,
      steps: {
        markRollingBack: { do: async ({ input }) => await this.#update(input.vpgId, (failover) => ({ ...failover, phase: 'rollingBack', decideAtMs: null })) },
        powerOffVms: { do: async ({ input }) => await this.vms.powerOff(input.vpgId, slot) },
        deleteVms: { do: async ({ input }) => await this.vms.delete(input.vpgId, slot) },
        closeViews: { do: async ({ input }) => await this.vms.closeViews(input.vpgId, slot) },
        burnEpoch: { do: async ({ input }) => await this.#epochs(input.vpgId, 'burn') },
        powerOnProtectedVms: { do: async ({ input }) => ({ areProtectedVmsOn: await this.#startProtectedVms(input.vpgId) }) },
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

const backToProtecting = (record: VpgRecord): VpgRecord => ({ ...record, state: nextState(record.state, 'rolledBack'), failover: null });
