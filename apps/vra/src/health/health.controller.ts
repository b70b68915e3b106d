import { Controller, Get, Header, HttpCode, Inject } from '@nestjs/common';
import { VraMetrics } from './vra-metrics.js';

/** Port 4006: liveness and metrics. Says nothing about VMs to who is not allowed to ask; names are only identifiers. */
@Controller()
export class HealthController {
  constructor(@Inject(VraMetrics) private readonly metrics: VraMetrics) {}

  @Get('health')
  @HttpCode(200)
  health(): { status: string; streams: Record<string, number> } {
    return { status: 'ok', streams: this.metrics.streamStates() };
  }

  @Get('metrics')
  @Header('content-type', 'text/plain; version=0.0.4')
  async metricsText(): Promise<string> {
    return await this.metrics.text();
  }
}
