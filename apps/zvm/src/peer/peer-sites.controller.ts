import { Body, Controller, Delete, Get, HttpCode, Inject, Param, Put, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { names, PAIRING_STATUS, PairDataApi, PeerSiteApi, PeerSiteEditDataApi, TokenResultApi, UnPairDataApi } from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { currentNote } from '../audit/audit-note.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { Links } from '../http/links.js';
import { choice, matches, type Query } from '../http/query.js';
import { Action } from '../http/rest.js';
import { SessionUser } from '../session/session.guard.js';
import { tokenResult } from '../enrolment/token-result.js';
import { PairingAcceptance } from './pairing-acceptance.service.js';
import { PairingService } from './pairing.service.js';
import { PeerLinkService } from './peer-link.service.js';
import { PeerStore, type PeerSite } from './peer.store.js';

const PORT_DEFAULT = 9081;
const MBIT = 1_000_000 / 8;

@ApiTags('peersites')
@Controller('peersites')
@Needs('view', 'shown')
export class PeerSitesController {
  constructor(
    private readonly peers: PeerStore,
    private readonly pairing: PairingService,
    private readonly acceptance: PairingAcceptance,
    private readonly link: PeerLinkService,
    private readonly links: Links,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  @Get()
  @ApiOkResponse({ type: [PeerSiteApi] })
  list(@QueryParams() query: Query): PeerSiteApi[] {
    this.peers.assertLoaded();
    const status = choice(query, 'pairingStatus', PAIRING_STATUS);
    return this.peers.all().map((peer) => this.#view(peer)).filter((peer) =>
      matches(query, 'peerName', peer.PeerSiteName) && matches(query, 'location', peer.Location) && matches(query, 'hostName', peer.HostName)
      && matches(query, 'port', String(peer.Port)) && (status === undefined || peer.PairingStatus === PAIRING_STATUS.numbers[status]));
  }

  @Get('pairingstatuses')
  statuses(): string[] {
    return names(PAIRING_STATUS);
  }

  @Get(':site')
  @ApiOkResponse({ type: PeerSiteApi })
  one(@Param('site') siteId: string): PeerSiteApi {
    return this.#view(this.peers.get(siteId));
  }

  /** A token with which an administrator of another site can pair it with this one: once, within the hour. */
  @Action('generatetoken')
  @Needs('pairSites')
  @ApiOkResponse({ type: TokenResultApi })
  async makeToken(@SessionUser() user: string): Promise<TokenResultApi> {
    return tokenResult(await this.acceptance.makeToken(user));
  }

  /** Answers the task's id. */
  @Action()
  @Needs('pairSites')
  async pair(@Body() body: PairDataApi, @SessionUser() user: string): Promise<string> {
    return await this.pairing.pair({ address: body.HostName, port: body.Port ?? PORT_DEFAULT, token: body.Token }, user);
  }

  /** Whether it may begin to protect VMs of this site by itself; what it protects already stays as it is. */
  @Put(':site')
  @Needs('pairSites')
  @ApiOkResponse({ type: PeerSiteApi })
  async edit(@Param('site') siteId: string, @Body() { CanProtectVms }: PeerSiteEditDataApi): Promise<PeerSiteApi> {
    const before = this.peers.get(siteId);
    await this.peers.update(before.siteId, { canProtect: CanProtectVms });
    currentNote()?.changed({ CanProtectVms: before.canProtect }, { CanProtectVms });
    return this.#view(this.peers.get(before.siteId));
  }

  /** Deletes the VPGs between the sites. Answers the task's id. */
  @Delete(':site')
  @HttpCode(200)
  @Needs('pairSites')
  async unpair(@Param('site') siteId: string, @Body() body: UnPairDataApi, @SessionUser() user: string): Promise<string> {
    return await this.pairing.unpair(siteId, { isTargetKept: body.IsKeepTargetDisks ?? true }, user);
  }

  #view(peer: PeerSite): PeerSiteApi {
    const news = this.link.isAlive(peer.siteId) ? this.link.lastNews(peer.siteId)?.news : undefined;
    const sentPerSecond = news?.vpgs.flatMap((vpg) => vpg.protections).reduce((sum, stream) => sum + stream.bytesPerSecond, 0);
    return {
      Link: this.links.site(peer.siteId, this.config.siteId),
      SiteIdentifier: peer.siteId,
      PeerSiteName: news?.siteName ?? peer.name,
      PairingStatus: PAIRING_STATUS.numbers[peer.state === 'paired' ? 'Paired' : 'Pairing'],
      Location: news?.location ?? peer.location,
      HostName: peer.address,
      Port: peer.port,
      ProvisionedStorage: null,
      UsedStorage: null,
      IncomingThroughputInMb: sentPerSecond === undefined ? null : sentPerSecond / MBIT,
      OutgoingBandWidth: null,
      Version: news?.version ?? peer.version,
      SiteType: 'Simulated',
      RegionName: null,
      CanProtectVms: peer.canProtect,
    };
  }
}
