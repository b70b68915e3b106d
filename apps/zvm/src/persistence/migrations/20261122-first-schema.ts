import type { MigrationInterface, QueryRunner } from 'typeorm';

const STATEMENTS = [
  `CREATE TABLE users (
    id uuid PRIMARY KEY, name text NOT NULL UNIQUE, password_hash text NOT NULL, created_at timestamptz NOT NULL)`,
  `CREATE TABLE sessions (
    token_hash text PRIMARY KEY, user_name text NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_at timestamptz NOT NULL, used_at timestamptz NOT NULL)`,
  `CREATE INDEX sessions_used_at ON sessions (used_at)`,
  `CREATE TABLE peer_sites (
    site_id uuid PRIMARY KEY, name text NOT NULL, location text NOT NULL, version text NOT NULL,
    host_name text NOT NULL, port int NOT NULL, paired_at timestamptz NOT NULL)`,
  `CREATE TABLE vras (
    vra_id text PRIMARY KEY, host_id text NOT NULL UNIQUE, name text NOT NULL, state text NOT NULL, settings jsonb NOT NULL,
    address text NOT NULL, revision int NOT NULL, state_digest text NOT NULL, created_at timestamptz NOT NULL)`,
  `CREATE TABLE vpgs (
    vpg_id uuid PRIMARY KEY, name text NOT NULL, protected_site_id uuid NOT NULL, recovery_site_id uuid NOT NULL, state text NOT NULL,
    generation int NOT NULL, epoch int NOT NULL, epoch_max int NOT NULL, definition jsonb NOT NULL, failover jsonb,
    failover_test jsonb, last_test_at timestamptz, problem text, created_at timestamptz NOT NULL)`,
  // Removed VPGs stay until the other site has confirmed; their names are free at once.
  `CREATE UNIQUE INDEX vpgs_name ON vpgs (lower(name)) WHERE state <> 'removed'`,
  `CREATE TABLE vpg_barriers (vpg_id uuid PRIMARY KEY, version int NOT NULL, digest text NOT NULL)`,
  `CREATE TABLE vpg_vms (
    vpg_id uuid NOT NULL REFERENCES vpgs (vpg_id) ON DELETE CASCADE, vm_id text NOT NULL, name text NOT NULL, position int NOT NULL,
    PRIMARY KEY (vpg_id, vm_id))`,
  `CREATE INDEX vpg_vms_vm_id ON vpg_vms (vm_id)`,
  `CREATE TABLE vpg_settings_drafts (draft_id uuid PRIMARY KEY, vpg_id uuid, settings jsonb NOT NULL, used_at timestamptz NOT NULL)`,
  `CREATE TABLE tasks (
    task_id text PRIMARY KEY, type text NOT NULL, state text NOT NULL, progress int NOT NULL, initiated_by text NOT NULL, reason text NOT NULL,
    related jsonb NOT NULL, runner_site_id uuid NOT NULL, started_at timestamptz NOT NULL, completed_at timestamptz, generation int NOT NULL)`,
  `CREATE INDEX tasks_started_at ON tasks (started_at)`,
  `CREATE TABLE operations (
    task_id text PRIMARY KEY, kind text NOT NULL, vpg_id uuid, input jsonb NOT NULL, run jsonb NOT NULL, is_done boolean NOT NULL,
    created_at timestamptz NOT NULL)`,
  `CREATE INDEX operations_open ON operations (created_at) WHERE NOT is_done`,
  `CREATE TABLE checkpoints (
    vpg_id uuid NOT NULL, checkpoint_id bigint NOT NULL, at timestamptz NOT NULL, tag text, kind text NOT NULL, epoch int NOT NULL,
    term bigint NOT NULL, vm_ids jsonb NOT NULL, PRIMARY KEY (vpg_id, checkpoint_id))`,
  `CREATE TABLE catalogues (vpg_id uuid PRIMARY KEY, revision int NOT NULL, first_listed_at timestamptz)`,
  `CREATE TABLE checkpoint_notes (
    vpg_id uuid NOT NULL, checkpoint_id bigint NOT NULL, tag text NOT NULL, PRIMARY KEY (vpg_id, checkpoint_id))`,
  `CREATE TABLE alerts (
    alert_id uuid PRIMARY KEY, help_identifier text NOT NULL, subject text NOT NULL, level text NOT NULL, entity text NOT NULL,
    description text NOT NULL, vpg_ids jsonb NOT NULL, is_dismissed boolean NOT NULL, turned_on_at timestamptz NOT NULL,
    turned_off_at timestamptz)`,
  `CREATE UNIQUE INDEX alerts_active ON alerts (help_identifier, subject) WHERE turned_off_at IS NULL`,
  `CREATE TABLE events (
    event_id uuid PRIMARY KEY, type text NOT NULL, category text NOT NULL, entity text NOT NULL, description text NOT NULL,
    user_name text NOT NULL, is_success boolean NOT NULL, vpg_ids jsonb NOT NULL, occurred_at timestamptz NOT NULL)`,
  `CREATE INDEX events_occurred_at ON events (occurred_at)`,
  `CREATE TABLE site_settings (section text PRIMARY KEY, content jsonb NOT NULL)`,
] as const;

const TABLES = [
  'site_settings', 'events', 'alerts', 'checkpoint_notes', 'catalogues', 'checkpoints', 'operations', 'tasks', 'vpg_settings_drafts', 'vpg_vms', 'vpg_barriers',
  'vpgs', 'vras', 'peer_sites', 'sessions', 'users',
] as const;

/** TypeORM orders migrations by the 13 digits that end the name. */
export class FirstSchema1795305600000 implements MigrationInterface {
  readonly name = 'FirstSchema1795305600000';

  async up(runner: QueryRunner): Promise<void> {
    for (const statement of STATEMENTS) await runner.query(statement);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of TABLES) await runner.query(`DROP TABLE ${table}`);
  }
}
