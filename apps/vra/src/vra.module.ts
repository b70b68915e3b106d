import { Module, type DynamicModule } from '@nestjs/common';
import { VraEngine } from '@tidemark/engine-host';
import { ControlBus } from '@tidemark/nest';
import type { VraConfig } from './config/config.js';
import { VRA_CONFIG } from './config/config.token.js';
import { ControlService } from './control/control.service.js';
import { HealthController } from './health/health.controller.js';
import { VraMetrics } from './health/vra-metrics.js';

@Module({})
export class VraModule {
  static of(config: VraConfig, engine: VraEngine): DynamicModule {
    return {
      module: VraModule,
      controllers: [HealthController],
      providers: [
        { provide: VRA_CONFIG, useValue: config },
        { provide: VraEngine, useValue: engine },
        { provide: ControlBus, useFactory: () => new ControlBus(config.natsUrl, `vra ${config.vraId}`) },
        ControlService,
        VraMetrics,
      ],
    };
  }
}
