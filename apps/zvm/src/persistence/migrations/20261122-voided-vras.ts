import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // Of this site: certificates of a VRA that begin before the instant are void. Nothing is left to void after ends_at: the last of them is over.
  `CREATE TABLE voided_vras (vra_id text PRIMARY KEY, before timestamptz NOT NULL, ends_at timestamptz NOT NULL)`,
  `ALTER TABLE peer_sites ADD COLUMN voided jsonb NOT NULL DEFAULT '[]'`,
] as const;

const DOWN = [`ALTER TABLE peer_sites DROP COLUMN voided`, `DROP TABLE voided_vras`] as const;

export class VoidedVras1795334403000 implements MigrationInterface {
  readonly name = 'VoidedVras1795334403000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}
