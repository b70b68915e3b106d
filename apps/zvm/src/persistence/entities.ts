import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { VoidedComponent } from '@tidemark/trust';
import { PEOPLE_ENTITIES } from './people.entities.js';

/**
 * Rows as PostgreSQL holds them. Nothing outside this folder sees them: the stores map them to the domain's own types. The
 * schema is made by the migrations alone; these classes only describe it.
 */

@Entity('peer_sites')
export class PeerSiteEntity {
  @PrimaryColumn('uuid', { name: 'site_id' }) siteId!: string;
  @Column('text') name!: string;
  @Column('text') location!: string;
  @Column('text') version!: string;
  @Column('text', { name: 'host_name' }) hostName!: string;
  @Column('int') port!: number;
  @Column('timestamptz', { name: 'paired_at' }) pairedAt!: Date;
  @Column('text') state!: string;
  @Column('jsonb', { name: 'ca_pem' }) caPem!: string[];
  @Column('jsonb') voided!: VoidedComponent[];
  @Column('boolean', { name: 'can_protect' }) canProtect!: boolean;
}

@Entity('vras')
export class VraEntity {
  @PrimaryColumn('text', { name: 'vra_id' }) vraId!: string;
  @Column('text', { name: 'host_id' }) hostId!: string;
  @Column('text') name!: string;
  @Column('text') state!: string;
  @Column('jsonb') settings!: object;
  @Column('text') address!: string;
  @Column('int') revision!: number;
  @Column('text', { name: 'state_digest' }) stateDigest!: string;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
}

@Entity('vpgs')
export class VpgEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @Column('text') name!: string;
  @Column('uuid', { name: 'protected_site_id' }) protectedSiteId!: string;
  @Column('uuid', { name: 'recovery_site_id' }) recoverySiteId!: string;
  @Column('text') state!: string;
  @Column('int') generation!: number;
  @Column('int') epoch!: number;
  /** Highest epoch ever reserved: a burned one is never handed out again. */
  @Column('int', { name: 'epoch_max' }) epochMax!: number;
  @Column('jsonb') definition!: object;
  @Column('jsonb', { nullable: true }) failover!: object | null;
  @Column('jsonb', { name: 'failover_test', nullable: true }) failoverTest!: object | null;
  @Column('timestamptz', { name: 'last_test_at', nullable: true }) lastTestAt!: Date | null;
  @Column('text', { nullable: true }) problem!: string | null;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
}

@Entity('vpg_barriers')
export class VpgBarrierEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @Column('int') version!: number;
  @Column('text') digest!: string;
}

@Entity('vpg_fences')
export class VpgFenceEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @Column('text', { name: 'vpg_name' }) vpgName!: string;
  @Column('uuid', { name: 'owner_site_id' }) ownerSiteId!: string;
  @Column('text', { name: 'owner_site_name' }) ownerSiteName!: string;
  @Column('jsonb', { name: 'vm_ids' }) vmIds!: string[];
  @Column('int') epoch!: number;
  @Column('timestamptz', { name: 'fenced_at' }) fencedAt!: Date;
  @Column('timestamptz', { name: 'lifted_at', nullable: true }) liftedAt!: Date | null;
  @Column('text', { name: 'lifted_by', nullable: true }) liftedBy!: string | null;
}

@Entity('vpg_tombstones')
export class VpgTombstoneEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @Column('timestamptz', { name: 'deleted_at' }) deletedAt!: Date;
}

@Entity('vpg_consents')
export class VpgConsentEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @Column('uuid', { name: 'recovery_site_id' }) recoverySiteId!: string;
  @Column('jsonb', { name: 'vm_ids' }) vmIds!: string[];
  @Column('timestamptz', { name: 'given_at' }) givenAt!: Date;
}

@Entity('protected_vm_hosts')
export class ProtectedVmHostEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @PrimaryColumn('text', { name: 'vm_id' }) vmId!: string;
  @Column('text', { name: 'host_id' }) hostId!: string;
}

@Entity('vpg_vms')
export class VpgVmEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @PrimaryColumn('text', { name: 'vm_id' }) vmId!: string;
  @Column('text') name!: string;
  @Column('int') position!: number;
}

@Entity('vpg_settings_drafts')
export class VpgSettingsDraftEntity {
  @PrimaryColumn('uuid', { name: 'draft_id' }) draftId!: string;
  @Column('uuid', { name: 'vpg_id', nullable: true }) vpgId!: string | null;
  @Column('jsonb') settings!: object;
  @Column('timestamptz', { name: 'used_at' }) usedAt!: Date;
}

@Entity('tasks')
export class TaskEntity {
  @PrimaryColumn('text', { name: 'task_id' }) taskId!: string;
  @Column('text') type!: string;
  @Column('text') state!: string;
  @Column('int') progress!: number;
  @Column('text', { name: 'initiated_by' }) initiatedBy!: string;
  @Column('text') reason!: string;
  @Column('jsonb') related!: object;
  /** Which site runs it; its own tasks carry this site's id. */
  @Column('uuid', { name: 'runner_site_id' }) runnerSiteId!: string;
  @Column('timestamptz', { name: 'started_at' }) startedAt!: Date;
  @Column('timestamptz', { name: 'completed_at', nullable: true }) completedAt!: Date | null;
  @Column('int') generation!: number;
}

@Entity('operations')
export class OperationEntity {
  @PrimaryColumn('text', { name: 'task_id' }) taskId!: string;
  @Column('text') kind!: string;
  @Column('uuid', { name: 'vpg_id', nullable: true }) vpgId!: string | null;
  @Column('jsonb') input!: object;
  @Column('jsonb') run!: object;
  @Column('boolean', { name: 'is_done' }) isDone!: boolean;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
}

@Entity('checkpoints')
export class CheckpointEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  /** bigint arrives as a string; ids stay far below 2^53. */
  @PrimaryColumn('bigint', { name: 'checkpoint_id' }) checkpointId!: string;
  @Column('timestamptz') at!: Date;
  @Column('text', { nullable: true }) tag!: string | null;
  @Column('text') kind!: string;
  @Column('int') epoch!: number;
  @Column('bigint') term!: string;
  @Column('jsonb', { name: 'vm_ids' }) vmIds!: string[];
}

@Entity('catalogues')
export class CatalogueEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  /** Grows with every change of the VPG's list; the peer's copy says which revision it holds. */
  @Column('int') revision!: number;
  /** When the first checkpoint of the VPG's history was listed. */
  @Column('timestamptz', { name: 'first_listed_at', nullable: true }) firstListedAt!: Date | null;
}

@Entity('checkpoint_notes')
export class CheckpointNoteEntity {
  @PrimaryColumn('uuid', { name: 'vpg_id' }) vpgId!: string;
  @PrimaryColumn('bigint', { name: 'checkpoint_id' }) checkpointId!: string;
  @Column('text') tag!: string;
}

@Entity('alerts')
export class AlertEntity {
  @PrimaryColumn('uuid', { name: 'alert_id' }) alertId!: string;
  @Column('text', { name: 'help_identifier' }) helpIdentifier!: string;
  /** What it is about; with the help identifier one active alert at most. */
  @Column('text') subject!: string;
  @Column('text') level!: string;
  @Column('text') entity!: string;
  @Column('text') description!: string;
  @Column('jsonb', { name: 'vpg_ids' }) vpgIds!: string[];
  @Column('boolean', { name: 'is_dismissed' }) isDismissed!: boolean;
  @Column('timestamptz', { name: 'turned_on_at' }) turnedOnAt!: Date;
  @Column('timestamptz', { name: 'turned_off_at', nullable: true }) turnedOffAt!: Date | null;
}

@Entity('events')
export class EventEntity {
  @PrimaryColumn('uuid', { name: 'event_id' }) eventId!: string;
  @Column('text') type!: string;
  @Column('text') category!: string;
  @Column('text') entity!: string;
  @Column('text') description!: string;
  @Column('text', { name: 'user_name' }) userName!: string;
  @Column('boolean', { name: 'is_success' }) isSuccess!: boolean;
  @Column('jsonb', { name: 'vpg_ids' }) vpgIds!: string[];
  @Column('timestamptz', { name: 'occurred_at' }) occurredAt!: Date;
}

/** One-time tokens that this site has made. */
@Entity('trust_tokens')
export class TrustTokenEntity {
  @PrimaryColumn('uuid', { name: 'token_id' }) tokenId!: string;
  @Column('text') kind!: string;
  /** SHA-256 of the secret. */
  @Column('text', { name: 'secret_hash' }) secretHash!: string;
  /** What it is good for: role, instance and host of an enrolment; its own NATS user of a pairing. */
  @Column('jsonb') bound!: object;
  @Column('text', { name: 'made_by' }) madeBy!: string;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
  @Column('timestamptz', { name: 'expires_at' }) expiresAt!: Date;
  @Column('timestamptz', { name: 'used_at', nullable: true }) usedAt!: Date | null;
  /** Digest of the keys that it was redeemed with: the same keys may ask again, nobody else. */
  @Column('text', { name: 'used_by', nullable: true }) usedBy!: string | null;
}

@Entity('nats_users')
export class NatsUserEntity {
  @PrimaryColumn('text', { name: 'public_key' }) publicKey!: string;
  @Column('text', { name: 'owner_kind' }) ownerKind!: string;
  @Column('text', { name: 'owner_id' }) ownerId!: string;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
  @Column('timestamptz', { name: 'expires_at' }) expiresAt!: Date;
  @Column('timestamptz', { name: 'revoked_at', nullable: true }) revokedAt!: Date | null;
}

@Entity('voided_components')
export class VoidedComponentEntity {
  @PrimaryColumn('text') role!: string;
  @PrimaryColumn('text', { name: 'instance_id' }) instanceId!: string;
  @Column('timestamptz') before!: Date;
  @Column('timestamptz', { name: 'ends_at' }) endsAt!: Date;
}

/** A backup appliance of this site. */
@Entity('vbas')
export class VbaEntity {
  @PrimaryColumn('text', { name: 'vba_id' }) vbaId!: string;
  @Column('text') name!: string;
  @Column('text', { name: 'host_id' }) hostId!: string;
  @Column('text') address!: string;
  @Column('text') state!: string;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
}

/** What an administrator set for the site as a whole; one row per section. */
@Entity('site_settings')
export class SiteSettingEntity {
  @PrimaryColumn('text') section!: string;
  @Column('jsonb') content!: object;
}

export const ENTITIES = [
  ...PEOPLE_ENTITIES, PeerSiteEntity, VraEntity, VpgEntity, VpgBarrierEntity, VpgFenceEntity, VpgTombstoneEntity, ProtectedVmHostEntity, VpgVmEntity, VpgSettingsDraftEntity,
  TaskEntity, OperationEntity, CheckpointEntity, CatalogueEntity, CheckpointNoteEntity, AlertEntity, EventEntity, SiteSettingEntity,
  TrustTokenEntity, NatsUserEntity, VoidedComponentEntity, VbaEntity, VpgConsentEntity,
];
