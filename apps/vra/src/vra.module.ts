import { Module, type DynamicModule } from '@nestjs/common';
import { VraEngine } from '@tidemark/engine-host';
import { inboxNameOf } from '@tidemark/contracts';
import { type Appliance, APPLIANCE, BelievedSites, ControlBus, HealthController, HealthSource, IdentityKeeper, ownBrokerAccess } from '@tidemark/nest';
import { ComponentIdentity } from '@tidemark/trust';
import type { VraConfig } from './config/config.js';
import { VRA_CONFIG } from './config/config.token.js';
import { ControlService } from './control/control.service.js';
import { VraMetrics } from './health/vra-metrics.js';

export interface VraParts {
  readonly config: VraConfig;
  readonly appliance: Appliance;
  readonly engine: VraEngine;
  readonly identity: ComponentIdentity;
}

@Module({})
export class VraModule {
  static of({ config, appliance, engine, identity }: VraParts): DynamicModule {
    return {
      module: VraModule,
      controllers: [HealthController],
      providers: [
        { provide: VRA_CONFIG, useValue: config },
        { provide: APPLIANCE, useValue: appliance },
        { provide: VraEngine, useValue: engine },
        { provide: BelievedSites, useExisting: VraEngine },
        { provide: ComponentIdentity, useValue: identity },
        { provide: ControlBus, useFactory: () => new ControlBus({ url: config.natsUrl, name: `vra ${config.vraId}`, access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vra', vraId: config.vraId })) }) },
        IdentityKeeper,
        ControlService,
        { provide: HealthSource, useClass: VraMetrics },
      ],
    };
  }
}
