import { ApiProperty } from '@nestjs/swagger';
import { AUDIT_RESULT } from './enumerations.js';
import { EnumNumber, Flag, Instant, Int, List, Section, Text, Texts } from './fields.js';

/** Both sides as JSON text; a secret shows that it changed and nothing else. */
export class AuditChangeApi {
  @Text({ isRequired: true }) Path!: string;
  @Text({ isRequired: true }) Before!: string;
  @Text({ isRequired: true }) After!: string;
}

export class AuditEntryApi {
  @Int({ isRequired: true }) Sequence!: number;
  @Text({ isRequired: true, description: 'SHA-256 over the hash of the entry before, the number and the entry.' }) Hash!: string;
  @Instant({ isRequired: true }) OccurredOn!: string;
  @Text({ isRequired: true }) UserName!: string;
  @Text({ isRequired: true, description: 'Password, Oidc, Token, System, Peer or Unknown.' }) Method!: string;
  @Text() TokenIdentifier?: string | null;
  @Text() SessionIdentifier?: string | null;
  @Text({ description: 'Of the identity provider.' }) Subject?: string | null;
  @Text() Address?: string | null;
  @Text() Client?: string | null;
  @Text({ isRequired: true }) Action!: string;
  @Text() Permission?: string | null;
  @Texts({ isRequired: true, description: 'vpg:<id>, user:<id>, …' }) Entities!: string[];
  @ApiProperty({ type: 'object', additionalProperties: true, nullable: true }) Input?: object | null;
  @List(() => AuditChangeApi) Changes?: AuditChangeApi[] | null;
  @EnumNumber(AUDIT_RESULT, { isRequired: true }) Result!: number;
  @Int() Status?: number | null;
  @Text() Message?: string | null;
  @Text() TaskIdentifier?: string | null;
}

export class AuditBreakApi {
  @Int({ isRequired: true }) Sequence!: number;
  @Text({ isRequired: true, description: 'missing, changed, cutAtEnd, rewritten or recorded.' }) Kind!: string;
  @Text({ isRequired: true }) Detail!: string;
}

/** `GET /audit/verify` */
export class AuditVerificationApi {
  @Flag({ isRequired: true }) IsIntact!: boolean;
  @Int({ isRequired: true }) Count!: number;
  @Int({ isRequired: true }) LastSequence!: number;
  @Text({ isRequired: true }) LastHash!: string;
  @Section(() => AuditBreakApi) FirstBreak?: AuditBreakApi | null;
}
