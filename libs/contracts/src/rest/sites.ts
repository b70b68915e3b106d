import { PAIRING_STATUS } from './enumerations.js';
import { Decimal, EnumNumber, Flag, Int, Section, Text } from './fields.js';
import { ResourceLink } from './links.js';

export class LocalSiteApi {
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @Text({ isRequired: true }) SiteIdentifier!: string;
  @Text({ isRequired: true }) SiteName!: string;
  @Text() Location?: string | null;
  @Text({ isRequired: true }) Version!: string;
  @Text() DisplayVersion?: string | null;
  @Text() ZvmApiVersion?: string | null;
  @Text() ContactEmail?: string | null;
  @Text() ContactName?: string | null;
  @Text() ContactPhone?: string | null;
  @Flag() IsReplicationToSelfEnabled?: boolean | null;
  @Int({ min: -1440, max: 1440 }) UtcOffsetInMinutes?: number | null;
  @Text() SiteType?: string | null;
  @Text() SiteTypeVersion?: string | null;
  @Text() IpAddress?: string | null;
  /** −1: unlimited. */
  @Decimal() BandwidthThrottlingInMBs?: number | null;
  @Flag() IsLoginBannerEnabled?: boolean | null;
  @Text() LoginBanner?: string | null;
}

/** What the limit does now. */
export class ThrottlingStatusApi {
  /** MB per second in force at this time of day; -1: unlimited. */
  @Decimal() EffectiveLimitInMBs?: number | null;
  /** What the site's VRAs send now, MB per second. */
  @Decimal() OutgoingInMBs?: number | null;
  /** The limit held a VRA back in the last second. */
  @Flag() IsThrottled?: boolean | null;
}

/** A daily time with a limit of its own, local time of the site. */
export class ThrottlingWindowApi {
  /** `HH:MM`. */
  @Text({ isRequired: true, lengthMin: 5, lengthMax: 5 }) From!: string;
  /** `HH:MM`; before From: over midnight. */
  @Text({ isRequired: true, lengthMin: 5, lengthMax: 5 }) To!: string;
  @Decimal({ isRequired: true, description: 'MB (10^6 bytes) per second; -1 or 0: unlimited, else at least 0.625 (5 Mbit/s).' }) BandwidthThrottlingInMBs!: number;
}

/** `GET` and `PUT /localsite/settings/throttling`. A Tidemark addition: the reference has this in its site settings dialog only. */
export class ThrottlingSettingsApi {
  @Decimal({ isRequired: true, description: 'MB (10^6 bytes) per second, outbound to all peers together; -1 or 0: unlimited, else at least 0.625 (5 Mbit/s).' })
  BandwidthThrottlingInMBs!: number;
  @Section(() => ThrottlingWindowApi, { description: 'Overrides the general limit while it lasts.' }) Window?: ThrottlingWindowApi | null;
  /** Shown, not set. */
  @Section(() => ThrottlingStatusApi) Status?: ThrottlingStatusApi | null;
}

/** `POST /peersites` */
export class PairDataApi {
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 255 }) HostName!: string;
  /** Where the peer site listens for paired sites; 9081 when absent. */
  @Int({ min: 1, max: 65535 }) Port?: number | null;
  /** Of `POST /peersites/generatetoken` at that site. */
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 32_768 }) Token!: string;
}

/** `POST /peersites/generatetoken`, `POST /vras/{vra}/enrolmenttoken`: shown this once. */
export class TokenResultApi {
  @Text({ isRequired: true }) Token!: string;
  /** Of no use from then on, UTC. */
  @Text({ isRequired: true }) UtcExpirationDate!: string;
}

/** `DELETE /peersites/{site}` */
export class UnPairDataApi {
  @Flag() IsKeepTargetDisks?: boolean | null;
}

/** `PUT /peersites/{site}`. A Tidemark addition: the reference lets either site of a pairing protect all VMs of the other. */
export class PeerSiteEditDataApi {
  @Flag({ isRequired: true, description: 'The paired site may begin to protect VMs of this site by itself. Without it, only what this site asks it to protect.' }) CanProtectVms!: boolean;
}

export class PeerSiteApi {
  @Section(() => ResourceLink, { isRequired: true }) Link!: ResourceLink;
  @Text({ isRequired: true }) SiteIdentifier!: string;
  @Text({ isRequired: true }) PeerSiteName!: string;
  @EnumNumber(PAIRING_STATUS, { isRequired: true }) PairingStatus!: number;
  @Text() Location?: string | null;
  @Text({ isRequired: true }) HostName!: string;
  @Int({ isRequired: true, min: 1, max: 65535 }) Port!: number;
  /** MB. */
  @Int() ProvisionedStorage?: number | null;
  /** MB. */
  @Int() UsedStorage?: number | null;
  /** Mbit/s. */
  @Decimal() IncomingThroughputInMb?: number | null;
  /** Mbit/s. */
  @Decimal() OutgoingBandWidth?: number | null;
  @Text() Version?: string | null;
  @Text() SiteType?: string | null;
  @Text() RegionName?: string | null;
  /** It may begin to protect VMs of this site by itself. */
  @Flag({ isRequired: true }) CanProtectVms!: boolean;
}

export class VirtualizationSiteApi {
  @Text({ isRequired: true }) SiteIdentifier!: string;
  @Text({ isRequired: true }) VirtualizationSiteName!: string;
  @Section(() => ResourceLink) Link?: ResourceLink | null;
}
