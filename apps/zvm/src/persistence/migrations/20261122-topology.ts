import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // Without a reference to vpgs: it is for VPGs that are gone.
  `CREATE TABLE vpg_tombstones (vpg_id uuid PRIMARY KEY, deleted_at timestamptz NOT NULL)`,
  `CREATE TABLE protected_vm_hosts (vpg_id uuid NOT NULL, vm_id text NOT NULL, host_id text NOT NULL, PRIMARY KEY (vpg_id, vm_id))`,
] as const;

export class Topology1795334402000 implements MigrationInterface {
  readonly name = 'Topology1795334402000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of UP) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['protected_vm_hosts', 'vpg_tombstones']) await runner.query(`DROP TABLE ${table}`);
  }
}
