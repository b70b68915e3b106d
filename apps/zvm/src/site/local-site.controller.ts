import { Controller, Get, Inject } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { LocalSiteApi, PAIRING_STATUS, names } from '@tidemark/contracts';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Links } from '../http/links.js';
import { ZVM_VERSION } from '../version.js';

@ApiTags('localsite')
@Controller('localsite')
export class LocalSiteController {
  constructor(
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    private readonly links: Links,
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
      BandwidthThrottlingInMBs: -1,
      IsLoginBannerEnabled: false,
      LoginBanner: null,
    };
  }

  @Get('pairingstatuses')
  pairingStatuses(): string[] {
    return names(PAIRING_STATUS);
  }
}
