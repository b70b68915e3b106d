import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `CREATE TABLE vbas (vba_id text PRIMARY KEY, name text NOT NULL UNIQUE, host_id text NOT NULL UNIQUE, address text NOT NULL, state text NOT NULL, created_at timestamptz NOT NULL)`,
  `ALTER TABLE voided_vras RENAME TO voided_components`,
  `ALTER TABLE voided_components RENAME COLUMN vra_id TO instance_id`,
  `ALTER TABLE voided_components ADD COLUMN role text NOT NULL DEFAULT 'vra'`,
  `ALTER TABLE voided_components DROP CONSTRAINT voided_vras_pkey`,
  `ALTER TABLE voided_components ADD PRIMARY KEY (role, instance_id)`,
  `ALTER TABLE voided_components ALTER COLUMN role DROP DEFAULT`,
  `UPDATE peer_sites SET voided = (SELECT coalesce(jsonb_agg((one - 'vraId') || jsonb_build_object('role', 'vra', 'instanceId', one->'vraId')), '[]') FROM jsonb_array_elements(voided) one)`,
] as const;

const DOWN = [
  `UPDATE peer_sites SET voided = (SELECT coalesce(jsonb_agg((one - 'role' - 'instanceId') || jsonb_build_object('vraId', one->'instanceId')), '[]') FROM jsonb_array_elements(voided) one WHERE one->>'role' = 'vra')`,
  `DELETE FROM voided_components WHERE role <> 'vra'`,
  `ALTER TABLE voided_components DROP COLUMN role`,
  `ALTER TABLE voided_components RENAME COLUMN instance_id TO vra_id`,
  `ALTER TABLE voided_components ADD CONSTRAINT voided_vras_pkey PRIMARY KEY (vra_id)`,
  `ALTER TABLE voided_components RENAME TO voided_vras`,
  `DROP TABLE vbas`,
] as const;

export class Vbas1795334405000 implements MigrationInterface {
  readonly name = 'Vbas1795334405000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await runner.query(statement);
  }
}
