import { Injectable, type OnModuleInit } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { Clock } from '../../clock.js';
import { conflict } from '../../errors.js';
import type { OperationKind } from '../../operation/operation-kind.js';
import { OperationService } from '../../operation/operation.service.js';
import { RecoveryScripts, type ScriptOccasion } from '../../script/recovery-scripts.service.js';
import { scriptRemarks } from '../../script/script-outcome.js';
import { CatalogueService } from '../catalogue.service.js';
import { RecoveredVms } from '../recovered-vms.service.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { FailoverTestRecord, VpgRecord } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';

export const TEST_NAME_SUFFIX = ' - testing recovery';

export interface FailoverTestInput {
  readonly vpgId: string;
  readonly checkpointId: number;
  readonly vmIds: readonly string[];
}

export interface FailoverTestStopInput {
  readonly vpgId: string;
  readonly isSuccess: boolean;
  readonly summary: string;
}

const occasion = (moment: ScriptOccasion['moment']): ScriptOccasion => ({ moment, operation: 'Test', isFailureIgnored: false });

/** Rehearses a failover beside running protection, and ends the rehearsal. */
@Injectable()
export class FailoverTestOperations implements OnModuleInit {
  constructor(
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly vms: RecoveredVms,
    private readonly catalogue: CatalogueService,
    private readonly site: RecoverySite,
    private readonly scripts: RecoveryScripts,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.operations.register(this.#startKind());
    this.operations.register(this.#stopKind());
  }

  #startKind(): OperationKind<FailoverTestInput> {
    const slot = 'failoverTest';
    return {
      kind: 'failoverTest',
      taskType: 'FailOverTest',
      isExclusive: true,
      done: ({ input, notes }) => `the test VMs run at checkpoint ${input.checkpointId}${scriptRemarks(notes)}`,
      steps: {
        recordTest: {
          do: async ({ input, taskId }) => await this.#record(input, taskId),
          undo: async ({ input, taskId }) => {
            await this.#update(input.vpgId, taskId, (record) => ({ ...record, failoverTest: null }));
          },
        },
        runTestPreScript: { do: async (context) => await this.scripts.step(context, occasion('preRecovery')) },
        createTestVms: {
          do: async ({ input }) => await this.vms.create(input.vpgId, slot),
          undo: async ({ input }) => await this.vms.delete(input.vpgId, slot),
        },
        openTestViews: {
          do: async ({ input }) => await this.vms.openViews(input.vpgId, slot),
          undo: async ({ input }) => await this.vms.closeViews(input.vpgId, slot),
        },
        powerOnTestVms: {
          do: async ({ input, signal, share }) => await this.vms.powerOn(input.vpgId, slot, { signal, share }),
          undo: async ({ input }) => await this.vms.powerOff(input.vpgId, slot),
        },
        runTestPostScript: { do: async (context) => await this.scripts.step(context, occasion('postRecovery')) },
        markTestRunning: {
          do: async ({ input, taskId }) => {
            await this.#phase(input.vpgId, taskId, 'running');
            await this.site.tryTellPeer(input.vpgId);
          },
        },
      },
    };
  }

  async #record({ vpgId, checkpointId, vmIds }: FailoverTestInput, taskId: string): Promise<void> {
    await this.vpgs.update(vpgId, (record) => {
      if (record.failoverTest?.taskId === taskId) return record;
      if (record.failoverTest || record.failover) throw conflict('a failover or another failover test is under way');
      const vms = record.definition.vms.filter((vm) => vmIds.includes(vm.vmId)).map((vm) => ({
        vmId: vm.vmId, viewId: randomUUID(), name: `${vm.name.slice(0, 60)}${TEST_NAME_SUFFIX}`, recoveredVmId: null,
      }));
      return { ...record, failoverTest: { taskId, phase: 'starting', checkpointId, startedAtMs: this.clock.nowMs(), vms } };
    });
  }

  async #update(vpgId: string, taskId: string, change: (record: VpgRecord) => VpgRecord): Promise<void> {
    await this.vpgs.update(vpgId, (record) => (record.failoverTest?.taskId === taskId ? change(record) : record));
  }

  async #phase(vpgId: string, taskId: string, phase: FailoverTestRecord['phase']): Promise<void> {
    await this.#update(vpgId, taskId, (record) => (record.failoverTest ? { ...record, failoverTest: { ...record.failoverTest, phase } } : record));
  }

  #stopKind(): OperationKind<FailoverTestStopInput> {
    const slot = 'failoverTest';
    return {
      kind: 'failoverTestStop',
      taskType: 'StopFailOverTest',
      isExclusive: true,
      done: ({ input }) => `the failover test has ended${input.isSuccess ? ' with success' : ' without success'}${input.summary === '' ? '' : `: ${input.summary}`}`,
      steps: {
        markTestStopping: {
          do: async ({ input }) => {
            await this.vpgs.update(input.vpgId, (record) => (record.failoverTest ? { ...record, failoverTest: { ...record.failoverTest, phase: 'stopping' } } : record));
          },
        },
        powerOffTestVms: { do: async ({ input }) => await this.vms.powerOff(input.vpgId, slot) },
        deleteTestVms: { do: async ({ input }) => await this.vms.delete(input.vpgId, slot) },
        closeTestViews: { do: async ({ input }) => await this.vms.closeViews(input.vpgId, slot) },
        tagTestedCheckpoint: {
          do: async ({ input }) => {
            const test = this.vpgs.get(input.vpgId).failoverTest;
            if (test) await this.catalogue.tag(input.vpgId, test.checkpointId, `Tested at ${new Date(test.startedAtMs).toISOString()}`);
          },
        },
        clearTest: {
          do: async ({ input }) => {
            await this.vpgs.update(input.vpgId, (record) =>
              record.failoverTest ? { ...record, failoverTest: null, lastTestAtMs: record.failoverTest.startedAtMs } : record);
            await this.site.tryTellPeer(input.vpgId);
          },
        },
      },
    };
  }
}
