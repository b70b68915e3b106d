import { Inject, Injectable } from '@nestjs/common';
import {
  type VraAddressV1, FailoverCommitDataApi, FailoverDataApi, FailOverTestStartDataApi, MoveCommitVpgDataApi, MoveVpgDataApi, StopFailoverTestDataApi, VerifyCheckpointDataApi, VpgDeleteDataApi, VpgInsertTagCheckpointDataApi,
} from '@tidemark/contracts';
import { stateAfter, type VpgEvent } from '@tidemark/vpg';
import type { PlanKind } from '@tidemark/recovery';
import { randomUUID } from 'node:crypto';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid, notFound } from '../errors.js';
import { bodyOf } from '../http/body-of.js';
import { OperationService } from '../operation/operation.service.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { DefinitionService } from '../vpg-settings/definition.service.js';
import { CatalogueStore, type CatalogueEntry } from './catalogue.store.js';
import type { CreateVpgInput } from './operations/create-vpg.js';
import type { DeleteVpgInput, UpdateVpgInput } from './operations/change-vpg.js';
import type { FailoverCommitInput, FailoverEndInput } from './operations/failover.js';
import type { FailoverInput } from './operations/failover-steps.js';
import type { FailoverTestInput, FailoverTestStopInput } from './operations/failover-test.js';
import type { InsertCheckpointInput } from './operations/insert-checkpoint.js';
import type { TakeReverseInput } from './operations/take-reverse.js';
import type { VerifyCheckpointInput } from '../vba/verify-checkpoint.js';
import type { SteerInput } from './operations/steer-replication.js';
import type { MoveRecoveryInput } from './operations/move-recovery.js';
import { movedVms, withRecoveryAt } from './moved-recoveries.js';
import { assertSameShape } from './edit-rules.js';
import { settingsIn } from './settings-in.js';
import type { VpgDefinition, VpgRecord } from './vpg-model.js';
import { VpgStore } from './vpg.store.js';

export interface ActionRequest {
  readonly action: string;
  readonly vpgId: string;
  readonly input: object;
  readonly initiatedBy: string;
  readonly taskId?: string;
  /** The paired site that asks; it decides over VPGs that protect its own VMs. */
  readonly askedBySiteId?: string;
}

/** VMs by the host, and its VRA, that shall recover them. */
export interface MoveTargets {
  readonly targets: readonly { readonly vmId: string; readonly hostId: string; readonly vra: VraAddressV1 }[];
  /** The operator's word for the host that they leave. */
  readonly isOldHostDown?: boolean;
}

const WAIT_SECONDS_DEFAULT = 3600;

/**
 * The recovery site's decisions: checks what is asked against what is, and begins the operation. Everything that can be refused
 * is refused here, before anything has changed.
 */
@Injectable()
export class RecoveryActions {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly operations: OperationService,
    private readonly catalogues: CatalogueStore,
    private readonly definitions: DefinitionService,
    private readonly link: PeerLinkService,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** Answers the task id. @throws ZvmError ZVM_INVALID, ZVM_NOT_FOUND, ZVM_CONFLICT */
  async run(request: ActionRequest): Promise<string> {
    if (request.taskId !== undefined && (await this.operations.isKnown(request.taskId))) return request.taskId;
    switch (request.action) {
      case 'create': return await this.#create(request);
      case 'update': return await this.#update(request);
      case 'followDisks': return await this.#followDisks(request);
      case 'delete': return await this.#delete(request);
      case 'insertCheckpoint': return await this.#insertCheckpoint(request);
      case 'verifyCheckpoint': return await this.#verifyCheckpoint(request);
      case 'failoverTest': return await this.#failoverTest(request);
      case 'failoverTestStop': return await this.#failoverTestStop(request);
      case 'failover': return await this.#failover(request);
      case 'failoverCommit': return await this.#failoverCommit(request);
      case 'move': return await this.#move(request);
      case 'moveCommit': return await this.#moveCommit(request);
      case 'moveRollback': return await this.#rollback(request, 'move');
      case 'forceSync': return await this.#steer(request, 'forceSync');
      case 'pause': return await this.#steer(request, 'pauseReplication');
      case 'resume': return await this.#steer(request, 'resumeReplication');
      case 'failoverRollback': return await this.#rollback(request, 'failover');
      default: throw invalid(`action '${request.action}' is not known`);
    }
  }

  async #begin({ initiatedBy, taskId, askedBySiteId }: Pick<ActionRequest, 'initiatedBy' | 'taskId' | 'askedBySiteId'>, kind: PlanKind, { vpgId, protectedSiteId }: VpgDefinition, input: object): Promise<string> {
    if (askedBySiteId !== undefined && askedBySiteId !== protectedSiteId) throw invalid('a paired site asks for VPGs that protect VMs of its own');
    // The other site shows the task too, also when the VPG is gone by then.
    const related = { vpgIds: [vpgId], siteIds: [protectedSiteId] };
    return await this.operations.begin({ kind, input, vpgId, initiatedBy, related, ...(taskId === undefined ? {} : { taskId }) });
  }

  #vpg(vpgId: string): VpgRecord {
    const record = this.vpgs.get(vpgId);
    if (record.definition.recoverySiteId !== this.config.siteId) throw conflict(`VPG '${record.definition.name}' is not recovered at this site`);
    return record;
  }

  async #create(request: ActionRequest): Promise<string> {
    const settings = settingsIn(request.input);
    const { protectedSiteIdentifier: from, recoverySiteIdentifier: to } = settings.basic;
    if (this.vpgs.find(request.vpgId) || this.vpgs.isForgotten(request.vpgId)) throw conflict(`a VPG '${request.vpgId}' cannot be created: there is one, or was; take a new identifier`);
    if (to !== this.config.siteId) throw invalid('Basic.RecoverySiteIdentifier: a VPG is created by the site that recovers it');
    // Before anything of this site is looked at for it.
    if (request.askedBySiteId !== undefined && request.askedBySiteId !== from) throw invalid('a paired site asks for VPGs that protect VMs of its own');
    const definition = await this.definitions.define(settings, request);
    await this.definitions.checkPreseeds(definition, request.askedBySiteId);
    const input: CreateVpgInput = { definition };
    return await this.#begin(request, 'createVpg', definition, input);
  }

  async #update(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    if (record.state !== 'protecting' || record.failoverTest) throw conflict(`VPG '${record.definition.name}' cannot be edited now: ${situationOf(record)}; ${adviceOf(record)}`);
    if (!(await this.catalogues.load(record.definition.vpgId)).latest) {
      throw conflict(`VPG '${record.definition.name}' cannot be edited now: it has no checkpoint yet; wait until its first sync has ended, or delete it and create it anew`);
    }
    const definition = await this.definitions.define(settingsIn(request.input), { vpgId: record.definition.vpgId, askedBySiteId: request.askedBySiteId });
    assertSameShape(record.definition, definition);
    const kept: VpgDefinition = { ...definition, vms: definition.vms.map((vm, index) => ({ ...vm, ...keptPlaces(record, index) })), isPaused: record.definition.isPaused === true };
    const moved = withRecoveryAt(kept, new Map(definition.vms.map((vm) => [vm.vmId, { hostId: vm.recoveryHostId, vra: vm.recoveringVra }])));
    const input: UpdateVpgInput = { before: record.definition, definition: { ...moved, settings: kept.settings } };
    return await this.#begin(request, movedVms(input.before, input.definition).length > 0 ? 'moveRecovery' : 'updateVpg', record.definition, input);
  }

  /** Of this site's own services only, which know that the hosts see the datastores: no action that a peer could ask for, for it names VRAs. */
  async moveRecoveries(request: Omit<ActionRequest, 'action' | 'input'> & MoveTargets): Promise<string> {
    if (request.taskId !== undefined && (await this.operations.isKnown(request.taskId))) return request.taskId;
    const record = this.#vpg(request.vpgId);
    if (record.state !== 'protecting' || record.failoverTest) throw conflict(`recoveries of VPG '${record.definition.name}' cannot be moved now: ${situationOf(record)}`);
    const definition = withRecoveryAt(record.definition, new Map(request.targets.map((target) => [target.vmId, target])));
    const input: MoveRecoveryInput = { before: record.definition, definition, isOldHostDown: request.isOldHostDown === true };
    if (movedVms(input.before, input.definition).length === 0) throw conflict(`VPG '${record.definition.name}' is recovered there already`);
    return await this.#begin(request, 'moveRecovery', record.definition, input);
  }

  /** Asked by the protected site when it has seen that VMs have other disks than their VPG knows. */
  async #followDisks(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    if (record.state !== 'protecting') throw conflict(`VPG '${record.definition.name}' cannot follow changed disks now: ${situationOf(record)}`);
    const definition = await this.definitions.withDisksOfNow(record.definition);
    if (JSON.stringify(definition) === JSON.stringify(record.definition)) throw conflict(`VPG '${record.definition.name}' knows the disks of its VMs already`);
    const input: UpdateVpgInput = { before: record.definition, definition, reason: disksText(record.definition, definition) };
    return await this.#begin(request, 'updateVpg', record.definition, input);
  }

  async #delete(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    const body = await bodyOf(VpgDeleteDataApi, request.input);
    const { definition } = record;
    if (record.failoverTest) throw conflict(`VPG '${definition.name}' cannot be deleted while a failover test runs: stop it first`);
    if (record.state !== 'deleting') assertAllowed(record, 'deletionStarted', 'deleted');
    const isForced = body.Force ?? false;
    if (record.failover?.phase === 'handedOver' && !isForced) {
      throw conflict(`VPG '${definition.name}' is being taken over by site ${definition.protectedSiteName}: wait for it and delete it there, or delete it here with Force`);
    }
    if (!isForced && !this.link.isAlive(definition.protectedSiteId)) {
      throw conflict(`site ${definition.protectedSiteName} does not answer, so it cannot be told to stop; delete with Force to go on without it`);
    }
    // The volumes of a committed failover belong to the VMs that run on them.
    const isMirrorKept = record.state === 'needsConfiguration' || record.state === 'reversing' ? true : (body.KeepRecoveryVolumes ?? false);
    const input: DeleteVpgInput = { vpgId: definition.vpgId, name: definition.name, isMirrorKept, isForced };
    return await this.#begin(request, 'deleteVpg', definition, input);
  }

  async #insertCheckpoint(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    const body = await bodyOf(VpgInsertTagCheckpointDataApi, request.input);
    if (record.state !== 'protecting') throw conflict(`VPG '${record.definition.name}' takes no checkpoints now: ${situationOf(record)}`);
    if (!this.link.isAlive(record.definition.protectedSiteId)) {
      throw conflict(`site ${record.definition.protectedSiteName} does not answer, and its manager puts tags on checkpoints: use an automatic one, which its VRAs go on making, or insert the checkpoint when the site is back`);
    }
    const { latest } = await this.catalogues.load(record.definition.vpgId);
    if (!latest) throw conflict(`VPG '${record.definition.name}' has no checkpoint yet: its initial sync is not done`);
    const input: InsertCheckpointInput = { vpgId: record.definition.vpgId, tag: body.CheckpointName, isApplicationConsistent: body.Vss ?? false, afterId: latest.checkpointId };
    return await this.#begin(request, 'insertCheckpoint', record.definition, input);
  }

  async #verifyCheckpoint(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    const { CheckpointIdentifier, VbaIdentifier } = await bodyOf(VerifyCheckpointDataApi, request.input);
    const { definition } = record;
    if (record.state !== 'protecting') throw conflict(`checkpoints of VPG '${definition.name}' cannot be verified now: ${situationOf(record)}`);
    const { checkpointId } = await this.#checkpoint(record, CheckpointIdentifier);
    const vms = definition.vms.map(({ vmId, recoveringVra }) => ({ vmId, vraId: recoveringVra.vraId, viewId: randomUUID() }));
    const input: VerifyCheckpointInput = { vpgId: definition.vpgId, checkpointId, vbaId: VbaIdentifier ?? null, verificationId: randomUUID(), vms };
    return await this.#begin(request, 'verifyCheckpoint', definition, input);
  }

  async #steer(request: ActionRequest, kind: 'forceSync' | 'pauseReplication' | 'resumeReplication'): Promise<string> {
    const { definition, ...record } = this.#vpg(request.vpgId);
    if (record.state !== 'protecting') throw conflict(`replication of VPG '${definition.name}' cannot be steered now: ${situationOf({ definition, ...record })}`);
    const isPaused = definition.isPaused === true;
    if (kind === 'forceSync' && isPaused) throw conflict(`VPG '${definition.name}' is paused: resume it first`);
    if (kind === 'pauseReplication' && isPaused) throw conflict(`VPG '${definition.name}' is paused already`);
    if (kind === 'resumeReplication' && !isPaused) throw conflict(`VPG '${definition.name}' is not paused`);
    const input: SteerInput = { vpgId: definition.vpgId, name: definition.name };
    return await this.#begin(request, kind, definition, input);
  }

  async #failoverTest(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    const body = await bodyOf(FailOverTestStartDataApi, request.input);
    if (record.state !== 'protecting') throw conflict(`VPG '${record.definition.name}' cannot be tested now: ${situationOf(record)}`);
    if (record.failoverTest) throw conflict(`a failover test of VPG '${record.definition.name}' is under way already`);
    const checkpoint = await this.#checkpoint(record, body.CheckpointIdentifier);
    const input: FailoverTestInput = { vpgId: record.definition.vpgId, checkpointId: checkpoint.checkpointId, vmIds: chosenVms(record, body.VmIdentifiers) };
    return await this.#begin(request, 'failoverTest', record.definition, input);
  }

  async #failoverTestStop(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    const body = await bodyOf(StopFailoverTestDataApi, request.input);
    if (!record.failoverTest) throw conflict(`no failover test of VPG '${record.definition.name}' is running`);
    const input: FailoverTestStopInput = {
      vpgId: record.definition.vpgId, isSuccess: body.FailoverTestSuccess ?? true, summary: body.FailoverTestSummary ?? '',
    };
    return await this.#begin(request, 'failoverTestStop', record.definition, input);
  }

  async #failover(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    const body = await bodyOf(FailoverDataApi, request.input);
    assertAllowed(record, 'failoverStarted', 'failed over');
    if (record.failoverTest) throw conflict(`a failover test of VPG '${record.definition.name}' is under way: stop it first`);
    if (chosenVms(record, body.VmIdentifiers).length < record.definition.vms.length) throw invalid('VmIdentifiers: a failover of some VMs of a VPG is not in this version');
    const checkpoint = await this.#checkpoint(record, body.CheckpointIdentifier);
    const input: FailoverInput = {
      vpgId: record.definition.vpgId,
      kind: 'failover',
      checkpointId: checkpoint.checkpointId,
      checkpointAtMs: checkpoint.atMs,
      commitPolicy: body.CommitPolicy ?? 'None',
      waitMs: 1000 * (body.TimeToWaitBeforeShutdownInSec ?? WAIT_SECONDS_DEFAULT),
      shutdownPolicy: body.ShutdownPolicy ?? 'None',
      isReverse: body.IsReverseProtection ?? false,
      isPreScriptFailureIgnored: body.ContinueOnPreScriptFailure ?? false,
    };
    return await this.#begin(request, 'failover', record.definition, input);
  }

  async #failoverCommit(request: ActionRequest): Promise<string> {
    const record = this.#waiting(request.vpgId, 'failover', 'committed');
    const { IsReverseProtection } = await bodyOf(FailoverCommitDataApi, request.input);
    return await this.#commit(request, record, { isReverse: IsReverseProtection, isMove: false });
  }

  /** Without a word at the commit, what was said at the start holds. */
  async #commit(request: ActionRequest, { definition, failover }: VpgRecord, { isReverse, isMove }: { readonly isReverse: boolean | null | undefined; readonly isMove: boolean }): Promise<string> {
    const input: FailoverCommitInput = { vpgId: definition.vpgId, isMove, isReverse: isReverse ?? failover?.isReverse ?? false };
    return await this.#begin(request, 'failoverCommit', definition, input);
  }

  async #move(request: ActionRequest): Promise<string> {
    const record = this.#vpg(request.vpgId);
    const { definition } = record;
    const body = await bodyOf(MoveVpgDataApi, request.input);
    assertAllowed(record, 'failoverStarted', 'moved');
    if (record.failoverTest) throw conflict(`a failover test of VPG '${definition.name}' is under way: stop it first`);
    if (definition.isPaused === true) throw conflict(`VPG '${definition.name}' is paused: resume it first`);
    if (!this.link.isAlive(definition.protectedSiteId)) throw conflict(`site ${definition.protectedSiteName} does not answer, and a move loses nothing: fail over instead`);
    assertSourcesKept(body);
    const checkpoint = await this.#checkpoint(record, null);
    const input: FailoverInput = {
      vpgId: definition.vpgId,
      kind: 'move',
      checkpointId: checkpoint.checkpointId,
      checkpointAtMs: checkpoint.atMs,
      commitPolicy: body.CommitPolicy ?? 'None',
      waitMs: 1000 * (body.CommitPolicyTimeout ?? WAIT_SECONDS_DEFAULT),
      shutdownPolicy: body.ForceShutdown === true ? 'ForceShutdown' : 'Shutdown',
      isReverse: body.ReverseProtection ?? false,
      isPreScriptFailureIgnored: body.ContinueOnPreScriptFailure ?? false,
    };
    return await this.#begin(request, 'move', definition, input);
  }

  async #moveCommit(request: ActionRequest): Promise<string> {
    const record = this.#waiting(request.vpgId, 'move', 'committed');
    const body = await bodyOf(MoveCommitVpgDataApi, request.input);
    assertSourcesKept({ ...body, ReverseProtection: body.ReverseProtection ?? record.failover?.isReverse ?? false });
    return await this.#commit(request, record, { isReverse: body.ReverseProtection, isMove: true });
  }

  /** Asked by the site that has failed the VPG over: protect it in the other direction. Answers the task id. @throws ZvmError ZVM_CONFLICT, before anything was changed */
  async takeReverse(record: VpgRecord, { taskId, initiatedBy }: { readonly taskId: string; readonly initiatedBy: string }): Promise<string> {
    if (await this.operations.isKnown(taskId)) return taskId;
    const { vpgId, name, protectedSiteId, recoverySiteId } = record.definition;
    if (protectedSiteId !== this.config.siteId || record.failover?.phase !== 'handedOver') throw conflict(`VPG '${name}' is not handed over to this site`);
    const known = this.vpgs.get(vpgId);
    if (known.definition.recoverySiteId === this.config.siteId) throw conflict(`VPG '${name}' is recovered at this site already`);
    const oldVmIds = record.failover.vms.map(({ vmId }) => vmId);
    const stranger = oldVmIds.find((vmId) => !known.definition.vms.some((vm) => vm.vmId === vmId));
    if (stranger !== undefined) throw conflict(`VM ${stranger} is not in VPG '${name}' as this site knows it`);
    const definition = await this.definitions.reversed(record);
    const epoch = Math.max(record.epochMax, known.epochMax) + 1;
    const input: TakeReverseInput = {
      oldVmIds,
      record: {
        definition, state: 'creating', generation: Math.max(record.generation, known.generation) + 1, epoch, epochMax: epoch, failover: null, failoverTest: null,
        lastTestAtMs: record.lastTestAtMs, problem: null, createdAtMs: record.createdAtMs,
      },
    };
    const related = { vpgIds: [vpgId], siteIds: [recoverySiteId] };
    return await this.operations.begin({ kind: 'takeReverse', input, vpgId, initiatedBy, related, taskId });
  }

  async #rollback(request: ActionRequest, kind: 'failover' | 'move'): Promise<string> {
    const record = this.#waiting(request.vpgId, kind, 'rolled back');
    const input: FailoverEndInput = { vpgId: record.definition.vpgId, isMove: kind === 'move' };
    return await this.#begin(request, 'failoverRollback', record.definition, input);
  }

  #waiting(vpgId: string, kind: 'failover' | 'move', what: string): VpgRecord {
    const record = this.#vpg(vpgId);
    const isOfKind = (record.failover?.kind ?? 'failover') === kind;
    if (record.failover?.phase !== 'beforeCommit' || !isOfKind) throw conflict(`no ${kind} of VPG '${record.definition.name}' waits to be ${what}: ${situationOf(record)}`);
    return record;
  }

  /** The one named, or the newest listed. Empty text is a script's variable without a value, not a wish for the newest. */
  async #checkpoint({ definition }: VpgRecord, wanted: string | null | undefined): Promise<CatalogueEntry> {
    const { latest } = await this.catalogues.load(definition.vpgId);
    if (!latest) throw conflict(`VPG '${definition.name}' has no recoverable checkpoint: its initial sync is not done`);
    if (wanted === null || wanted === undefined) return latest;
    if (!/^\d{1,15}$/.test(wanted)) throw invalid(`CheckpointIdentifier: '${wanted}' is not a checkpoint identifier`);
    const found = await this.catalogues.find(definition.vpgId, Number(wanted));
    if (!found) throw notFound(`VPG '${definition.name}': checkpoint`, wanted);
    return found;
  }
}

/** `disk scsi:0:2 of 'db01' added, …` */
function disksText(before: VpgDefinition, after: VpgDefinition): string {
  const changes = after.vms.flatMap((vm, at) => vm.disks.flatMap((disk, index) => {
    const old = before.vms[at]?.disks[index];
    const what = !old ? 'added' : disk.isRemoved === true && old.isRemoved !== true ? 'removed' : disk.sizeBytes > old.sizeBytes ? `grown to ${disk.sizeBytes} bytes` : undefined;
    return what === undefined ? [] : [`disk ${disk.diskId} of '${vm.name}' ${what}`];
  }));
  return changes.join(', ');
}

/** Where things lie is not changed by an edit. */
function keptPlaces({ definition }: VpgRecord, index: number): object {
  const vm = definition.vms[index];
  return vm ? { recoveringVra: vm.recoveringVra, ...(vm.moveNumber !== undefined && { moveNumber: vm.moveNumber }), journalFolder: vm.journalFolder, journalDatastore: vm.journalDatastore, disks: vm.disks } : {};
}

function chosenVms({ definition }: VpgRecord, wanted: readonly string[] | null | undefined): string[] {
  const all = definition.vms.map((vm) => vm.vmId);
  if (!wanted || wanted.length === 0) return all;
  const stranger = wanted.find((vmId) => !all.includes(vmId));
  if (stranger !== undefined) throw invalid(`VmIdentifiers: VM ${stranger} is not in VPG '${definition.name}'`);
  return all.filter((vmId) => wanted.includes(vmId));
}

function assertAllowed(record: VpgRecord, event: VpgEvent, what: string): void {
  if (stateAfter(record.state, event) === undefined) throw conflict(`VPG '${record.definition.name}' cannot be ${what} now: ${situationOf(record)}`);
}

/** What would be accepted and then not done is refused. */
function assertSourcesKept({ ReverseProtection, KeepSourceVms }: MoveCommitVpgDataApi): void {
  if (ReverseProtection === true && KeepSourceVms === true) throw invalid('KeepSourceVms: reverse protection makes their disks recovery volumes; choose one of the two');
  if (ReverseProtection !== true && KeepSourceVms === false) throw invalid('KeepSourceVms: this version does not delete VMs of the protected site; they stay, powered off: leave it out');
}

const SITUATIONS: Readonly<Record<VpgRecord['state'], string>> = {
  creating: 'it is being created',
  protecting: 'it is protecting',
  failingOver: 'it is failing over',
  promoting: 'its failover is committed and being promoted',
  reversing: 'its failover is committed, and it is being protected in the other direction',
  needsConfiguration: 'its failover is committed; nothing is protected any more',
  deleting: 'it is being deleted',
  removed: 'it is deleted',
};

/** What to do first. */
function adviceOf({ state, failover, failoverTest }: VpgRecord): string {
  if (failover?.phase === 'beforeCommit') return 'commit it or roll it back first';
  if (failoverTest) return 'stop the test first';
  return state === 'needsConfiguration' ? 'delete it and protect its VMs anew' : 'wait until that has ended';
}

function situationOf({ state, failover, failoverTest }: VpgRecord): string {
  if (failover?.phase === 'beforeCommit') return failover.kind === 'move' ? 'its moved VMs run and wait for MoveCommit or MoveRollback' : 'its recovered VMs run and wait for commit or rollback';
  return state === 'protecting' && failoverTest ? 'a failover test is under way' : SITUATIONS[state];
}
