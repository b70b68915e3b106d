import { Body, Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { CheckpointVerificationApi, VerifyCheckpointDataApi } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { Action } from '../http/rest.js';
import { type EndedOperation, OperationService } from '../operation/operation.service.js';
import { SessionUser } from '../session/session.guard.js';
import { VpgActions } from '../vpg/vpg-actions.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import type { VerifiedNotes, VerifyCheckpointInput } from './verify-checkpoint.js';

const SHOWN_MAX = 100;

@ApiTags('vpgs')
@Controller('vpgs')
@Needs('view')
export class VerificationsController {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly actions: VpgActions,
    private readonly operations: OperationService,
  ) {}

  /** A VBA of the recovery site reads every byte of the VPG's disks at a checkpoint; protection goes on. Answers the task's id. */
  @Action(':vpg/verifycheckpoint')
  @Needs('testFailover')
  async verify(@Param('vpg') vpgId: string, @Body() input: VerifyCheckpointDataApi, @SessionUser() user: string): Promise<string> {
    return await this.actions.act({ action: 'verifyCheckpoint', vpgId, input }, user);
  }

  /** Those that were read to the end, newest first, 100 at most; as the recovery site knows them. */
  @Get(':vpg/verifications')
  @ApiOkResponse({ type: [CheckpointVerificationApi] })
  async list(@Param('vpg') vpgId: string): Promise<CheckpointVerificationApi[]> {
    const { definition } = this.vpgs.get(vpgId);
    const nameOf = (vmId: string): string => definition.vms.find((vm) => vm.vmId === vmId)?.name ?? vmId;
    return (await this.operations.completed('verifyCheckpoint', definition.vpgId, SHOWN_MAX)).map((ended) => view(ended, nameOf));
  }
}

function view({ taskId, input, notes }: EndedOperation, nameOf: (vmId: string) => string): CheckpointVerificationApi {
  const { checkpointId } = input as VerifyCheckpointInput;
  const { vbaId, verified, verifiedAtMs } = notes as unknown as VerifiedNotes;
  return {
    TaskIdentifier: taskId, CheckpointIdentifier: String(checkpointId), VbaIdentifier: vbaId, VerifiedAt: new Date(verifiedAtMs).toISOString(),
    Volumes: verified.map(({ vmId, diskId, readBytes, sha256 }) => ({ VmIdentifier: vmId, VmName: nameOf(vmId), DiskIdentifier: diskId, ReadInBytes: readBytes, Sha256: sha256 })),
  };
}
