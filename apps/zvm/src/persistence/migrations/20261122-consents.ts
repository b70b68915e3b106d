import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // What this site has asked a paired one to protect, from before it is asked until that one's record is here.
  `CREATE TABLE vpg_consents (vpg_id uuid PRIMARY KEY, recovery_site_id uuid NOT NULL, vm_ids jsonb NOT NULL, given_at timestamptz NOT NULL)`,
  `ALTER TABLE peer_sites ADD COLUMN can_protect boolean NOT NULL DEFAULT false`,
] as const;

const DOWN = [`ALTER TABLE peer_sites DROP COLUMN can_protect`, `DROP TABLE vpg_consents`] as const;

export class Consents1795334452000 implements MigrationInterface {
  readonly name = 'Consents1795334452000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}
