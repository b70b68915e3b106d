import type { MigrationInterface, QueryRunner } from 'typeorm';

/** VMs of this site that another site owns since a failover. A row outlives its VPG: what fenced the VMs does not end with it. */
export class Fences1795305604000 implements MigrationInterface {
  readonly name = 'Fences1795305604000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE vpg_fences (
      vpg_id uuid PRIMARY KEY, vpg_name text NOT NULL, owner_site_id uuid NOT NULL, owner_site_name text NOT NULL, vm_ids jsonb NOT NULL, epoch int NOT NULL,
      fenced_at timestamptz NOT NULL, lifted_at timestamptz, lifted_by text)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE vpg_fences');
  }
}
