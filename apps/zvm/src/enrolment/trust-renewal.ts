import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { IdentityRequestV1, speakerOn, subjectOf, TRUST_RENEWAL, ZVM_INSTANCE } from '@tidemark/contracts';
import { ControlBus, ControlRefusal } from '@tidemark/nest';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Database } from '../persistence/database.js';
import { SITE_BUS } from '../vra/vra-link.service.js';
import { Enrolment } from './enrolment.service.js';

/** Answers VRAs that renew their identity in time. */
@Injectable()
export class TrustRenewal implements OnModuleInit {
  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    private readonly enrolment: Enrolment,
    private readonly database: Database,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    const subject = subjectOf({ siteId: this.config.siteId, service: 'zvm', instanceId: ZVM_INSTANCE, channel: 'control', topic: `${TRUST_RENEWAL}.*` });
    this.bus.respond(subject, IdentityRequestV1, async (asked, actual) => {
      this.database.assertLoaded();
      const speaker = speakerOn(actual);
      if (speaker?.kind !== 'vra') throw new ControlRefusal('ZVM_FORBIDDEN', 'a VRA is expected');
      return await this.enrolment.renew(speaker.vraId, asked);
    });
  }
}
