import { Injectable } from '@nestjs/common';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { Caller } from '../access/caller.js';
import { type Permission, Rights, type RoleGrant } from '../access/permissions.js';
import { currentNote } from '../audit/audit-note.js';
import { Clock } from '../clock.js';
import { forbidden, invalid, notFound, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { ApiTokenEntity } from '../persistence/people.entities.js';

export const TOKEN_PREFIX = 'tdm_';
const LIFE_MS_MAX = 366 * 24 * 3_600_000;
const TOKENS_PER_USER_MAX = 50;
/** The last use is written down this often at most. */
const USED_EVERY_MS = 60_000;

export interface TokenRecord {
  readonly tokenId: string;
  readonly name: string;
  readonly userId: string;
  readonly userName: string;
  readonly scopes: readonly Permission[];
  readonly vpgIds: readonly string[] | null;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly usedAtMs: number | null;
}

export interface TokenWish {
  readonly name: string;
  readonly scopes: readonly Permission[];
  readonly vpgIds: readonly string[] | null;
  readonly expiresAtMs: number;
}

interface TokenRow {
  readonly token_id: string;
  readonly name: string;
  readonly user_id: string;
  readonly user_name: string;
  readonly scopes: Permission[];
  readonly vpg_ids: string[] | null;
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly used_at: Date | null;
  readonly roles: RoleGrant[];
  readonly is_disabled: boolean;
}

const SELECT = 'SELECT t.*, u.name AS user_name, u.roles, u.is_disabled FROM api_tokens t JOIN users u ON u.id = t.user_id';
const hashOf = (token: string): string => createHash('sha256').update(token).digest('hex');

/**
 * API tokens for programs: 256 random bits, kept as a hash. A token never allows more than its owner may at the moment of the call: its scopes
 * narrow the owner's roles.
 */
@Injectable()
export class TokenService {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** The token is in this answer and nowhere else. @throws ZvmError ZVM_INVALID, ZVM_FORBIDDEN */
  async create(wish: TokenWish, owner: Caller): Promise<{ readonly token: string; readonly record: TokenRecord }> {
    const { userId, rights } = owner;
    if (userId === null || owner.method !== 'Password') throw forbidden('API tokens are made in a session of a user of this site');
    const now = this.clock.nowMs();
    if (!(wish.expiresAtMs > now)) throw invalid('Expires: it must be in the future');
    if (wish.expiresAtMs > now + LIFE_MS_MAX) throw invalid('Expires: at most a year away');
    if (wish.scopes.length === 0) throw invalid('Scopes: at least one permission');
    for (const scope of wish.scopes) if (!rights.canSomewhere(scope)) throw forbidden(`'${owner.name}' does not have the permission ${scope} and cannot give it to a token`);
    if ((await this.list(userId)).length >= TOKENS_PER_USER_MAX) throw invalid(`'${owner.name}' has ${TOKENS_PER_USER_MAX} tokens: revoke some first`);
    const token = `${TOKEN_PREFIX}${randomBytes(32).toString('base64url')}`;
    const row = {
      tokenId: randomUUID(), tokenHash: hashOf(token), name: wish.name, userId, scopes: [...new Set(wish.scopes)], vpgIds: wish.vpgIds === null ? null : [...wish.vpgIds],
      createdAt: new Date(now), expiresAt: new Date(wish.expiresAtMs), usedAt: null,
    };
    await this.database.use((db) => db.insert(ApiTokenEntity, row));
    currentNote()?.entities.add(`token:${row.tokenId}`);
    const record: TokenRecord = {
      tokenId: row.tokenId, name: wish.name, userId, userName: owner.name, scopes: row.scopes, vpgIds: row.vpgIds, createdAtMs: now, expiresAtMs: wish.expiresAtMs, usedAtMs: null,
    };
    return { token, record };
  }

  /** Who speaks with this token. @throws ZvmError ZVM_UNAUTHORIZED */
  async callerOf(token: string): Promise<Caller> {
    const now = this.clock.nowMs();
    const rows: TokenRow[] = await this.database.use((db) => db.query(`${SELECT} WHERE t.token_hash = $1`, [hashOf(token)]));
    const [row] = rows;
    if (!row || row.is_disabled) throw new ZvmError('ZVM_UNAUTHORIZED', 'this API token is unknown or revoked');
    if (row.expires_at.getTime() <= now) throw new ZvmError('ZVM_UNAUTHORIZED', `the API token '${row.name}' has expired at ${row.expires_at.toISOString()}`);
    if ((row.used_at?.getTime() ?? 0) < now - USED_EVERY_MS) await this.database.use((db) => db.update(ApiTokenEntity, { tokenId: row.token_id }, { usedAt: new Date(now) }));
    return {
      name: row.user_name, method: 'Token', userId: row.user_id, subject: null, sessionId: null, tokenId: row.token_id,
      rights: new Rights(row.roles, { permissions: row.scopes, vpgIds: row.vpg_ids }), expiresAtMs: row.expires_at.getTime(), isPasswordToBeChanged: false,
    };
  }

  /** Newest first; of one user, or all. */
  async list(userId: string | null): Promise<TokenRecord[]> {
    const rows: TokenRow[] = await this.database.use((db) => db.query(`${SELECT} WHERE $1::uuid IS NULL OR t.user_id = $1 ORDER BY t.created_at DESC`, [userId]));
    return rows.map((row) => ({
      tokenId: row.token_id, name: row.name, userId: row.user_id, userName: row.user_name, scopes: row.scopes, vpgIds: row.vpg_ids,
      createdAtMs: row.created_at.getTime(), expiresAtMs: row.expires_at.getTime(), usedAtMs: row.used_at?.getTime() ?? null,
    }));
  }

  async get(tokenId: string): Promise<TokenRecord> {
    const found = (await this.list(null)).find((token) => token.tokenId === tokenId.toLowerCase());
    if (!found) throw notFound('API token', tokenId);
    return found;
  }

  async revoke(tokenId: string): Promise<void> {
    await this.database.use((db) => db.delete(ApiTokenEntity, { tokenId }));
  }
}
