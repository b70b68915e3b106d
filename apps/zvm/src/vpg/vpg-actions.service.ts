import { Inject, Injectable } from '@nestjs/common';
import type { VpgActV1 } from '@tidemark/contracts';
import type { VpgSettings } from '@tidemark/vpg';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid, ZvmError } from '../errors.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { PeerStore } from '../peer/peer.store.js';
import { TaskService } from '../task/task.service.js';
import { VraStateService } from '../vra/vra-state.service.js';
import { RecoveryActions } from './recovery-actions.service.js';
import { VpgConsents } from './vpg-consents.service.js';
import type { VpgRecord } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

/** An action on a VPG, as asked at either site. */
export interface VpgAction {
  readonly action: string;
  readonly vpgId: string;
  readonly input: object;
}

const TASK_TYPES: Readonly<Record<string, string>> = {
  create: 'CreateProtectionGroup', update: 'UpdateProtectionGroup', followDisks: 'UpdateProtectionGroup', delete: 'RemoveProtectionGroup', insertCheckpoint: 'InsertTaggedCP',
  failoverTest: 'FailOverTest', failoverTestStop: 'StopFailOverTest', failover: 'FailOver', failoverCommit: 'FailoverCommit',
  failoverRollback: 'FailoverRollback', move: 'Move', moveCommit: 'MoveCommit', moveRollback: 'MoveRollback', forceSync: 'InitFullSync', verifyCheckpoint: 'VerifyCheckpoint', pause: 'UpdateProtectionGroup', resume: 'UpdateProtectionGroup',
};

const ASK_MS = 15_000;

/**
 * The door for everything that users do to a VPG. The recovery site decides and runs it; asked at the protected site, it is passed on under a
 * task id made here, and the task here follows the one there.
 */
@Injectable()
export class VpgActions {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly recovery: RecoveryActions,
    private readonly link: PeerLinkService,
    private readonly peers: PeerStore,
    private readonly tasks: TaskService,
    private readonly vraStates: VraStateService,
    private readonly consents: VpgConsents,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  async create({ vpgId, settings }: { readonly vpgId: string; readonly settings: VpgSettings }, initiatedBy: string): Promise<string> {
    const { protectedSiteIdentifier: from, recoverySiteIdentifier: to } = settings.basic;
    if (to === null || to === '') throw invalid('Basic.RecoverySiteIdentifier: a site must be chosen');
    if (from !== this.config.siteId && to !== this.config.siteId) throw invalid('Basic: this site must be the protected or the recovery site of the VPG');
    if (to !== this.config.siteId && !this.peers.find(to)) throw invalid(`Basic.RecoverySiteIdentifier: site ${to} is not paired with this one`);
    const action: VpgAction = { action: 'create', vpgId, input: { settings } };
    if (to === this.config.siteId) return await this.#actAt(to, action, initiatedBy);
    await this.consents.give({ vpgId, recoverySiteId: to, vmIds: settings.vms.map(({ vmIdentifier }) => vmIdentifier ?? '') });
    try {
      return await this.#actAt(to, action, initiatedBy);
    } catch (error) {
      // An answer that did not come says nothing: the other site may have begun.
      if (error instanceof ZvmError && !error.isRetryable) await this.consents.end(vpgId);
      throw error;
    }
  }

  async update({ vpgId, settings }: { readonly vpgId: string; readonly settings: VpgSettings }, initiatedBy: string): Promise<string> {
    return await this.act({ action: 'update', vpgId, input: { settings } }, initiatedBy);
  }

  /** @throws ZvmError ZVM_NOT_FOUND, ZVM_CONFLICT, ZVM_INVALID; ZVM_PEER_DOWN when the recovery site must act and is away */
  async act({ action, vpgId, input }: VpgAction, initiatedBy: string): Promise<string> {
    const record = this.vpgs.get(vpgId);
    const { definition } = record;
    const isForced = action === 'delete' && 'Force' in input && input.Force === true;
    if (isForced && definition.recoverySiteId !== this.config.siteId && !this.link.isAlive(definition.recoverySiteId)) {
      return await this.#forgetByForce(record, initiatedBy);
    }
    if (action === 'delete' && definition.recoverySiteId !== this.config.siteId && !this.link.isAlive(definition.recoverySiteId)) {
      throw conflict(
        `site ${definition.recoverySiteName} does not answer, and may have failed VPG '${definition.name}' over: then both sites run its VMs, and nothing fences those here once the VPG is deleted. ` +
          'Delete it with Force to take that risk',
      );
    }
    return await this.#actAt(definition.recoverySiteId, { action, vpgId: definition.vpgId, input }, initiatedBy);
  }

  /** The recovery site is gone: this site stops sending, and tells the other one should it ever come back. */
  async #forgetByForce({ definition }: VpgRecord, initiatedBy: string): Promise<string> {
    const { taskId } = await this.tasks.start({ type: 'ForceRemoveProtectionGroup', initiatedBy, related: { vpgIds: [definition.vpgId] } });
    await this.vpgs.update(definition.vpgId, (record) => ({ ...record, state: 'removed' }));
    this.vraStates.poke();
    await this.tasks.complete(taskId, `VPG '${definition.name}' is deleted here; site ${definition.recoverySiteName} does not answer and keeps its journals and volumes`);
    return taskId;
  }

  async #actAt(siteId: string, action: VpgAction, initiatedBy: string): Promise<string> {
    if (siteId === this.config.siteId) return await this.recovery.run({ ...action, initiatedBy });
    const type = TASK_TYPES[action.action];
    if (type === undefined) throw conflict(`action ${action.action} is not known`);
    const taskId = this.tasks.newTaskId();
    const message: VpgActV1 = { taskId, action: action.action, initiatedBy, vpgId: action.vpgId, input: action.input };
    await this.link.ask(siteId, 'vpg.act', message, { timeoutMs: ASK_MS });
    await this.tasks.startFollowed({ taskId, type, initiatedBy, related: { vpgIds: [action.vpgId] }, runnerSiteId: siteId });
    return taskId;
  }
}
