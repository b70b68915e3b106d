import type { MigrationInterface, QueryRunner } from 'typeorm';

const STATEMENTS = [
  `CREATE TABLE audit_entries (
    seq bigint PRIMARY KEY, entry jsonb NOT NULL, hash text NOT NULL,
    at_ms bigint NOT NULL GENERATED ALWAYS AS ((entry ->> 'atMs')::bigint) STORED)`,
  `CREATE UNIQUE INDEX audit_entries_id ON audit_entries ((entry ->> 'id'))`,
  `CREATE INDEX audit_entries_at_ms ON audit_entries (at_ms)`,
  `CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'audit_entries is append-only: % is refused', TG_OP; END $$`,
  `CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()`,
  // Also for a session that says it replicates.
  `ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_is_append_only`,
] as const;

/** The audit: appended to, and nothing else. */
export class Audit1795305602000 implements MigrationInterface {
  readonly name = 'Audit1795305602000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of STATEMENTS) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE audit_entries');
    await runner.query('DROP FUNCTION audit_is_append_only');
  }
}
