import { ApiProperty } from '@nestjs/swagger';
import { AUDIT_RESULT, type NameOf, SYSLOG_PROTOCOL } from './enumerations.js';
import { Choice, EnumNumber, Flag, Instant, Int, List, Section, Text, Texts } from './fields.js';

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
  @Text({ isRequired: true, description: 'Password, Oidc, Token, System, Peer, Appliance or Unknown.' }) Method!: string;
  @Text() TokenIdentifier?: string | null;
  @Text() SessionIdentifier?: string | null;
  @Text({ description: 'Of the identity provider; of Peer the site, of Appliance role and identifier.' }) Subject?: string | null;
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

/** `PUT` and `DELETE /localsite/settings/syslog`: how the collector before was left. */
export class SyslogSwitchApi {
  @Int({ isRequired: true, description: 'Entries, up to the one about this change, that the collector before has not taken. The next one gets them.' }) NotDelivered!: number;
}

/** `PUT /localsite/settings/syslog`; GET adds how far it came, and answers {} when nothing is forwarded. */
export class SyslogSettingsApi {
  @Choice(SYSLOG_PROTOCOL, { isRequired: true }) Protocol!: NameOf<typeof SYSLOG_PROTOCOL>;
  @Text({ isRequired: true, lengthMin: 1, lengthMax: 255 }) Host!: string;
  @Int({ min: 1, max: 65535, description: '514 for UDP, 601 for TCP, 6514 for TLS when absent.' }) Port?: number | null;
  @Text({ lengthMax: 100_000, hasLines: true, description: "Certificates of the collector's CA, PEM; absent: those of the system." }) CaPem?: string | null;
  @Int({ description: 'The last entry that the collector has taken. Shown, not set.' }) DeliveredSequence?: number | null;
  @Text({ description: 'Why it does not go on. Shown, not set.' }) Problem?: string | null;
}
