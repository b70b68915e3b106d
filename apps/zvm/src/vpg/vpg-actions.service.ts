import { Inject, Injectable } from '@nestjs/common';
import type { VpgActV1 } from '@tidemark/contracts';
import type { VpgSettings } from '@tidemark/vpg';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid } from '../errors.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { PeerStore } from '../peer/peer.store.js';
import { TaskService } from '../task/task.service.js';
import { RecoveryActions } from './recovery-actions.service.js';
import { VpgStore } from './vpg.store.js';

/** An action on a VPG, as asked at either site. */
export interface VpgAction {
  readonly action: string;
  readonly vpgId: string;
  readonly input: object;
}

const TASK_TYPES: Readonly<Record<string, string>> = {
  create: 'CreateProtectionGroup', update: 'UpdateProtectionGroup', delete: 'RemoveProtectionGroup', insertCheckpoint: 'InsertTaggedCP',
  failoverTest: 'FailOverTest', failoverTestStop: 'StopFailOverTest', failover: 'FailOver', failoverCommit: 'FailoverCommit',
  failoverRollback: 'FailoverRollback',
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
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  async create({ vpgId, settings }: { readonly vpgId: string; readonly settings: VpgSettings }, initiatedBy: string): Promise<string> {
    const { protectedSiteIdentifier: from, recoverySiteIdentifier: to } = settings.basic;
    if (to === null || to === '') throw invalid('Basic.RecoverySiteIdentifier: a site must be chosen');
    if (from !== this.config.siteId && to !== this.config.siteId) throw invalid('Basic: this site must be the protected or the recovery site of the VPG');
    if (to !== this.config.siteId && !this.peers.find(to)) throw invalid(`Basic.RecoverySiteIdentifier: site ${to} is not paired with this one`);
    return await this.#actAt(to, { action: 'create', vpgId, input: { settings } }, initiatedBy);
  }

  async update({ vpgId, settings }: { readonly vpgId: string; readonly settings: VpgSettings }, initiatedBy: string): Promise<string> {
    return await this.act({ action: 'update', vpgId, input: { settings } }, initiatedBy);
  }

  /** @throws ZvmError ZVM_NOT_FOUND, ZVM_CONFLICT, ZVM_INVALID; ZVM_PEER_DOWN when the recovery site must act and is away */
  async act({ action, vpgId, input }: VpgAction, initiatedBy: string): Promise<string> {
    const { definition } = this.vpgs.get(vpgId);
    return await this.#actAt(definition.recoverySiteId, { action, vpgId: definition.vpgId, input }, initiatedBy);
  }

  async #actAt(siteId: string, action: VpgAction, initiatedBy: string): Promise<string> {
    if (siteId === this.config.siteId) return await this.recovery.run({ ...action, initiatedBy });
    const type = TASK_TYPES[action.action];
    if (type === undefined) throw conflict(`action ${action.action} is not known`);
    const taskId = this.tasks.newTaskId();
    const message: Omit<VpgActV1, 'fromSiteId'> = { taskId, action: action.action, initiatedBy, vpgId: action.vpgId, input: action.input };
    await this.link.ask(siteId, 'vpg.act', message, { timeoutMs: ASK_MS });
    await this.tasks.startFollowed({ taskId, type, initiatedBy, related: { vpgIds: [action.vpgId] }, runnerSiteId: siteId });
    return taskId;
  }
}
