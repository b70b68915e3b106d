import { Type } from 'class-transformer';
import { ArrayMaxSize, ArrayMinSize, IsArray, IsInt, IsString, IsUUID, Length, Max, Min, ValidateNested } from 'class-validator';
import type { IdentityStatusV1 } from '../vra/status.js';

/** Heartbeat of a VBA: `event status.published`, each second. */
export interface VbaStatusV1 {
  readonly vbaId: string;
  readonly hostId: string;
  readonly version: string;
  readonly address: string;
  readonly startedAtMs: number;
  readonly identity: IdentityStatusV1;
}

/** Of one verification. */
export const VERIFIED_VOLUMES_MAX = 10_000;

/** One disk at a checkpoint, as a VRA exports it on 9180. */
export class VerificationVolumeV1 {
  @IsString() @Length(1, 200) vmId!: string;
  @IsString() @Length(1, 64) diskId!: string;
  /** The VRA that serves it: no other one is believed there. */
  @IsString() @Length(1, 64) vraId!: string;
  @IsString() @Length(1, 255) address!: string;
  @IsInt() @Min(1) @Max(65535) port!: number;
  @IsString() @Length(1, 200) exportName!: string;
  @IsInt() @Min(1) sizeBytes!: number;
}

/** `control verification.end`: stops and forgets it. Unknown: done already. `control verification.get`: answer {@link VerificationV1}, or error VBA_UNKNOWN_VERIFICATION. */
export class VerificationRefV1 {
  @IsUUID() verificationId!: string;
}

/**
 * `control verification.start`: read every byte of these volumes, over NBD with TLS. Answered at once; known by its id: done already. Kept in memory only: a VBA that was
 * restarted does not know it any more, and is asked again. Error VBA_BUSY: too many are under way.
 */
export class VerificationStartV1 extends VerificationRefV1 {
  @IsArray() @ArrayMinSize(1) @ArrayMaxSize(VERIFIED_VOLUMES_MAX) @ValidateNested({ each: true }) @Type(() => VerificationVolumeV1) volumes!: VerificationVolumeV1[];
}

export interface VerifiedVolumeV1 {
  readonly vmId: string;
  readonly diskId: string;
  readonly readBytes: number;
  /** SHA-256 of the volume's whole image, hex. */
  readonly sha256: string;
}

export interface VerificationV1 {
  readonly state: 'reading' | 'read' | 'failed';
  /** Why it failed; empty otherwise. */
  readonly problem: string;
  readonly readBytes: number;
  readonly totalBytes: number;
  /** All of them when it is `read`, else none. */
  readonly volumes: readonly VerifiedVolumeV1[];
}
