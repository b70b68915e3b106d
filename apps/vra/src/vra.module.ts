import { Module, type DynamicModule } from '@nestjs/common';
import { VraEngine } from '@tidemark/engine-host';
import { inboxNameOf } from '@tidemark/contracts';
import { ControlBus, ownBrokerAccess } from '@tidemark/nest';
import { ComponentIdentity } from '@tidemark/trust';
import type { VraConfig } from './config/config.js';
import { VRA_CONFIG } from './config/config.token.js';
import { ControlService } from './control/control.service.js';
import { HealthController } from './health/health.controller.js';
import { IdentityKeeper } from './identity/identity-keeper.js';
import { VraMetrics } from './health/vra-metrics.js';

@Module({})
export class VraModule {
  static of(config: VraConfig, engine: VraEngine, identity: ComponentIdentity): DynamicModule {
    return {
      module: VraModule,
      controllers: [HealthController],
      providers: [
        { provide: VRA_CONFIG, useValue: config },
        { provide: VraEngine, useValue: engine },
        { provide: ComponentIdentity, useValue: identity },
        { provide: ControlBus, useFactory: () => new ControlBus({ url: config.natsUrl, name: `vra ${config.vraId}`, access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vra', vraId: config.vraId })) }) },
        IdentityKeeper,
        ControlService,
        VraMetrics,
      ],
    };
  }
}
