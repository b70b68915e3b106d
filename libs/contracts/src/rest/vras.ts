import { VRA_IP_CONFIGURATION_TYPE, VRA_STATUS, type NameOf } from './enumerations.js';
import { Choice, EnumNumber, Flag, Int, Section, Text } from './fields.js';
import { ResourceLink } from './links.js';

export class VraNetworkDataApi {
  @Choice(VRA_IP_CONFIGURATION_TYPE) VraIPConfigurationTypeApi?: NameOf<typeof VRA_IP_CONFIGURATION_TYPE> | null;
  @Text() VraIPAddress?: string | null;
  @Text() VraIPAddressRangeEnd?: string | null;
  @Text() SubnetMask?: string | null;
  @Text() DefaultGateway?: string | null;
}

/** `POST /vras` */
export class VraCreateDataApi {
  @Text({ isRequired: true, lengthMin: 1 }) HostIdentifier!: string;
  @Text({ isRequired: true, lengthMin: 1 }) DatastoreIdentifier!: string;
  @Text({ isRequired: true, lengthMin: 1 }) NetworkIdentifier!: string;
  @Text() HostRootPassword?: string | null;
  /** 3 when absent. */
  @Int({ min: 1, max: 16 }) MemoryInGb?: number | null;
  @Int({ min: 1, max: 4 }) NumOfCpus?: number | null;
  @Text({ lengthMax: 200 }) GroupName?: string | null;
  @Section(() => VraNetworkDataApi) VraNetworkDataApi?: VraNetworkDataApi | null;
  @Flag() UsePublicKeyInsteadOfCredentials?: boolean | null;
  @Flag() PopulatePostInstallation?: boolean | null;
}

export class VraProtectionCountersApi {
  @Int({ isRequired: true }) Vpgs!: number;
  @Int({ isRequired: true }) Vms!: number;
  @Int({ isRequired: true }) Volumes!: number;
}

export class VraApi {
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @Int({ isRequired: true, description: 'Above 2^53 it loses digits in JavaScript: use VraIdentifierStr.' }) VraIdentifier!: number;
  @Text({ isRequired: true }) VraIdentifierStr!: string;
  @Text({ isRequired: true }) VraName!: string;
  @EnumNumber(VRA_STATUS, { isRequired: true }) Status!: number;
  /** Percent of an installation under way. */
  @Int({ max: 100 }) Progress?: number | null;
  @Text() VraVersion?: string | null;
  @Text() VraDisplayVersion?: string | null;
  @Text() HostVersion?: string | null;
  @Text() IpAddress?: string | null;
  @Section(() => VraNetworkDataApi) VraNetworkDataApi?: VraNetworkDataApi | null;
  @Text() VraGroup?: string | null;
  @Int() MemoryInGB?: number | null;
  @Int() NumOfCpus?: number | null;
  @Text() DatastoreName?: string | null;
  @Text() DatastoreIdentifier?: string | null;
  @Text() DatastoreClusterName?: string | null;
  @Text() DatastoreClusterIdentifier?: string | null;
  @Text() NetworkName?: string | null;
  @Text() NetworkIdentifier?: string | null;
  @Text() HostIdentifier?: string | null;
  @Text() HostDisplayName?: string | null;
  @Section(() => VraProtectionCountersApi) ProtectedCounters?: VraProtectionCountersApi | null;
  @Section(() => VraProtectionCountersApi) RecoveryCounters?: VraProtectionCountersApi | null;
  @Int() SelfProtectedVpgs?: number | null;
  @Flag() IsGhost?: boolean | null;
  @Flag({ description: 'A Tidemark addition: its heartbeat has been heard within the last seconds.' }) IsConnected?: boolean | null;
}
