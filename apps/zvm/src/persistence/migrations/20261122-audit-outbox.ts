import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Entries that came with the change itself, in its transaction, on their way into the chain. */
export class AuditOutbox1795334454000 implements MigrationInterface {
  readonly name = 'AuditOutbox1795334454000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE audit_outbox (place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entry jsonb NOT NULL)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE audit_outbox');
  }
}
