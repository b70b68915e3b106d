import type { MigrationInterface, QueryRunner } from 'typeorm';

const STATEMENTS = [
  // Who was there before roles came is the administrator that the first start makes.
  `ALTER TABLE users
    ADD COLUMN roles jsonb NOT NULL DEFAULT '[{"role": "administrator", "vpgIds": null}]',
    ADD COLUMN is_disabled boolean NOT NULL DEFAULT false,
    ADD COLUMN is_password_to_be_changed boolean NOT NULL DEFAULT false,
    ADD COLUMN last_login_at timestamptz`,
  `ALTER TABLE users ALTER COLUMN roles DROP DEFAULT`,
  `CREATE UNIQUE INDEX users_name_in_any_case ON users (lower(name))`,
  `DROP TABLE sessions`,
  `CREATE TABLE sessions (
    token_hash text PRIMARY KEY, session_id uuid NOT NULL UNIQUE, user_id uuid REFERENCES users (id) ON DELETE CASCADE, user_name text NOT NULL,
    subject text, roles jsonb, address text NOT NULL, client text NOT NULL, created_at timestamptz NOT NULL, used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL, CHECK ((user_id IS NULL) = (subject IS NOT NULL AND roles IS NOT NULL)))`,
  `CREATE INDEX sessions_user_id ON sessions (user_id)`,
  `CREATE TABLE api_tokens (
    token_id uuid PRIMARY KEY, token_hash text NOT NULL UNIQUE, name text NOT NULL, user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    scopes jsonb NOT NULL, vpg_ids jsonb, created_at timestamptz NOT NULL, expires_at timestamptz NOT NULL, used_at timestamptz)`,
  `CREATE INDEX api_tokens_user_id ON api_tokens (user_id)`,
  `CREATE TABLE login_failures (
    key text PRIMARY KEY, failures int NOT NULL, last_at timestamptz NOT NULL, locked_until timestamptz NOT NULL)`,
  `CREATE TABLE known_addresses (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE, address text NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (user_id, address))`,
] as const;

/** Roles, sessions with an end, API tokens, failed log-ins. */
export class People1795305601000 implements MigrationInterface {
  readonly name = 'People1795305601000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of STATEMENTS) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['known_addresses', 'login_failures', 'api_tokens', 'sessions']) await runner.query(`DROP TABLE ${table}`);
    await runner.query('DROP INDEX users_name_in_any_case');
    await runner.query('ALTER TABLE users DROP COLUMN roles, DROP COLUMN is_disabled, DROP COLUMN is_password_to_be_changed, DROP COLUMN last_login_at');
    await runner.query(`CREATE TABLE sessions (
      token_hash text PRIMARY KEY, user_name text NOT NULL REFERENCES users (name) ON DELETE CASCADE, created_at timestamptz NOT NULL, used_at timestamptz NOT NULL)`);
  }
}
