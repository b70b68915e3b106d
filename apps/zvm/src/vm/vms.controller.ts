import { Controller, Get, Inject, Param, Query as QueryParams } from '@nestjs/common';
import { ApiOkResponse, ApiTags } from '@nestjs/swagger';
import { MiB } from '@tidemark/base';
import { JOURNAL_LIMIT_TYPE, PRIORITY, VPG_STATUS, VPG_SUB_STATUS, VmApi, type VmJournalLimitApi } from '@tidemark/contracts';
import type { Caller } from '../access/caller.js';
import { Needs } from '../access/needs.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { notFound } from '../errors.js';
import { isSameId, Links } from '../http/links.js';
import { choice, matches, param, type Query } from '../http/query.js';
import { InventoryService } from '../inventory/inventory.service.js';
import { SessionCaller } from '../session/session.guard.js';
import { provisionedMb, vmView } from '../site/inventory-views.js';
import { settingsOf } from '../vpg/vpg-definition.js';
import type { VpgRecord, VpgVm } from '../vpg/vpg-model.js';
import { type VpgMeasures, VpgStatusService } from '../vpg/vpg-status.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { ENTITIES_VIEW, lastTestView, rpoView } from '../vpg/vpg.view.js';
import { liveDisks } from '../vpg/followed-disks.js';

/** Protected VMs, one row per VM and VPG. */
@ApiTags('vms')
@Controller('vms')
@Needs('view', 'shown')
export class VmsController {
  constructor(
    private readonly vpgs: VpgStore,
    private readonly status: VpgStatusService,
    private readonly inventory: InventoryService,
    private readonly links: Links,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  @Get()
  @ApiOkResponse({ type: [VmApi] })
  async list(@QueryParams() query: Query, @SessionCaller() caller: Caller): Promise<VmApi[]> {
    const status = choice(query, 'status', VPG_STATUS);
    const subStatus = choice(query, 'subStatus', VPG_SUB_STATUS);
    return (await this.#all(caller)).filter((vm) =>
      matches(query, 'vpgName', vm.VpgName) && matches(query, 'vmName', vm.VmName) && matches(query, 'vmIdentifier', vm.VmIdentifier)
      && matches(query, 'vpgIdentifier', vm.VpgIdentifier)
      && matches(query, 'protectedSiteIdentifier', vm.ProtectedSite?.identifier) && matches(query, 'recoverySiteIdentifier', vm.RecoverySite?.identifier)
      && (status === undefined || vm.Status === VPG_STATUS.numbers[status]) && (subStatus === undefined || vm.SubStatus === VPG_SUB_STATUS.numbers[subStatus]));
  }

  @Get(':vm')
  @ApiOkResponse({ type: VmApi })
  async one(@Param('vm') vmId: string, @QueryParams() query: Query, @SessionCaller() caller: Caller): Promise<VmApi> {
    const vpgId = param(query, 'vpgIdentifier')?.toLowerCase();
    const found = (await this.#all(caller)).find((vm) => isSameId(vm.VmIdentifier ?? null, vmId) && (vpgId === undefined || vm.VpgIdentifier === vpgId));
    if (!found) throw notFound('protected VM', vmId);
    return found;
  }

  async #all({ rights }: Caller): Promise<VmApi[]> {
    this.vpgs.assertLoaded();
    const vms: VmApi[] = [];
    for (const vpg of this.vpgs.visible().filter(({ definition }) => rights.sees(definition.vpgId))) {
      await this.status.load(vpg);
      const measures = this.status.measure(vpg);
      for (const vm of vpg.definition.vms) vms.push(this.#view(vpg, vm, measures));
    }
    return vms;
  }

  #view(vpg: VpgRecord, vm: VpgVm, { visual, streams, recoveries, rpoMs }: VpgMeasures): VmApi {
    const { definition } = vpg;
    const { siteId } = this.config;
    const stream = streams.find((candidate) => candidate.vmId === vm.vmId);
    const recovery = recoveries.find((candidate) => candidate.vmId === vm.vmId);
    const inventory = this.inventory.current;
    const actual = definition.protectedSiteId === siteId ? inventory?.vms.find(({ id }) => id === vm.vmId) : undefined;
    const native = actual && inventory ? vmView(actual, inventory) : undefined;
    const recoveryHost = definition.recoverySiteId === siteId ? inventory?.hosts.find(({ id }) => id === vm.recoveryHostId) : undefined;
    const iops = stream ? Math.round(stream.writesPerSecond) : null;
    const own = settingsOf(definition).vms.find(({ vmIdentifier }) => vmIdentifier === vm.vmId);
    const limits = own?.journal?.limitation ?? settingsOf(definition).journal.limitation;
    return {
      VmIdentifier: vm.vmId,
      VmName: vm.name,
      VpgIdentifier: definition.vpgId,
      VpgName: definition.name,
      Link: this.links.of(`vms/${vm.vmId}?VpgIdentifier=${definition.vpgId}`, 'VmApi', vm.vmId),
      Status: VPG_STATUS.numbers[visual.status],
      SubStatus: VPG_SUB_STATUS.numbers[visual.subStatus],
      Priority: PRIORITY.numbers[settingsOf(definition).basic.priority ?? 'Medium'],
      ProvisionedStorageInMB: provisionedMb(liveDisks(vm)),
      UsedStorageInMB: recovery ? Math.ceil(recovery.mirrorBytes / MiB) : null,
      CpuCoresNum: vm.cpuCount,
      MemorySizeInMB: vm.memoryMiB,
      JournalUsedStorageMb: recovery ? Math.ceil(recovery.journalBytes / MiB) : null,
      JournalHardLimit: limitView(limits?.hardLimitInMB, limits?.hardLimitInPercent),
      JournalWarningThreshold: limitView(limits?.warningThresholdInMB, limits?.warningThresholdInPercent),
      IOPs: iops,
      IoPs: iops,
      ThroughputInMB: stream ? stream.bytesPerSecond / MiB : null,
      OutgoingBandWidthInMbps: null,
      ActualRPO: rpoView(rpoMs),
      LastTest: lastTestView(vpg),
      Volumes: liveDisks(vm).map((disk) => ({ VmVolumeIdentifier: disk.diskId, PublicCloudVolumeIdentifier: null, VolumeSyncSettings: disk.isTempData === true ? 'InitialSyncOnly' : 'Continuous' })),
      Nics: vm.nics.map((nic) => ({ NicIdentifier: nic.nicId })),
      SourceSite: definition.protectedSiteName,
      TargetSite: definition.recoverySiteName,
      ProtectedSiteName: definition.protectedSiteName,
      RecoverySiteName: definition.recoverySiteName,
      ProtectedSite: this.links.site(definition.protectedSiteId, siteId),
      RecoverySite: this.links.site(definition.recoverySiteId, siteId),
      OrganizationName: '',
      Entities: ENTITIES_VIEW,
      EnabledActions: { IsFlrEnabled: false },
      IsVmExists: definition.protectedSiteId === siteId ? actual !== undefined : null,
      RecoveryHostIdentifier: vm.recoveryHostId,
      RecoveryHostName: recoveryHost?.name ?? null,
      OwningHostIdentifier: native?.OwningHostIdentifier ?? null,
      OwningHostName: native?.OwningHostName ?? null,
      OwningDatastoreIdentifier: native?.OwningDatastoreIdentifier ?? null,
      OwningDatastoreName: native?.OwningDatastoreName ?? null,
      GuestOs: vm.guestOs,
      VmNetworkInformation: native?.VmNetworkInformation ?? null,
      HardwareVersion: null,
      IsAgentInstalled: false,
    };
  }
}

function limitView(megabytes: number | null | undefined, percent: number | null | undefined): VmJournalLimitApi {
  if (percent) return { LimitType: JOURNAL_LIMIT_TYPE.numbers.Percentage, LimitValue: percent };
  if (megabytes) return { LimitType: JOURNAL_LIMIT_TYPE.numbers.Megabytes, LimitValue: megabytes };
  return { LimitType: JOURNAL_LIMIT_TYPE.numbers.Unlimited, LimitValue: 0 };
}
