import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { APPLIANCE_ROLES, IdentityRequestV1, renewalTopic, speakerOn, subjectOf, ZVM_INSTANCE } from '@tidemark/contracts';
import { ControlBus, ControlRefusal } from '@tidemark/nest';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import { SITE_BUS } from '../vra/vra-link.service.js';
import { Enrolment } from './enrolment.service.js';
import type { Appliance } from './voided-component.store.js';

/** Answers VRAs and VBAs that renew their identity in time. */
@Injectable()
export class TrustRenewal implements OnModuleInit {
  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    private readonly enrolment: Enrolment,
    private readonly database: Database,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    for (const role of APPLIANCE_ROLES) {
      const subject = subjectOf({ siteId: this.config.siteId, service: 'zvm', instanceId: ZVM_INSTANCE, channel: 'control', topic: renewalTopic(role, '*') });
      this.bus.respond(subject, IdentityRequestV1, async (asked, actual) => {
        this.database.assertLoaded();
        return await this.enrolment.renew(applianceOn(actual), asked);
      });
    }
  }
}

function applianceOn(subject: string): Appliance {
  const speaker = speakerOn(subject);
  if (speaker?.kind === 'vra') return { role: 'vra', instanceId: speaker.vraId };
  if (speaker?.kind === 'vba') return { role: 'vba', instanceId: speaker.vbaId };
  throw new ControlRefusal('ZVM_FORBIDDEN', 'a VRA or a VBA is expected');
}
