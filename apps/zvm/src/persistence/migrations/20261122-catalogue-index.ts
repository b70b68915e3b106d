import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Checkpoints of a VPG are asked for by time too, among half a million. */
export class CatalogueIndex1795334401000 implements MigrationInterface {
  readonly name = 'CatalogueIndex1795334401000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE INDEX checkpoints_at ON checkpoints (vpg_id, at)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP INDEX checkpoints_at');
  }
}
