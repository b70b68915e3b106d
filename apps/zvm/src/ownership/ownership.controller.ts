import { Body, Controller, Param } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { VpgClaimOwnershipDataApi } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { Action } from '../http/rest.js';
import { SessionUser } from '../session/session.guard.js';
import { OwnershipService } from './ownership.service.js';

@ApiTags('vpgs')
@Controller('vpgs')
export class OwnershipController {
  constructor(private readonly ownership: OwnershipService) {}

  /** Lifts the fence of VMs that another site has failed over. Without Force it is refused, and the refusal names the risk. */
  @Action(':vpg/ClaimOwnership')
  @Needs('failover')
  async claim(@Param('vpg') vpgId: string, @Body() input: VpgClaimOwnershipDataApi, @SessionUser() user: string): Promise<void> {
    await this.ownership.claim(vpgId, { isForced: input.Force ?? false, user });
  }
}
