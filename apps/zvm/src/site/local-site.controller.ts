import { Body, Controller, Get, HttpCode, Inject, Put } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { LocalSiteApi, PAIRING_STATUS, ThrottlingSettingsApi, names } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { currentNote } from '../audit/audit-note.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Links } from '../http/links.js';
import { SessionUser } from '../session/session.guard.js';
import { EventService } from '../event/event.service.js';
import { VraStore } from '../vra/vra.store.js';
import { SiteThrottle } from './site-throttle.service.js';
import { limitView, throttlingOf, throttlingView } from './throttling.view.js';
import { ZVM_VERSION } from '../version.js';

@ApiTags('localsite')
@Controller('localsite')
@Needs('view', 'shown')
export class LocalSiteController {
  constructor(
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    private readonly links: Links,
    private readonly throttle: SiteThrottle,
    private readonly vras: VraStore,
    private readonly events: EventService,
  ) {}

  @Get()
  @ApiOkResponse({ type: LocalSiteApi })
  get(): LocalSiteApi {
    const { config } = this;
    return {
      Link: this.links.site(config.siteId, config.siteId),
      SiteIdentifier: config.siteId,
      SiteName: config.siteName,
      Location: config.location,
      Version: ZVM_VERSION,
      DisplayVersion: ZVM_VERSION,
      ZvmApiVersion: 'v1',
      ContactEmail: config.contact.email,
      ContactName: config.contact.name,
      ContactPhone: config.contact.phone,
      IsReplicationToSelfEnabled: false,
      UtcOffsetInMinutes: -new Date().getTimezoneOffset(),
      SiteType: 'Simulated',
      SiteTypeVersion: null,
      IpAddress: config.address,
      BandwidthThrottlingInMBs: limitView(this.throttle.settings.bytesPerSecond),
      IsLoginBannerEnabled: false,
      LoginBanner: null,
    };
  }

  @Get('settings/throttling')
  @ApiOkResponse({ type: ThrottlingSettingsApi })
  throttling(): ThrottlingSettingsApi {
    this.vras.assertLoaded();
    return throttlingView(this.throttle.settings, this.throttle.state(this.#vraIds()));
  }

  /** In force at each VRA within a second or two; a VRA that is away follows when it comes back. */
  @Put('settings/throttling')
  @HttpCode(200)
  @Needs('manageSite')
  @ApiOkResponse({ type: ThrottlingSettingsApi })
  async setThrottling(@Body() body: ThrottlingSettingsApi, @SessionUser() user: string): Promise<ThrottlingSettingsApi> {
    const settings = throttlingOf(body);
    const before = this.throttle.settings;
    await this.throttle.set(settings);
    currentNote()?.changed(before, settings);
    const limit = settings.bytesPerSecond === null ? 'no limit' : `${String(limitView(settings.bytesPerSecond))} MB/s`;
    await this.events.record({
      type: 'SettingsChanged', category: 'Events', entity: 'Site', userName: user, isSuccess: true, vpgIds: [],
      description: `Bandwidth throttling: ${limit}${settings.window ? `, ${String(limitView(settings.window.bytesPerSecond))} MB/s in its daily window` : ''}.`,
    });
    return this.throttling();
  }

  #vraIds(): string[] {
    return this.vras.all().map(({ vraId }) => vraId);
  }

  @Get('pairingstatuses')
  pairingStatuses(): string[] {
    return names(PAIRING_STATUS);
  }
}
