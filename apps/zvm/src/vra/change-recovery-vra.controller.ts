import { Body, Controller, Get, Param, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import {
  VRA_CHANGE_RECOVERY_HOST_VM_STATUS, VraChangeRecoveryHostRecommendationRequestApi, VraChangeRecoveryHostRecommendationResultApi, VraChangeRecoveryHostSettingsApi,
  VraChangeRecoveryHostValidationResultsApi, VraPotentialHostApi, type VraVmAllocationApi,
} from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { invalid } from '../errors.js';
import type { Query } from '../http/query.js';
import { Action } from '../http/rest.js';
import { SessionUser } from '../session/session.guard.js';
import { ChangeRecoveryVra } from './change-recovery-vra.service.js';
import type { Allocation } from './recovery-spread.js';

/** Moving what a VRA recovers to other hosts (reference §2.9). */
@ApiTags('vras')
@Controller('vras/:vra/changerecoveryvra')
export class ChangeRecoveryVraController {
  constructor(private readonly moves: ChangeRecoveryVra) {}

  @Get('potentials')
  @Needs('manageVras')
  @ApiOkResponse({ type: [VraPotentialHostApi] })
  async potentials(@Param('vra') vraId: string, @QueryParams() query: Query): Promise<VraPotentialHostApi[]> {
    const vmId = query['vmIdentifier'];
    if (typeof vmId !== 'string' || vmId === '') throw invalid('vmIdentifier: a VM must be named');
    return (await this.moves.potentials(vraId, vmId)).map(({ hostId, name }) => ({ HostIdentifier: hostId, HostName: name }));
  }

  @Action('validate')
  @Needs('manageVras')
  @ApiOkResponse({ type: VraChangeRecoveryHostValidationResultsApi })
  async validate(@Param('vra') vraId: string, @Body() body: VraChangeRecoveryHostSettingsApi): Promise<VraChangeRecoveryHostValidationResultsApi> {
    const results = await this.moves.validate(vraId, allocationsOf(body.VmsAllocations), body.AlsoDown ?? []);
    return {
      VmsValidationsResults: results.map(({ vmId, hostId, status, reason }) => ({
        VmIdentifier: vmId, HostIdentifier: hostId, Status: VRA_CHANGE_RECOVERY_HOST_VM_STATUS.numbers[status], Reason: reason,
      })),
    };
  }

  @Action('recommendation')
  @Needs('manageVras')
  @ApiOkResponse({ type: VraChangeRecoveryHostRecommendationResultApi })
  async recommendation(@Param('vra') vraId: string, @Body() body: VraChangeRecoveryHostRecommendationRequestApi): Promise<VraChangeRecoveryHostRecommendationResultApi> {
    const recommended = await this.moves.recommend(vraId, { vmIds: body.VmsToCalculate ?? [], fixed: allocationsOf(body.Constraints?.FixedVmsAllocations), alsoDown: body.AlsoDown ?? [] });
    return {
      Recommendations: recommended.map(({ vmId, host, reason }) => ({ VmIdentifier: vmId, HostIdentifier: host?.hostId ?? null, HostName: host?.name ?? null, Reason: reason })),
    };
  }

  /** Answers the task's id. */
  @Action('execute')
  @Needs('manageVras')
  async execute(@Param('vra') vraId: string, @Body() body: VraChangeRecoveryHostSettingsApi, @SessionUser() initiatedBy: string): Promise<string> {
    return await this.moves.execute(vraId, allocationsOf(body.VmsAllocations), { initiatedBy, isOldHostDown: body.HostIsDown ?? false, alsoDown: body.AlsoDown ?? [] });
  }
}

const allocationsOf = (list: readonly VraVmAllocationApi[] | null | undefined): Allocation[] =>
  (list ?? []).map(({ HostIdentifier, VmIdentifier }) => ({ hostId: HostIdentifier, vmId: VmIdentifier }));
