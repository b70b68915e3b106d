import { JOURNAL_LIMIT_TYPE, PRIORITY, VPG_STATUS, VPG_SUB_STATUS } from './enumerations.js';
import { Decimal, EnumNumber, Flag, Instant, Int, List, Section, Text } from './fields.js';
import { NicNativeApi, VmNetworkInformation, VmVolumeApi } from './inventory.js';
import { ResourceLink } from './links.js';
import { VpgEntitiesApi } from './vpgs.js';

export class VmJournalLimitApi {
  @EnumNumber(JOURNAL_LIMIT_TYPE, { isRequired: true }) LimitType!: number;
  @Int({ isRequired: true }) LimitValue!: number;
}

export class VmEnabledActionsApi {
  @Flag({ isRequired: true }) IsFlrEnabled!: boolean;
}

/** One protected VM in one VPG. */
export class VmApi {
  @Text({ isRequired: true }) VmIdentifier!: string;
  @Text({ isRequired: true }) VmName!: string;
  @Text({ isRequired: true }) VpgIdentifier!: string;
  @Text({ isRequired: true }) VpgName!: string;
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @EnumNumber(VPG_STATUS, { isRequired: true }) Status!: number;
  @EnumNumber(VPG_SUB_STATUS, { isRequired: true }) SubStatus!: number;
  @EnumNumber(PRIORITY, { isRequired: true }) Priority!: number;
  @Int() ProvisionedStorageInMB?: number | null;
  @Int() UsedStorageInMB?: number | null;
  @Int() CpuCoresNum?: number | null;
  @Int() MemorySizeInMB?: number | null;
  @Int() JournalUsedStorageMb?: number | null;
  @Section(() => VmJournalLimitApi) JournalWarningThreshold?: VmJournalLimitApi | null;
  @Section(() => VmJournalLimitApi) JournalHardLimit?: VmJournalLimitApi | null;
  @Int() IOPs?: number | null;
  @Int() IoPs?: number | null;
  @Decimal() ThroughputInMB?: number | null;
  @Decimal() OutgoingBandWidthInMbps?: number | null;
  /** Seconds; null when not known. */
  @Int() ActualRPO?: number | null;
  @Instant() LastTest?: string | null;
  @List(() => VmVolumeApi) Volumes?: VmVolumeApi[] | null;
  @List(() => NicNativeApi) Nics?: NicNativeApi[] | null;
  @Text() SourceSite?: string | null;
  @Text() TargetSite?: string | null;
  @Text() ProtectedSiteName?: string | null;
  @Text() RecoverySiteName?: string | null;
  @Section(() => ResourceLink) ProtectedSite?: ResourceLink | null;
  @Section(() => ResourceLink) RecoverySite?: ResourceLink | null;
  @Text() OrganizationName?: string | null;
  @Section(() => VpgEntitiesApi) Entities?: VpgEntitiesApi | null;
  @Section(() => VmEnabledActionsApi) EnabledActions?: VmEnabledActionsApi | null;
  @Flag() IsVmExists?: boolean | null;
  @Text() RecoveryHostIdentifier?: string | null;
  @Text() RecoveryHostName?: string | null;
  @Text() OwningHostIdentifier?: string | null;
  @Text() OwningHostName?: string | null;
  @Text() OwningDatastoreIdentifier?: string | null;
  @Text() OwningDatastoreName?: string | null;
  @Text() GuestOs?: string | null;
  @Section(() => VmNetworkInformation) VmNetworkInformation?: VmNetworkInformation | null;
  @Text() HardwareVersion?: string | null;
  @Flag() IsAgentInstalled?: boolean | null;
}
