import { Type } from 'class-transformer';
import {
  ArrayMaxSize, IsArray, IsBoolean, IsIn, IsInt, IsNumber, IsObject, IsOptional, IsString, IsUUID, Length, Max, MaxLength, Min, ValidateNested,
} from 'class-validator';
import { BasisV1, VraAddressV1 } from '../vra/desired-state.js';
import { IsBounded } from './bounded.js';

/** VMs of one VPG. */
export const VPG_VMS_MAX = 512;

export class VpgDiskV1 {
  @IsString() @Length(1, 64) diskId!: string;
  @IsInt() @Min(1) sizeBytes!: number;
  /** NBD export of the protected disk: tells it from a later disk of the same id. */
  @IsOptional() @IsString() @Length(1, 200) exportName?: string;
  /** The VM has it no more. Its place in the list is its volume index, which stays for the checkpoints that have it. */
  @IsOptional() @IsBoolean() isRemoved?: boolean;
  @IsString() @Length(1, 200) recoveryDatastoreId!: string;
  @IsString() @Length(1, 4096) mirrorPath!: string;
  /** Was there before the VPG. */
  @IsOptional() @IsBoolean() isPreseeded?: boolean;
  /** Swap, page files: copied once, then passed over. */
  @IsOptional() @IsBoolean() isTempData?: boolean;
}

export class VpgNicV1 {
  @IsString() @Length(1, 200) nicId!: string;
  @IsString() @MaxLength(64) mac!: string;
  /** null: left unconnected. */
  @IsOptional() @IsString() @Length(1, 200) failoverNetworkId!: string | null;
  @IsBoolean() isFailoverMacNew!: boolean;
  @IsOptional() @IsString() @Length(1, 200) testNetworkId!: string | null;
  @IsBoolean() isTestMacNew!: boolean;
}

export class VpgJournalDatastoreV1 {
  @IsString() @Length(1, 200) id!: string;
  @IsString() @Length(1, 4096) path!: string;
  @IsInt() @Min(1) capacityBytes!: number;
}

/** One VM of a VPG with everything that its recovery needs when the protected site is gone. */
export class VpgVmV1 {
  @IsString() @Length(1, 200) vmId!: string;
  @IsString() @Length(1, 200) name!: string;
  @IsInt() @Min(1) cpuCount!: number;
  @IsInt() @Min(1) memoryMiB!: number;
  @IsString() @MaxLength(200) guestOs!: string;
  @IsString() @Length(1, 64) bootGroupId!: string;
  @IsString() @Length(1, 200) recoveryHostId!: string;
  @IsOptional() @IsString() @MaxLength(200) recoveryFolderId!: string | null;
  @ValidateNested() @Type(() => VraAddressV1) recoveringVra!: VraAddressV1;
  /** How often the recovery has gone to another VRA; absent: never. */
  @IsOptional() @IsInt() @Min(0) moveNumber?: number;
  @IsString() @Length(1, 4096) journalFolder!: string;
  @ValidateNested() @Type(() => VpgJournalDatastoreV1) journalDatastore!: VpgJournalDatastoreV1;
  @IsArray() @ArrayMaxSize(64) @ValidateNested({ each: true }) @Type(() => VpgDiskV1) disks!: VpgDiskV1[];
  @IsArray() @ArrayMaxSize(32) @ValidateNested({ each: true }) @Type(() => VpgNicV1) nics!: VpgNicV1[];
  /** Of a VPG that was turned round after a move. */
  @IsOptional() @ValidateNested() @Type(() => BasisV1) basis?: BasisV1;
}

/** What both sites hold of a VPG, letter for letter. */
export class VpgDefinitionV1 {
  @IsUUID() vpgId!: string;
  @IsString() @Length(1, 200) name!: string;
  @IsUUID() protectedSiteId!: string;
  @IsString() @Length(1, 200) protectedSiteName!: string;
  @IsUUID() recoverySiteId!: string;
  @IsString() @Length(1, 200) recoverySiteName!: string;
  @IsInt() @Min(200) @Max(3_600_000) checkpointIntervalMs!: number;
  @IsInt() @Min(1000) historyMs!: number;
  /** A user has paused replication. */
  @IsOptional() @IsBoolean() isPaused?: boolean;
  /** VpgSettings of @tidemark/vpg as committed. */
  @IsObject() @IsBounded() settings!: object;
  @IsArray() @ArrayMaxSize(VPG_VMS_MAX) @ValidateNested({ each: true }) @Type(() => VpgVmV1) vms!: VpgVmV1[];
}

export const VPG_STATES_V1 = ['creating', 'protecting', 'failingOver', 'promoting', 'reversing', 'needsConfiguration', 'deleting', 'removed'] as const;

export const FAILOVER_PHASES_V1 = ['starting', 'beforeCommit', 'committing', 'rollingBack', 'promoting', 'reversing', 'handedOver'] as const;

/** A recovered VM; every id is chosen before the step that needs it, so that a repeated step makes no second one. */
export class RecoveredVmV1 {
  @IsString() @Length(1, 200) vmId!: string;
  @IsUUID() viewId!: string;
  @IsString() @Length(1, 300) name!: string;
  /** null: not created yet. */
  @IsOptional() @IsString() @MaxLength(200) recoveredVmId!: string | null;
}

/** The disks of a VM that has not written since the last checkpoint of its move; by volume index, empty where nothing can be said. */
export class SettledVmV1 {
  @IsString() @Length(1, 200) vmId!: string;
  @IsArray() @ArrayMaxSize(64) @IsString({ each: true }) @MaxLength(200, { each: true }) fingerprints!: string[];
}

export class FailoverRecordV1 {
  @IsString() @Length(1, 100) taskId!: string;
  /** Absent: a failover. */
  @IsOptional() @IsIn(['failover', 'move']) kind?: 'failover' | 'move';
  /** After the commit the VPG protects in the other direction. */
  @IsOptional() @IsBoolean() isReverse?: boolean;
  /** `handedOver`: the old protected site was asked to recover the VPG from now on; from here on its word counts. */
  @IsIn(FAILOVER_PHASES_V1) phase!: (typeof FAILOVER_PHASES_V1)[number];
  @IsInt() @Min(1) checkpointId!: number;
  @IsNumber() checkpointAtMs!: number;
  @IsInt() @Min(1) reservedEpoch!: number;
  @IsIn(['Rollback', 'Commit', 'None']) commitPolicy!: 'Rollback' | 'Commit' | 'None';
  @IsInt() @Min(0) waitMs!: number;
  /** Wall clock of the recovery site; null: nobody decides but the user. */
  @IsOptional() @IsNumber() decideAtMs!: number | null;
  @IsIn(['None', 'Shutdown', 'ForceShutdown']) shutdownPolicy!: 'None' | 'Shutdown' | 'ForceShutdown';
  /** Protected VMs that this failover powered off. */
  @IsArray() @ArrayMaxSize(VPG_VMS_MAX) @IsString({ each: true }) @MaxLength(200, { each: true }) shutDownVmIds!: string[];
  @IsArray() @ArrayMaxSize(VPG_VMS_MAX) @ValidateNested({ each: true }) @Type(() => RecoveredVmV1) vms!: RecoveredVmV1[];
  /** Of a move. */
  @IsOptional() @IsArray() @ArrayMaxSize(VPG_VMS_MAX) @ValidateNested({ each: true }) @Type(() => SettledVmV1) settled?: SettledVmV1[];
}

export class FailoverTestRecordV1 {
  @IsString() @Length(1, 100) taskId!: string;
  @IsIn(['starting', 'running', 'stopping']) phase!: 'starting' | 'running' | 'stopping';
  @IsInt() @Min(1) checkpointId!: number;
  @IsNumber() startedAtMs!: number;
  @IsArray() @ArrayMaxSize(VPG_VMS_MAX) @ValidateNested({ each: true }) @Type(() => RecoveredVmV1) vms!: RecoveredVmV1[];
}

/** The recovery site decides over a VPG; the protected site holds a copy of the newest generation that it was told. */
export class VpgRecordV1 {
  @ValidateNested() @Type(() => VpgDefinitionV1) definition!: VpgDefinitionV1;
  @IsIn(VPG_STATES_V1) state!: (typeof VPG_STATES_V1)[number];
  @IsInt() @Min(1) generation!: number;
  @IsInt() @Min(1) epoch!: number;
  @IsInt() @Min(1) epochMax!: number;
  @IsOptional() @ValidateNested() @Type(() => FailoverRecordV1) failover!: FailoverRecordV1 | null;
  @IsOptional() @ValidateNested() @Type(() => FailoverTestRecordV1) failoverTest!: FailoverTestRecordV1 | null;
  @IsOptional() @IsNumber() lastTestAtMs!: number | null;
  @IsOptional() @IsString() @MaxLength(2000) problem!: string | null;
  @IsNumber() createdAtMs!: number;
}
