import { Type } from 'class-transformer';
import { ArrayMaxSize, IsArray, IsBoolean, IsIn, IsInt, IsOptional, IsString, IsUUID, Length, Min, ValidateNested } from 'class-validator';
import { ProtectionCommandV1, ProtectionRefV1 } from './desired-state.js';

export class ViewVolumeV1 {
  @IsString() @Length(1, 64) diskId!: string;
  @IsString() @Length(1, 200) exportName!: string;
}

/**
 * `control view.open`: serve a VM's disks at a checkpoint over NBD with writes to scratch. Persisted before the answer and opened
 * again after a restart, scratch included. Pins the checkpoint. Idempotent by viewId.
 * `epoch` of a live one: that its failover has reserved; refused when a newer one is reserved or in force.
 */
export class ViewOpenV1 extends ProtectionCommandV1 {
  @IsUUID() viewId!: string;
  @IsInt() @Min(1) checkpointId!: number;
  /** `read`: for a backup or a file restore: read-only, and served over TLS on 9180 too. */
  @IsIn(['test', 'live', 'read']) purpose!: 'test' | 'live' | 'read';
  @IsArray() @ArrayMaxSize(60) @ValidateNested({ each: true }) @Type(() => ViewVolumeV1) volumes!: ViewVolumeV1[];
}

/** `control view.close` (drops scratch; unknown view: done already) */
export class ViewCloseV1 {
  @IsUUID() viewId!: string;
  /** As {@link ViewOpenV1.epoch}, of the view's protection. */
  @IsInt() @Min(1) epoch!: number;
}

/** `control view.promote`, see {@link ViewStatusV1.state}: with the epoch that was committed for it. */
export class ViewPromoteV1 extends ViewCloseV1 {}

/**
 * `control pin.put`: the checkpoint stays, beyond retention, thinning and early retirement, until the pin is dropped or its time is over. A name that is known goes over to
 * this checkpoint. One VM is enough to keep a checkpoint of the whole VPG.
 */
export class PinPutV1 extends ProtectionCommandV1 {
  @IsString() @Length(1, 100) name!: string;
  @IsInt() @Min(1) checkpointId!: number;
  /** Running time of the VRA, in which time that it is down does not count; null: until it is dropped. */
  @IsOptional() @IsInt() @Min(1) keepForMs!: number | null;
}

/** `control pin.drop`; a name that is not known: done already. */
export class PinDropV1 extends ProtectionCommandV1 {
  @IsString() @Length(1, 100) name!: string;
}

/** `control epoch.reserve` | `epoch.commit` | `epoch.burn`: ownership of one protection, `epoch` the one to reserve, commit or burn. Reserve is durable before the first VM starts. */
export class EpochV1 extends ProtectionCommandV1 {}

/** `checkpoint checkpoint.insert`, to the VRA that leads the VPG (any member answers CHECKPOINT_NOT_LEADER with the leader's vraId as message). */
export class CheckpointInsertV1 {
  @IsUUID() vpgId!: string;
  /** As {@link ProtectionCommandV1.epoch}. */
  @IsInt() @Min(1) epoch!: number;
  @IsString() @Length(1, 200) tag!: string;
  /** Every VM is frozen by its guest agent meanwhile; else error CHECKPOINT_FREEZE and no checkpoint. */
  @IsOptional() @IsBoolean() isApplicationConsistent?: boolean;
}

/** Answer: sealed at every protecting VRA. Void ends in error CHECKPOINT_VOID. Listed later, by the recovery side. */
export interface CheckpointInsertedV1 {
  readonly checkpointId: number;
}

/**
 * `checkpoint checkpoint.list`, to a recovering VRA: one page of what one VM's journal holds. With `afterChange`: of the changes behind that number;
 * without: of the list itself, from behind `afterCheckpointId` on (absent: from its start).
 */
export class CheckpointListV1 extends ProtectionRefV1 {
  @IsOptional() @IsInt() @Min(0) afterChange?: number;
  @IsOptional() @IsInt() @Min(0) afterCheckpointId?: number;
}

/** `checkpoint checkpoint.disks`, to a recovering VRA: which disks the image of a checkpoint has, and how large they were. Answer: {@link CheckpointDisksV1}. */
export class CheckpointDisksRequestV1 extends ProtectionRefV1 {
  @IsInt() @Min(1) checkpointId!: number;
}

export interface CheckpointDisksV1 {
  readonly disks: readonly { readonly volume: number; readonly diskId: string; readonly sizeBytes: number }[];
}

/** `control preseed.check`, to the recovering VRA: this file is there, of this size and nobody's, else VRA_PRESEED or VRA_PATH. Changes nothing. */
export class PreseedCheckV1 {
  @IsString() @Length(1, 4096) path!: string;
  @IsInt() @Min(1) sizeBytes!: number;
}

/** `control protection.settle`, to the protecting VRA: nothing was written behind this checkpoint (else VRA_NOT_SETTLED), and so the disks are its image. */
export class ProtectionSettleV1 extends ProtectionCommandV1 {
  @IsInt() @Min(1) checkpointId!: number;
}

/** By volume index; empty: nothing can be said of that volume. */
export interface ProtectionSettledV1 {
  readonly fingerprints: readonly string[];
}

/** One checkpoint that a VM's journal holds durably with marker and seal of one incarnation. */
export interface JournalCheckpointV1 {
  readonly checkpointId: number;
  readonly epoch: number;
  readonly term: number;
  readonly vmIds: readonly string[];
  readonly atMs: number;
  /** Age now, on the VRA's monotonic clock (since arrival, plus age on arrival). */
  readonly ageMs: number;
  readonly tag: string | null;
  readonly kind: 'automatic' | 'tagged' | 'applicationConsistent';
}

export interface CheckpointListingV1 {
  /** New with every opening of the journal: another one than last time means begin again with the list itself. */
  readonly instance: string;
  /** isWhole: of the list now; else of the last change on this page. */
  readonly lastChange: number;
  /**
   * True: `held` is a part of the list itself, also when the changes that were asked for are not remembered (then it is the first part). False: `held`
   * are additions, `dropped` removals.
   */
  readonly isWhole: boolean;
  /** More follows, behind the last checkpoint (isWhole) or change of this page. */
  readonly isMore: boolean;
  readonly held: readonly JournalCheckpointV1[];
  readonly dropped: readonly number[];
}
