import { Injectable } from '@nestjs/common';
import { newSecret, secretHash, timeText } from '@tidemark/trust';
import { randomUUID } from 'node:crypto';
import { Clock } from '../clock.js';
import { forbidden } from '../errors.js';
import { Database } from '../persistence/database.js';
import { TrustTokenEntity } from '../persistence/entities.js';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export type TokenKind = 'pairing' | 'enrolment';

/** Ended tokens are remembered that long, so that who shows one hears why it is refused. */
const KEPT = `interval '30 days'`;

export interface NewToken {
  readonly tokenId: string;
  readonly secret: string;
  readonly expiresAtMs: number;
}

export interface TokenProof {
  readonly kind: TokenKind;
  readonly tokenId: string;
  readonly secret: string;
  /** Digest of the keys that are to be signed: who asks again with the same ones lost the answer, who comes with others lost the race. */
  readonly usedBy: string;
}

/** The one-time tokens that this site has made: of the secret a hash, and the moment of use decided by one UPDATE. */
@Injectable()
export class TrustTokenStore {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** `bound`: what it is good for, looked at when it is redeemed. */
  async make({ kind, bound, lifetimeMs, madeBy }: { readonly kind: TokenKind; readonly bound: object; readonly lifetimeMs: number; readonly madeBy: string }): Promise<NewToken> {
    const made = { tokenId: randomUUID(), secret: newSecret(), expiresAtMs: this.clock.nowMs() + lifetimeMs };
    const createdAt = new Date(this.clock.nowMs());
    await this.database.use(async (db) => {
      await db.query(`DELETE FROM trust_tokens WHERE expires_at < $1::timestamptz - ${KEPT}`, [createdAt]);
      await db.insert(TrustTokenEntity, {
        tokenId: made.tokenId, kind, secretHash: secretHash(made.secret), bound, madeBy, createdAt, expiresAt: new Date(made.expiresAtMs), usedAt: null, usedBy: null,
      });
    });
    return made;
  }

  /** What a token is bound to. @throws ZvmError ZVM_FORBIDDEN for one that this site has not made, without a hint what was wrong with it */
  async look({ kind, tokenId, secret }: Omit<TokenProof, 'usedBy'>): Promise<Readonly<Record<string, unknown>>> {
    const row = await this.#find({ kind, tokenId, secret });
    return row.bound as Record<string, unknown>;
  }

  /** Uses it up; the same keys may come again until it ends or is closed. @throws ZvmError ZVM_FORBIDDEN saying whether it is unknown, used or over */
  async redeem(proof: TokenProof): Promise<void> {
    const now = new Date(this.clock.nowMs());
    const [rows] = await this.database.use((db) => db.query(
      `UPDATE trust_tokens SET used_at = coalesce(used_at, $1), used_by = $2
       WHERE token_id = $3 AND kind = $4 AND secret_hash = $5 AND expires_at > $1 AND (used_at IS NULL OR used_by = $2) RETURNING token_id`,
      [now, proof.usedBy, proof.tokenId, proof.kind, secretHash(proof.secret)],
    )) as [unknown[], number];
    if (rows.length === 1) return;
    const row = await this.#find(proof);
    if (row.expiresAt <= now) throw forbidden(`this token ended at ${timeText(row.expiresAt.getTime())}: ask for a new one`);
    throw forbidden(`this token was used already${row.usedAt ? ` at ${timeText(row.usedAt.getTime())}` : ''}: ask for a new one, and if it was not you who used it, look at who is in`);
  }

  /** Nobody redeems it any more, not even who did before. */
  async close(tokenId: string): Promise<void> {
    await this.database.use((db) => db.query(`UPDATE trust_tokens SET used_at = coalesce(used_at, $1), used_by = NULL WHERE token_id = $2`, [new Date(this.clock.nowMs()), tokenId]));
  }

  /** All of an instance but one. */
  async closeOthers({ role, instanceId, tokenId }: { readonly role: string; readonly instanceId: string; readonly tokenId: string | null }): Promise<void> {
    await this.database.use((db) => db.query(
      `UPDATE trust_tokens SET used_at = coalesce(used_at, $1), used_by = NULL
       WHERE kind = 'enrolment' AND bound->>'role' = $2 AND bound->>'instanceId' = $3 AND token_id IS DISTINCT FROM $4::uuid`,
      [new Date(this.clock.nowMs()), role, instanceId, tokenId],
    ));
  }

  async #find({ kind, tokenId, secret }: Omit<TokenProof, 'usedBy'>): Promise<TrustTokenEntity> {
    const row = UUID.test(tokenId) ? await this.database.use((db) => db.findOneBy(TrustTokenEntity, { tokenId, kind, secretHash: secretHash(secret) })) : null;
    if (!row) throw forbidden('this site has not made this token: copy all of it, or ask for a new one');
    return row;
  }
}
