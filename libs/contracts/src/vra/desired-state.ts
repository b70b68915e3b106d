import { Type } from 'class-transformer';
import {
  ArrayMaxSize, IsArray, IsBoolean, IsIn, IsInt, IsNumber, IsOptional, IsString, IsUUID, Length, Max, MaxLength, Min, ValidateNested,
} from 'class-validator';
import { APPLIANCE_ROLES, type ApplianceRole } from '../trust/messages.js';
import { IsDiskPath } from './disk-path.js';

/** Where another VRA listens. */
export class VraAddressV1 {
  @IsString() @Length(1, 64) vraId!: string;
  /** IP address; 4007 control and 4008 data listen on it. */
  @IsString() @Length(1, 255) address!: string;
  @IsInt() @Min(1) @Max(65535) controlPort!: number;
  @IsInt() @Min(1) @Max(65535) dataPort!: number;
}

export class AttachedDiskV1 {
  /** The hypervisor's disk id, e.g. `scsi:0:0`. */
  @IsString() @Length(1, 64) diskId!: string;
  /** NBD export name, unique on the host; never changes while the disk lives. */
  @IsString() @Length(1, 200) exportName!: string;
  /** Absolute path of the raw file, or the URI of an NBD export: `nbd://host:port/name`, `nbd+unix:///name?socket=/path`. */
  @IsString() @Length(1, 4096) @IsDiskPath() path!: string;
  @IsInt() @Min(1) sizeBytes!: number;
}

/** A VM that runs on the VRA's host: its disks are served over NBD, protected or not. */
export class AttachedVmV1 {
  @IsString() @Length(1, 200) vmId!: string;
  @IsArray() @ArrayMaxSize(60) @ValidateNested({ each: true }) @Type(() => AttachedDiskV1) disks!: AttachedDiskV1[];
  /** Another site owns the VM since a failover: its writes are refused here. */
  @IsOptional() @IsBoolean() isFenced?: boolean;
}

/** One VM in one VPG, seen from the protecting VRA. The position of a disk in `diskIds` is its volume index in the stream. */
export class ProtectionV1 {
  @IsUUID() vpgId!: string;
  @IsString() @Length(1, 200) vmId!: string;
  @IsInt() @Min(1) epoch!: number;
  /** Empty: the VM has no disk for this volume (any more). */
  @IsArray() @ArrayMaxSize(64) @IsString({ each: true }) @MaxLength(200, { each: true }) diskIds!: string[];
  /** By volume index, as the recovery side has them; 0: removed. */
  @IsArray() @ArrayMaxSize(64) @IsInt({ each: true }) @Min(0, { each: true }) volumeBytes!: number[];
  /** Indexes of volumes with temp data (swap, page files): copied once, then never again until there is a new base. Absent: none. Does not change while the protection lives. */
  @IsOptional() @IsArray() @ArrayMaxSize(64) @IsInt({ each: true }) @Min(0, { each: true }) @Max(63, { each: true }) tempVolumes?: number[];
  @ValidateNested() @Type(() => VraAddressV1) recoveringVra!: VraAddressV1;
  /** Whose VRA that is: its certificate has to say so. */
  @IsUUID() recoverySiteId!: string;
  @IsBoolean() isCompressed!: boolean;
  @IsIn(['low', 'medium', 'high']) priority!: 'low' | 'medium' | 'high';
  /** As {@link BasisV1.basisId}: the VM's disks were that image, and the VRA may know what has changed since. */
  @IsOptional() @IsUUID() basisId?: string;
  /** Captured and kept, in memory and then as a bitmap, but not sent. */
  @IsOptional() @IsBoolean() isPaused?: boolean;
}

export class BarrierMemberV1 {
  @ValidateNested() @Type(() => VraAddressV1) vra!: VraAddressV1;
  @IsArray() @ArrayMaxSize(5000) @IsString({ each: true }) @MaxLength(200, { each: true }) vmIds!: string[];
}

/** Who makes checkpoints of a VPG. Members in order of succession: the first one leads. */
export class BarrierV1 {
  @IsUUID() vpgId!: string;
  /** Grows with every change; a VRA obeys the newest that it has seen. */
  @IsInt() @Min(1) version!: number;
  @IsInt() @Min(1) epoch!: number;
  @IsInt() @Min(200) @Max(3_600_000) intervalMs!: number;
  @IsArray() @ArrayMaxSize(64) @ValidateNested({ each: true }) @Type(() => BarrierMemberV1) members!: BarrierMemberV1[];
}

export class ThrottleWindowV1 {
  /** Minutes of the site's local day; from = to: all day, from > to: over midnight. */
  @IsInt() @Min(0) @Max(1439) fromMinute!: number;
  @IsInt() @Min(0) @Max(1439) toMinute!: number;
  /** null: no limit. */
  @IsOptional() @IsNumber() @Min(1) bytesPerSecond!: number | null;
}

/** The site's limit for all that it replicates, and this VRA's share of it. The VRA follows the windows by its own clock. */
export class ThrottleV1 {
  @IsOptional() @IsNumber() @Min(1) bytesPerSecond!: number | null;
  @IsOptional() @ValidateNested() @Type(() => ThrottleWindowV1) window!: ThrottleWindowV1 | null;
  @IsInt() @Min(-1440) @Max(1440) utcOffsetMinutes!: number;
  /** Above 0, at most 1. */
  @IsNumber() @Min(0.0001) @Max(1) share!: number;
}

/** Appliances of one site whose certificates may be void before they end: far above what a site can remove within the 90 days that one lives. */
export const VOIDED_COMPONENTS_MAX = 4096;

/** Certificates of this appliance that begin before `beforeMs` (ms since 1970) are void: it was removed, or enrolled anew. */
export class VoidedComponentV1 {
  @IsIn(APPLIANCE_ROLES) role!: ApplianceRole;
  @IsString() @Length(1, 64) instanceId!: string;
  @IsInt() @Min(0) beforeMs!: number;
}

export class TrustedSiteV1 {
  @IsUUID() siteId!: string;
  /** PEM; two while that site's CA rotates. */
  @IsArray() @ArrayMaxSize(4) @IsString({ each: true }) @MaxLength(16_384, { each: true }) caPem!: string[];
  @IsArray() @ArrayMaxSize(VOIDED_COMPONENTS_MAX) @ValidateNested({ each: true }) @Type(() => VoidedComponentV1) voided!: VoidedComponentV1[];
}

/** The own site and every paired one. Connections of VRAs of any other site, and of voided ones, end when this comes. */
export class TrustV1 {
  @IsArray() @ArrayMaxSize(256) @ValidateNested({ each: true }) @Type(() => TrustedSiteV1) sites!: TrustedSiteV1[];
}

/**
 * `control state.apply`: everything that the sending side of a VRA shall do, whole. The VRA persists it before it answers and goes
 * on by it alone after a restart. Taking a protection out stops its stream; it deletes nothing at the other site. What
 * the recovering side holds (journals, mirrors, views) is never removed by absence, only by its own commands. Protections and barriers of
 * an epoch that is over are not begun, and do not replace newer ones; the rest is in force, and the answer is VRA_EPOCH.
 */
export class DesiredStateV1 {
  @IsInt() @Min(0) revision!: number;
  @ValidateNested() @Type(() => TrustV1) trust!: TrustV1;
  @IsArray() @ArrayMaxSize(5000) @ValidateNested({ each: true }) @Type(() => AttachedVmV1) attachedVms!: AttachedVmV1[];
  @IsArray() @ArrayMaxSize(5000) @ValidateNested({ each: true }) @Type(() => ProtectionV1) protections!: ProtectionV1[];
  @IsArray() @ArrayMaxSize(5000) @ValidateNested({ each: true }) @Type(() => BarrierV1) barriers!: BarrierV1[];
  /** Absent: no limit. */
  @IsOptional() @ValidateNested() @Type(() => ThrottleV1) throttle?: ThrottleV1;
}

export class RecoveryVolumeV1 {
  /** The VM has it no more: its mirror stays for as long as a checkpoint has it, its place in the list for ever. */
  @IsOptional() @IsBoolean() isRemoved?: boolean;
  @IsString() @MaxLength(64) diskId!: string;
  @IsInt() @Min(1) sizeBytes!: number;
  /** Absolute path of the mirror volume on the recovery datastore; created sparse when missing. */
  @IsString() @Length(1, 4096) mirrorPath!: string;
  /** The file is there already, of this size and nobody's (else VRA_PRESEED): its blocks are compared, and only differences travel. */
  @IsOptional() @IsBoolean() isPreseeded?: boolean;
}

/** Mirrors that are preseeded with disks of which it is known what they are: the image of the VM at the checkpoint that a view, by its id, was opened at. */
export class BasisV1 {
  @IsUUID() basisId!: string;
  /** By volume index, as `protection.settle` answered: a file that has another one by now is compared like any other. */
  @IsArray() @ArrayMaxSize(64) @IsString({ each: true }) @MaxLength(200, { each: true }) fingerprints!: string[];
}

export class DatastoreV1 {
  @IsString() @Length(1, 4096) path!: string;
  /** Declared capacity; what is allocated under `path` counts against it. */
  @IsInt() @Min(1) capacityBytes!: number;
}

/** What a VM's journal and scratch may take on their datastore, bytes; null: unlimited. The datastore's guard holds either way. */
export class RecoveryLimitsV1 {
  /** Near it the oldest checkpoints are retired early, at all VRAs of the VPG; at it, with only the newest left, replication pauses. */
  @IsOptional() @IsInt() @Min(1) journalHardBytes!: number | null;
  @IsOptional() @IsInt() @Min(1) journalWarningBytes!: number | null;
  /** Of each view, apart from the journal's: beyond it the guest gets ENOSPC. */
  @IsOptional() @IsInt() @Min(1) scratchHardBytes!: number | null;
  @IsOptional() @IsInt() @Min(1) scratchWarningBytes!: number | null;
}

/** Every checkpoint stays for a time, then the first of each minute, then the first of each hour; tagged and pinned ones stay. */
export class ThinningV1 {
  @IsInt() @Min(1000) keepAllMs!: number;
  @IsInt() @Min(1000) hourlyAfterMs!: number;
}

/** `control recovery.put`: create or update what is needed to recover one VM of one VPG. Idempotent. The epoch of one that is there stays; an older one is refused (VRA_EPOCH). */
export class RecoveryV1 {
  @IsUUID() vpgId!: string;
  @IsString() @Length(1, 200) vmId!: string;
  /** Only VRAs of this site may send its stream. Never changes. */
  @IsUUID() protectedSiteId!: string;
  @IsInt() @Min(1) epoch!: number;
  /** All VMs of the VPG and the VRA that recovers each: retirement is agreed among them, the first one leads it. */
  @IsArray() @ArrayMaxSize(5000) @ValidateNested({ each: true }) @Type(() => BarrierMemberV1) recoverers!: BarrierMemberV1[];
  @IsArray() @ArrayMaxSize(64) @ValidateNested({ each: true }) @Type(() => RecoveryVolumeV1) volumes!: RecoveryVolumeV1[];
  /** Folder of the journal and of scratch on the journal datastore; created when missing. */
  @IsString() @Length(1, 4096) journalFolder!: string;
  /** Grows with every move to another VRA; absent: 0. Above 0 journal and mirrors are there already (else VRA_NOTHING_THERE) and are taken over from the VRA that released them. */
  @IsOptional() @IsInt() @Min(0) moveNumber?: number;
  /** The operator's word that the host of the VRA which has not let go (else VRA_NOT_RELEASED) is off: its files are taken as soon as nobody writes them (else VRA_STILL_WRITTEN). */
  @IsOptional() @IsBoolean() isOldHostDown?: boolean;
  @ValidateNested() @Type(() => DatastoreV1) datastore!: DatastoreV1;
  @IsInt() @Min(1000) historyMs!: number;
  /** Absent: unlimited. */
  @IsOptional() @ValidateNested() @Type(() => RecoveryLimitsV1) limits?: RecoveryLimitsV1;
  /** Absent: off. */
  @IsOptional() @ValidateNested() @Type(() => ThinningV1) thinning?: ThinningV1;
  /** Absent: what the mirrors hold is not known. */
  @IsOptional() @ValidateNested() @Type(() => BasisV1) basis?: BasisV1;
}

export class ProtectionRefV1 {
  @IsUUID() vpgId!: string;
  @IsString() @Length(1, 200) vmId!: string;
}

/** What a command about one protection begins with. */
export class ProtectionCommandV1 extends ProtectionRefV1 {
  /** Who asks believes this one to be in force. Refused (VRA_EPOCH) when the VRA durably knows a newer one: whoever asks does not know of a failover (ADR 0044). */
  @IsInt() @Min(1) epoch!: number;
}

/** `control protection.forceSync`, to the protecting VRA: compare everything with the recovery side. */
export class ProtectionForceSyncV1 extends ProtectionCommandV1 {}

/**
 * `control recovery.release`: journal and mirrors are closed and belong to nobody here any more, which the files say themselves; the VRA that is put this move number takes them over. May be repeated.
 * VRA_CONFLICT while a view is open or a failover is under way.
 */
export class RecoveryReleaseV1 extends ProtectionCommandV1 {
  @IsInt() @Min(1) moveNumber!: number;
  /** Where the journal lies: for a VRA that has forgotten the recovery and was killed before it wrote that down there. */
  @IsString() @Length(1, 4096) journalFolder!: string;
}

/** `control recovery.remove`: one that does not know of a failover must not delete the mirrors that its VMs have. */
export class RecoveryRemoveV1 extends ProtectionCommandV1 {
  /** Keep the mirror volumes, rolled forward to nothing: as they are. The journal goes either way. */
  @IsBoolean() isMirrorKept!: boolean;
}
