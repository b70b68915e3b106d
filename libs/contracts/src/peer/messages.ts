import { Type } from 'class-transformer';
import {
  ArrayMaxSize, ArrayMinSize, IsArray, IsBoolean, IsIn, IsInt, IsNumber, IsObject, IsOptional, IsString, IsUUID, Length, Matches, Max, MaxLength, Min, ValidateNested,
} from 'class-validator';
import { NATS_USER_KEY } from '../trust/messages.js';
import type { ProtectionStatusV1, RecoveryStatusV1 } from '../vra/status.js';
import { VOIDED_COMPONENTS_MAX, VoidedComponentV1 } from '../vra/desired-state.js';
import { IsBounded } from './bounded.js';
import { type SettledVmV1, VPG_VMS_MAX, VpgRecordV1 } from './vpg-record.js';

/** Who a site is and where its peers reach it. */
export class SiteCardV1 {
  @IsUUID() siteId!: string;
  @IsString() @Length(1, 200) name!: string;
  @IsString() @MaxLength(200) location!: string;
  @IsString() @Length(1, 50) version!: string;
  /** Host of its peer listener (9081). */
  @IsString() @Length(1, 255) address!: string;
  @IsInt() @Min(1) @Max(65535) port!: number;
}

/** Sizes of what certificates and NATS users are made of: far above any of ours, far below what could hurt. */
const PEM_LENGTH_MAX = 16_384;
const JWT_LENGTH_MAX = 8192;
/** Enough to show to a person whom a rotation waits for. */
export const UNAWARE_VRAS_MAX = 100;

/** CA certificates of a site, newest first; two while it changes its CA. */
export class SiteTrustV1 {
  @IsArray() @ArrayMinSize(1) @ArrayMaxSize(4) @IsString({ each: true }) @MaxLength(PEM_LENGTH_MAX, { each: true }) caPem!: string[];
}

/**
 * `control pairing.redeem`, under the pairing token's own user: the only thing it may do. Asked again by the same site with the same key it is
 * answered again, until it is sealed; by anyone else it is refused.
 */
export class PairingRedeemV1 extends SiteTrustV1 {
  @IsString() @Length(1, 200) secret!: string;
  @ValidateNested() @Type(() => SiteCardV1) site!: SiteCardV1;
  /** Of the user that the asking site wants at this one. */
  @Matches(NATS_USER_KEY) natsPublicKey!: string;
}

/** What the site that made the token answers. */
export class PairingGrantV1 extends SiteTrustV1 {
  @ValidateNested() @Type(() => SiteCardV1) site!: SiteCardV1;
  /** The user that was asked for. */
  @IsString() @Length(1, JWT_LENGTH_MAX) userJwt!: string;
  /** Of the user that this site wants at the asking one. */
  @Matches(NATS_USER_KEY) natsPublicKey!: string;
}

/** `control pairing.confirm`: the user that the token's site has asked for. `control pairing.seal` has no body: both directions were heard. */
export class PairingConfirmV1 {
  @IsString() @Length(1, JWT_LENGTH_MAX) userJwt!: string;
}

/** What a paired site believes of its own: CA certificates, and VRAs that it does not believe any more. */
export class PeerOwnTrustV1 extends SiteTrustV1 {
  @IsArray() @ArrayMaxSize(VOIDED_COMPONENTS_MAX) @ValidateNested({ each: true }) @Type(() => VoidedComponentV1) voided!: VoidedComponentV1[];
}

/** `control trust.renew` of a paired site: what it believes of its own today, and, when it is time, the key of its next user here. */
export class PeerTrustRenewV1 extends PeerOwnTrustV1 {
  @IsOptional() @Matches(NATS_USER_KEY) natsPublicKey?: string;
}

/** Its answer; the user only if one was asked for. */
export class PeerTrustV1 extends PeerOwnTrustV1 {
  /** Names of its VRAs that do not believe all of the asking site's CA certificates yet. */
  @IsArray() @ArrayMaxSize(UNAWARE_VRAS_MAX) @IsString({ each: true }) @MaxLength(200, { each: true }) unawareVras!: string[];
  @IsOptional() @IsString() @Length(1, JWT_LENGTH_MAX) userJwt?: string;
}

/** `control peer.unpair` */
export class PeerUnpairV1 {
  @IsBoolean() isTargetKept!: boolean;
}

/** `control vpg.put`: the recovery site's record replaces an older generation of the copy. */
export class VpgPutV1 {
  @ValidateNested() @Type(() => VpgRecordV1) record!: VpgRecordV1;
}

/** `control vpg.act`: run this at the recovery site under this task id; asked twice, it runs once. Refused with the ZVM_… code a REST client would get. */
export class VpgActV1 {
  @IsString() @Length(1, 100) taskId!: string;
  @IsString() @Length(1, 50) action!: string;
  @IsString() @MaxLength(200) initiatedBy!: string;
  @IsUUID() vpgId!: string;
  @IsObject() @IsBounded() input!: object;
}

/** `control vpg.takeReverse`, to the site where a failed-over VPG's VMs ran: recover it from now on. Asked twice under one task id, it runs once. */
export class PeerTakeReverseV1 {
  @IsString() @Length(1, 100) taskId!: string;
  @IsString() @MaxLength(200) initiatedBy!: string;
  @ValidateNested() @Type(() => VpgRecordV1) record!: VpgRecordV1;
}

/** `control checkpoint.insert`, to the protected site: put a tagged checkpoint into the streams now. */
export class PeerCheckpointInsertV1 {
  @IsUUID() vpgId!: string;
  @IsString() @Length(1, 200) tag!: string;
  @IsOptional() @IsBoolean() isApplicationConsistent?: boolean;
}

/** `control vpg.settle`, to the protected site: its VMs are off and have written nothing behind this checkpoint, else ZVM_CONFLICT. */
export class PeerSettleV1 {
  @IsUUID() vpgId!: string;
  @IsInt() @Min(1) checkpointId!: number;
}

export interface VpgSettledV1 {
  readonly vms: readonly SettledVmV1[];
}

/** `control vpg.forceSync`, to the protected site: its VRAs compare every VM of the VPG with the recovery site, now. */
export class PeerForceSyncV1 {
  @IsUUID() vpgId!: string;
}

/** Entries of one `catalogue.put`: with the VMs of a large VPG below what NATS carries in one message. */
export const CATALOGUE_PAGE_MAX = 1000;
/** Characters of a checkpoint's tag, with what the sites have noted on it. */
export const CHECKPOINT_TAG_MAX = 400;

export class CatalogueEntryV1 {
  @IsInt() @Min(1) checkpointId!: number;
  @IsNumber() atMs!: number;
  @IsOptional() @IsString() @MaxLength(CHECKPOINT_TAG_MAX) tag!: string | null;
  @IsIn(['automatic', 'tagged', 'applicationConsistent']) kind!: 'automatic' | 'tagged' | 'applicationConsistent';
  @IsInt() @Min(1) epoch!: number;
  @IsInt() @Min(0) term!: number;
  @IsArray() @ArrayMaxSize(VPG_VMS_MAX) @IsString({ each: true }) @MaxLength(200, { each: true }) vmIds!: string[];
}

/**
 * `control catalogue.put`: brings the protected site's copy of a checkpoint list from `baseRevision` to `revision`. isWhole: a page of the whole list, `added` is all that is listed
 * behind `afterId` up to its own last one; the copy is of `revision` with the page that has no more behind it, and whoever was cut off begins again.
 */
export class CataloguePutV1 {
  @IsUUID() vpgId!: string;
  @IsInt() @Min(0) baseRevision!: number;
  @IsInt() @Min(0) revision!: number;
  @IsBoolean() isWhole!: boolean;
  @IsOptional() @IsInt() @Min(0) afterId?: number;
  @IsOptional() @IsBoolean() isMore?: boolean;
  @IsArray() @ArrayMaxSize(CATALOGUE_PAGE_MAX) @ValidateNested({ each: true }) @Type(() => CatalogueEntryV1) added!: CatalogueEntryV1[];
  @IsArray() @ArrayMaxSize(CATALOGUE_PAGE_MAX) @IsInt({ each: true }) removed!: number[];
}

/** Answer to `catalogue.put`: what the copy is at now. */
export interface CatalogueRevisionV1 {
  readonly revision: number;
}

/** `control vm.power`, to the protected site, for the shutdown policy of a failover and its rollback. */
export class VmPowerV1 {
  @IsUUID() vpgId!: string;
  @IsArray() @ArrayMaxSize(VPG_VMS_MAX) @IsString({ each: true }) @MaxLength(200, { each: true }) vmIds!: string[];
  @IsIn(['on', 'shutdown', 'forceOff']) action!: 'on' | 'shutdown' | 'forceOff';
}

/** Those that changed state. */
export interface VmPowerResultV1 {
  readonly changedVmIds: readonly string[];
}

export interface TaskNewsV1 {
  readonly taskId: string;
  readonly type: string;
  readonly state: 'InProgress' | 'Failed' | 'Completed';
  readonly progress: number;
  readonly initiatedBy: string;
  readonly reason: string;
  readonly related: { readonly vpgIds: readonly string[]; readonly siteIds: readonly string[]; readonly hostIds: readonly string[] };
  readonly runnerSiteId: string;
  readonly startedAtMs: number;
  readonly completedAtMs: number | null;
  readonly generation: number;
}

/** What a site knows of a VPG that it shares with the peer; measured values are of the moment of sending. */
export interface VpgNewsV1 {
  readonly vpgId: string;
  readonly generation: number;
  readonly catalogueRevision: number;
  /** From the protected site. */
  readonly protections: readonly ProtectionStatusV1[];
  /** From the recovery site. */
  readonly recoveries: readonly RecoveryStatusV1[];
  readonly newestCheckpointAgeMs: number | null;
  /** From the protected site: why the newest checkpoint was given up; null: it was sealed, or nothing is known. */
  readonly voidReason: string | null;
  readonly areVrasAlive: boolean;
}

/** `event peer.news`, every second, published into the peer's broker under this site's own user there: heartbeat, and everything that the other side shows. */
export interface PeerNewsV1 {
  readonly siteName: string;
  readonly location: string;
  readonly version: string;
  readonly vpgs: readonly VpgNewsV1[];
  readonly removedVpgIds: readonly string[];
  readonly tasks: readonly TaskNewsV1[];
}

/** One VRA in the answer to `control inventory.get`. */
export interface PeerVraV1 {
  readonly vraId: string;
  readonly name: string;
  readonly hostId: string;
  readonly address: string;
  readonly controlPort: number;
  readonly dataPort: number;
  readonly isAlive: boolean;
}
