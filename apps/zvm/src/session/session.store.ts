import { Injectable } from '@nestjs/common';
import type { RoleGrant } from '../access/permissions.js';
import { Database } from '../persistence/database.js';
import { SessionEntity } from '../persistence/people.entities.js';

export interface SessionRecord {
  readonly sessionId: string;
  /** Null: a person of the identity provider, with `subject` and `roles` from there. */
  readonly userId: string | null;
  readonly userName: string;
  readonly subject: string | null;
  readonly roles: readonly RoleGrant[] | null;
  readonly address: string;
  readonly client: string;
  readonly createdAtMs: number;
  readonly usedAtMs: number;
  readonly expiresAtMs: number;
}

/** A session and what its user is now. */
export interface LiveSession extends SessionRecord {
  readonly roles: readonly RoleGrant[];
  readonly isPasswordToBeChanged: boolean;
}

interface LiveRow {
  readonly session_id: string;
  readonly user_id: string | null;
  readonly user_name: string;
  readonly subject: string | null;
  readonly roles: RoleGrant[];
  readonly address: string;
  readonly client: string;
  readonly created_at: Date;
  readonly used_at: Date;
  readonly expires_at: Date;
  readonly is_password_to_be_changed: boolean;
}

const TOUCH = `
  WITH touched AS (
    UPDATE sessions SET used_at = $2 WHERE token_hash = $1 AND used_at > $3 AND expires_at > $2 RETURNING *)
  SELECT t.session_id, t.user_id, coalesce(u.name, t.user_name) AS user_name, t.subject, coalesce(u.roles, t.roles) AS roles, t.address, t.client,
    t.created_at, t.used_at, t.expires_at, coalesce(u.is_password_to_be_changed, false) AS is_password_to_be_changed
  FROM touched t LEFT JOIN users u ON u.id = t.user_id
  WHERE u.is_disabled IS NOT TRUE`;

/** Open sessions; what opens one is known as a hash only. */
@Injectable()
export class SessionStore {
  constructor(private readonly database: Database) {}

  async add(tokenHash: string, session: SessionRecord): Promise<void> {
    await this.database.use((db) => db.insert(SessionEntity, toRow(tokenHash, session)));
  }

  /** The session, if it was used after `usedAfter` and has not expired; it then counts as used `at`. */
  async touch(tokenHash: string, { at, usedAfter }: { readonly at: Date; readonly usedAfter: Date }): Promise<LiveSession | undefined> {
    const rows: LiveRow[] = await this.database.use((db) => db.query(TOUCH, [tokenHash, at, usedAfter]));
    const [row] = rows;
    return row && {
      sessionId: row.session_id, userId: row.user_id, userName: row.user_name, subject: row.subject, roles: row.roles, address: row.address, client: row.client,
      createdAtMs: row.created_at.getTime(), usedAtMs: row.used_at.getTime(), expiresAtMs: row.expires_at.getTime(), isPasswordToBeChanged: row.is_password_to_be_changed,
    };
  }

  async list(): Promise<SessionRecord[]> {
    return (await this.database.use((db) => db.find(SessionEntity, { order: { createdAt: 'DESC' } }))).map(fromRow);
  }

  /** False: there was none. */
  async remove(sessionId: string): Promise<boolean> {
    return ((await this.database.use((db) => db.delete(SessionEntity, { sessionId }))).affected ?? 0) > 0;
  }

  async removeEnded({ at, usedBefore }: { readonly at: Date; readonly usedBefore: Date }): Promise<void> {
    await this.database.use((db) => db.createQueryBuilder().delete().from(SessionEntity).where('used_at <= :usedBefore OR expires_at <= :at', { usedBefore, at }).execute());
  }
}

function toRow(tokenHash: string, { createdAtMs, usedAtMs, expiresAtMs, roles, ...session }: SessionRecord): SessionEntity {
  return { ...session, tokenHash, roles: roles === null ? null : [...roles], createdAt: new Date(createdAtMs), usedAt: new Date(usedAtMs), expiresAt: new Date(expiresAtMs) };
}

function fromRow({ tokenHash: _, createdAt, usedAt, expiresAt, roles, ...row }: SessionEntity): SessionRecord {
  return { ...row, roles: roles as RoleGrant[] | null, createdAtMs: createdAt.getTime(), usedAtMs: usedAt.getTime(), expiresAtMs: expiresAt.getTime() };
}
