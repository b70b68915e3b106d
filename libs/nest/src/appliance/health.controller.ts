import { Controller, ForbiddenException, Get, Header, HttpCode, Inject, Req } from '@nestjs/common';
import { ComponentIdentity, TrustError } from '@tidemark/trust';
import type { FastifyRequest } from 'fastify';
import type { TLSSocket } from 'node:tls';
import { BelievedSites, HealthSource } from './appliance.js';
import { assertOwnSite } from './health-tls.js';

/** Port 4006, HTTPS: liveness for everybody, metrics for components of the own site, who show their certificate. */
@Controller()
export class HealthController {
  constructor(
    @Inject(HealthSource) private readonly source: HealthSource,
    @Inject(ComponentIdentity) private readonly identity: ComponentIdentity,
    @Inject(BelievedSites) private readonly believed: BelievedSites,
  ) {}

  @Get('health')
  @HttpCode(200)
  health(): Record<string, unknown> {
    return { status: 'ok', ...this.source.health() };
  }

  @Get('metrics')
  @Header('content-type', 'text/plain; version=0.0.4')
  async metricsText(@Req() request: FastifyRequest): Promise<string> {
    try {
      assertOwnSite(request.raw.socket as TLSSocket, this.identity, this.believed.trustedSites);
    } catch (error) {
      throw error instanceof TrustError ? new ForbiddenException(`metrics are for components of this site: ${error.message}`) : error;
    }
    return await this.source.metrics();
  }
}
