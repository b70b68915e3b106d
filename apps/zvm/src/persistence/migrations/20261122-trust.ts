import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // Of a token only a hash of its secret: a copy of the table redeems nothing.
  `CREATE TABLE trust_tokens (
    token_id uuid PRIMARY KEY, kind text NOT NULL, secret_hash text NOT NULL, bound jsonb NOT NULL, made_by text NOT NULL, created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL, used_at timestamptz, used_by text)`,
  // NATS users that this site has signed: what a revocation must name.
  `CREATE TABLE nats_users (
    public_key text PRIMARY KEY, owner_kind text NOT NULL, owner_id text NOT NULL, created_at timestamptz NOT NULL, expires_at timestamptz NOT NULL,
    revoked_at timestamptz)`,
  `CREATE INDEX nats_users_owner ON nats_users (owner_kind, owner_id)`,
  `ALTER TABLE peer_sites ADD COLUMN state text NOT NULL DEFAULT 'paired'`,
  `ALTER TABLE peer_sites ADD COLUMN ca_pem jsonb NOT NULL DEFAULT '[]'`,
] as const;

const DOWN = [
  `ALTER TABLE peer_sites DROP COLUMN ca_pem`, `ALTER TABLE peer_sites DROP COLUMN state`, `DROP TABLE nats_users`, `DROP TABLE trust_tokens`,
] as const;

export class Trust1795334400000 implements MigrationInterface {
  readonly name = 'Trust1795334400000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}
