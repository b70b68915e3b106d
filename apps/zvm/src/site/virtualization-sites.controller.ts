import { Controller, Get, Inject, Param } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import {
  DatastoreNativeApi, EMPTY_INVENTORY_KINDS, FolderNativeApi, HostNativeApi, NetworkNativeApi, VirtualizationSiteApi, VmNativeApi,
} from '@tidemark/contracts';
import { Needs } from '../access/needs.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { notFound } from '../errors.js';
import { isSameId } from '../http/links.js';
import { PeerStore } from '../peer/peer.store.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { datastoreView, folderView, hostView, networkView, vmView } from './inventory-views.js';
import { SiteInventoryService } from './site-inventory.service.js';

@ApiTags('virtualizationsites')
@Controller('virtualizationsites')
@Needs('view', 'shown')
export class VirtualizationSitesController {
  constructor(
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    private readonly peers: PeerStore,
    private readonly sites: SiteInventoryService,
    private readonly vpgs: VpgStore,
  ) {}

  @Get()
  @ApiOkResponse({ type: [VirtualizationSiteApi] })
  list(): VirtualizationSiteApi[] {
    this.peers.assertLoaded();
    const own = { SiteIdentifier: this.config.siteId, VirtualizationSiteName: this.config.siteName };
    return [own, ...this.peers.all().map((peer) => ({ SiteIdentifier: peer.siteId, VirtualizationSiteName: peer.name }))];
  }

  @Get(':site')
  @ApiOkResponse({ type: VirtualizationSiteApi })
  one(@Param('site') siteId: string): VirtualizationSiteApi {
    const site = this.list().find(({ SiteIdentifier }) => SiteIdentifier === siteId.toLowerCase());
    if (!site) throw notFound('site', siteId);
    return site;
  }

  /** VMs that no VPG protects. */
  @Get(':site/vms')
  @Needs('view', 'site')
  @ApiOkResponse({ type: [VmNativeApi] })
  async vms(@Param('site') siteId: string): Promise<VmNativeApi[]> {
    const { inventory } = await this.sites.of(siteId);
    const taken = new Set(this.vpgs.visible().flatMap((vpg) => [
      ...(vpg.definition.protectedSiteId === siteId.toLowerCase() ? vpg.definition.vms.map((vm) => vm.vmId) : []),
      ...[...(vpg.failover?.vms ?? []), ...(vpg.failoverTest?.vms ?? [])].flatMap((vm) => vm.recoveredVmId ?? []),
    ]));
    return inventory.vms.filter((vm) => !taken.has(vm.id)).map((vm) => vmView(vm, inventory));
  }

  @Get(':site/datastores')
  @ApiOkResponse({ type: [DatastoreNativeApi] })
  async datastores(@Param('site') siteId: string): Promise<DatastoreNativeApi[]> {
    return (await this.sites.of(siteId)).inventory.datastores.map(datastoreView);
  }

  @Get(':site/folders')
  @ApiOkResponse({ type: [FolderNativeApi] })
  async folders(@Param('site') siteId: string): Promise<FolderNativeApi[]> {
    return (await this.sites.of(siteId)).inventory.folders.map(folderView);
  }

  @Get(':site/networks')
  @ApiOkResponse({ type: [NetworkNativeApi] })
  async networks(@Param('site') siteId: string): Promise<NetworkNativeApi[]> {
    return (await this.sites.of(siteId)).inventory.networks.map(networkView);
  }

  @Get(':site/hosts')
  @ApiOkResponse({ type: [HostNativeApi] })
  async hosts(@Param('site') siteId: string): Promise<HostNativeApi[]> {
    const { inventory } = await this.sites.of(siteId);
    return inventory.hosts.map((host) => hostView(host, inventory));
  }

  @Get(':site/hosts/:host')
  @ApiOkResponse({ type: HostNativeApi })
  async host(@Param('site') siteId: string, @Param('host') hostId: string): Promise<HostNativeApi> {
    const { inventory } = await this.sites.of(siteId);
    const host = inventory.hosts.find(({ id }) => isSameId(id, hostId));
    if (!host) throw notFound('host', hostId);
    return hostView(host, inventory);
  }

  /** Kinds that the hypervisors of this version do not have. */
  @Get(':site/:kind')
  nothing(@Param('site') siteId: string, @Param('kind') kind: string): never[] {
    this.one(siteId);
    if (!EMPTY_INVENTORY_KINDS.some((known) => known === kind.toLowerCase())) throw notFound('inventory kind', kind);
    return [];
  }
}
