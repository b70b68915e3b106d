import { Module, type DynamicModule } from '@nestjs/common';
import { inboxNameOf } from '@tidemark/contracts';
import { APPLIANCE, BelievedSites, ControlBus, HealthController, HealthSource, IdentityKeeper, ownBrokerAccess } from '@tidemark/nest';
import { ComponentIdentity } from '@tidemark/trust';
import type { VbaConfig } from './config.js';
import { ControlService } from './control.service.js';
import { VbaHealth } from './vba-health.js';
import { openFromVra } from './verification/open-from-vra.js';
import { Verifications } from './verification/verifications.js';

@Module({})
export class VbaModule {
  static of({ appliance, natsUrl }: VbaConfig, identity: ComponentIdentity): DynamicModule {
    const { instanceId: vbaId } = appliance;
    return {
      module: VbaModule,
      controllers: [HealthController],
      providers: [
        { provide: APPLIANCE, useValue: appliance },
        { provide: ComponentIdentity, useValue: identity },
        { provide: ControlBus, useFactory: () => new ControlBus({ url: natsUrl, name: `vba ${vbaId}`, access: ownBrokerAccess(identity, inboxNameOf({ kind: 'vba', vbaId })) }) },
        { provide: Verifications, useFactory: () => new Verifications({ open: openFromVra(identity), nowMs: () => performance.now() }) },
        // It calls VRAs of its own site by what came with its identity, and nobody calls it.
        { provide: BelievedSites, useValue: { trustedSites: [] } satisfies BelievedSites },
        IdentityKeeper,
        ControlService,
        { provide: HealthSource, useClass: VbaHealth },
      ],
    };
  }
}
