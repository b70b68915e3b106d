import { Column, Entity, PrimaryColumn } from 'typeorm';

/** Users, their sessions and tokens, and failed log-ins. */

@Entity('users')
export class UserEntity {
  @PrimaryColumn('uuid') id!: string;
  @Column('text') name!: string;
  @Column('text', { name: 'password_hash' }) passwordHash!: string;
  @Column('jsonb') roles!: object;
  @Column('boolean', { name: 'is_disabled' }) isDisabled!: boolean;
  @Column('boolean', { name: 'is_password_to_be_changed' }) isPasswordToBeChanged!: boolean;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
  @Column('timestamptz', { name: 'last_login_at', nullable: true }) lastLoginAt!: Date | null;
}

@Entity('sessions')
export class SessionEntity {
  /** SHA-256 of the token: a copy of the table opens no session. */
  @PrimaryColumn('text', { name: 'token_hash' }) tokenHash!: string;
  @Column('uuid', { name: 'session_id' }) sessionId!: string;
  /** Null for people of the identity provider: `subject` and `roles` stand here instead. */
  @Column('uuid', { name: 'user_id', nullable: true }) userId!: string | null;
  @Column('text', { name: 'user_name' }) userName!: string;
  @Column('text', { nullable: true }) subject!: string | null;
  @Column('jsonb', { nullable: true }) roles!: object | null;
  @Column('text') address!: string;
  @Column('text') client!: string;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
  @Column('timestamptz', { name: 'used_at' }) usedAt!: Date;
  @Column('timestamptz', { name: 'expires_at' }) expiresAt!: Date;
}

@Entity('api_tokens')
export class ApiTokenEntity {
  @PrimaryColumn('uuid', { name: 'token_id' }) tokenId!: string;
  @Column('text', { name: 'token_hash' }) tokenHash!: string;
  @Column('text') name!: string;
  @Column('uuid', { name: 'user_id' }) userId!: string;
  @Column('jsonb') scopes!: string[];
  @Column('jsonb', { name: 'vpg_ids', nullable: true }) vpgIds!: string[] | null;
  @Column('timestamptz', { name: 'created_at' }) createdAt!: Date;
  @Column('timestamptz', { name: 'expires_at' }) expiresAt!: Date;
  @Column('timestamptz', { name: 'used_at', nullable: true }) usedAt!: Date | null;
}

@Entity('login_failures')
export class LoginFailureEntity {
  @PrimaryColumn('text') key!: string;
  @Column('int') failures!: number;
  @Column('timestamptz', { name: 'last_at' }) lastAt!: Date;
  @Column('timestamptz', { name: 'locked_until' }) lockedUntil!: Date;
}

/** Where a user has logged in from: failures elsewhere do not lock it there. */
@Entity('known_addresses')
export class KnownAddressEntity {
  @PrimaryColumn('uuid', { name: 'user_id' }) userId!: string;
  @PrimaryColumn('text') address!: string;
  @Column('timestamptz') at!: Date;
}

export const PEOPLE_ENTITIES = [UserEntity, SessionEntity, ApiTokenEntity, LoginFailureEntity, KnownAddressEntity];
