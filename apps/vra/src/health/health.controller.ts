import { Controller, ForbiddenException, Get, Header, HttpCode, Inject, Req } from '@nestjs/common';
import { ComponentIdentity, TrustError } from '@tidemark/trust';
import type { FastifyRequest } from 'fastify';
import type { TLSSocket } from 'node:tls';
import { assertOwnSite } from './health-tls.js';
import { VraMetrics } from './vra-metrics.js';

/** Port 4006, HTTPS: liveness for everybody, metrics for components of the own site, who show their certificate. */
@Controller()
export class HealthController {
  constructor(
    @Inject(VraMetrics) private readonly metrics: VraMetrics,
    @Inject(ComponentIdentity) private readonly identity: ComponentIdentity,
  ) {}

  @Get('health')
  @HttpCode(200)
  health(): { status: string; streams: Record<string, number> } {
    return { status: 'ok', streams: this.metrics.streamStates() };
  }

  @Get('metrics')
  @Header('content-type', 'text/plain; version=0.0.4')
  async metricsText(@Req() request: FastifyRequest): Promise<string> {
    try {
      assertOwnSite(request.raw.socket as TLSSocket, this.identity);
    } catch (error) {
      throw error instanceof TrustError ? new ForbiddenException(`metrics are for components of this site: ${error.message}`) : error;
    }
    return await this.metrics.text();
  }
}
