import { Injectable } from '@nestjs/common';
import { nextState } from '@tidemark/vpg';
import { randomUUID } from 'node:crypto';
import { Clock } from '../../clock.js';
import { conflict, ZvmError } from '../../errors.js';
import type { Notes, StepContext } from '../../operation/operation-kind.js';
import { PeerLinkService } from '../../peer/peer-link.service.js';
import { RecoveryScripts } from '../../script/recovery-scripts.service.js';
import type { ScriptOperation } from '../../script/script-environment.js';
import type { ScriptMoment } from '../../script/script-outcome.js';
import { RecoverySite } from '../recovery-site.service.js';
import type { FailoverRecord, VpgRecord } from '../vpg-model.js';
import { VpgStore } from '../vpg.store.js';

/** A forced shutdown lets guests end by themselves first. */
const SHUTDOWN_MS = 5 * 60_000;
const POWER_ON_MS = 30_000;

/** What is decided when a failover or a move begins. */
export type FailoverBegin = Pick<FailoverRecord, 'kind' | 'checkpointId' | 'checkpointAtMs' | 'commitPolicy' | 'waitMs' | 'shutdownPolicy' | 'isReverse'>;

/** What a failover or a move is asked for. */
export interface FailoverInput extends FailoverBegin {
  readonly vpgId: string;
  readonly isPreScriptFailureIgnored: boolean;
}

/** What failovers, moves and their rollback have in common. Every method may be repeated. */
@Injectable()
export class FailoverSteps {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly site: RecoverySite,
    private readonly link: PeerLinkService,
    private readonly scripts: RecoveryScripts,
    private readonly clock: Clock,
  ) {}

  async runScript(context: StepContext<FailoverInput>, moment: ScriptMoment): Promise<Notes> {
    return await this.scripts.step(context, { moment, operation: operationOf(context.input), isFailureIgnored: context.input.isPreScriptFailureIgnored });
  }

  async record({ vpgId, isPreScriptFailureIgnored: _script, ...begin }: FailoverInput, taskId: string): Promise<void> {
    await this.vpgs.update(vpgId, (record) => {
      if (record.failover?.taskId === taskId) return record;
      if (record.failoverTest || record.failover) throw conflict('a failover or a failover test is under way');
      const reservedEpoch = record.epochMax + 1;
      const failover: FailoverRecord = {
        ...begin, taskId, phase: 'starting', reservedEpoch, decideAtMs: null, shutDownVmIds: [],
        vms: record.definition.vms.map((vm) => ({ vmId: vm.vmId, viewId: randomUUID(), name: vm.name, recoveredVmId: null })),
      };
      return { ...record, state: nextState(record.state, 'failoverStarted'), epochMax: reservedEpoch, failover };
    });
  }

  async forget(vpgId: string, taskId: string): Promise<void> {
    await this.vpgs.update(vpgId, (record) => (record.failover?.taskId === taskId ? backToProtecting(record) : record));
  }

  async epochs(vpgId: string, verb: 'reserve' | 'burn'): Promise<void> {
    const { definition, failover } = this.vpgs.get(vpgId);
    if (failover) await this.site.epochs(definition, verb, failover.reservedEpoch);
  }

  async update(vpgId: string, change: (failover: FailoverRecord) => FailoverRecord): Promise<void> {
    await this.vpgs.update(vpgId, (record) => (record.failover ? { ...record, failover: change(record.failover) } : record));
  }

  async markBeforeCommit(vpgId: string): Promise<void> {
    await this.update(vpgId, (failover) => {
      const decideAtMs = failover.commitPolicy === 'None' ? null : this.clock.nowMs() + failover.waitMs;
      return { ...failover, phase: 'beforeCommit', decideAtMs };
    });
    await this.site.tryTellPeer(vpgId);
  }

  /** @throws ZvmError ZVM_PEER_DOWN, or why a VM does not shut down */
  async shutDownProtectedVms(vpgId: string): Promise<void> {
    const { definition, failover } = this.vpgs.get(vpgId);
    if (!failover) return;
    const message = { vpgId, vmIds: definition.vms.map((vm) => vm.vmId), action: failover.shutdownPolicy === 'Shutdown' ? 'shutdown' : 'forceOff' };
    const { changedVmIds } = await this.link.ask(definition.protectedSiteId, 'vm.power', message, { timeoutMs: SHUTDOWN_MS });
    await this.update(vpgId, (current) => ({ ...current, shutDownVmIds: [...new Set([...current.shutDownVmIds, ...changedVmIds])] }));
  }

  /** Those that this failover powered off. False: their site is away. */
  async startProtectedVms(vpgId: string): Promise<boolean> {
    const { definition, failover } = this.vpgs.get(vpgId);
    if (!failover || failover.shutDownVmIds.length === 0) return true;
    try {
      await this.link.ask(definition.protectedSiteId, 'vm.power', { vpgId, vmIds: failover.shutDownVmIds, action: 'on' }, { timeoutMs: POWER_ON_MS });
      return true;
    } catch (error) {
      if (error instanceof ZvmError && error.isRetryable) return false;
      throw error;
    }
  }
}

export const backToProtecting = (record: VpgRecord): VpgRecord => ({ ...record, state: nextState(record.state, 'rolledBack'), failover: null });

/** Without a time in which anybody could decide there is nothing before the commit. */
function operationOf({ kind, commitPolicy, waitMs }: FailoverBegin): ScriptOperation {
  const isCommittedAtOnce = commitPolicy === 'Commit' && waitMs === 0;
  if (kind === 'move') return isCommittedAtOnce ? 'Move' : 'MoveBeforeCommit';
  return isCommittedAtOnce ? 'Failover' : 'FailoverBeforeCommit';
}
