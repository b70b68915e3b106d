import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, chown, mkdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { LabError } from '../lab-error.js';
import { PORTS, type SiteLayout } from '../layout.js';
import { isRunning, procStat } from '../process/proc.js';
import type { ProcessSpec } from '../process/process-registry.js';
import { findPostgresBin, postgresUser, type SystemUser } from './programs.js';

const run = promisify(execFile);
const ROLE = 'tidemark';
const DATABASE = 'tidemark';
const CLUSTER = 'cluster';

export const databaseUrl = (site: SiteLayout, password: string): string =>
  `postgres://${ROLE}:${password}@${site.managerAddress}:${PORTS.postgres}/${DATABASE}`;

/** Durability as in production (fsync stays on): what the ZVM committed must survive `lab kill`. */
const configuration = (site: SiteLayout): string => `
listen_addresses = '${site.managerAddress}'
port = ${PORTS.postgres}
unix_socket_directories = ''
password_encryption = scram-sha-256
fsync = on
shared_buffers = 32MB
max_connections = 50
timezone = 'UTC'
`;

/** Makes the site's cluster when there is none, and says how its server is started. */
export async function postgresSpec(site: SiteLayout, password: string): Promise<ProcessSpec> {
  const bin = findPostgresBin();
  const user = postgresUser();
  const clusterFolder = join(site.postgresFolder, CLUSTER);
  if (!existsSync(join(site.postgresFolder, 'complete'))) await makeCluster(site, { bin, user, clusterFolder, password });
  return {
    name: 'postgres',
    command: join(bin, 'postgres'),
    args: ['-D', clusterFolder],
    env: {},
    cwd: site.postgresFolder,
    logPath: join(site.logFolder, 'postgres.log'),
    listens: [`${site.managerAddress}:${PORTS.postgres}`],
    endSignal: 'SIGINT',
    ...(user ?? {}),
  };
}

interface ClusterOptions {
  readonly bin: string;
  readonly user: SystemUser | undefined;
  readonly clusterFolder: string;
  readonly password: string;
}

/** The file `complete` comes last: what a killed initdb left is made anew. */
async function makeCluster(site: SiteLayout, { bin, user, clusterFolder, password }: ClusterOptions): Promise<void> {
  await rm(clusterFolder, { recursive: true, force: true });
  await mkdir(site.postgresFolder, { recursive: true, mode: 0o700 });
  const passwordFile = join(site.postgresFolder, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (user) for (const path of [site.postgresFolder, passwordFile]) await chown(path, user.uid, user.gid);
  const args = ['-D', clusterFolder, '-U', ROLE, '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '--encoding=UTF8', '--locale=C'];
  try {
    await run(join(bin, 'initdb'), args, { cwd: site.postgresFolder, ...(user ?? {}) });
  } catch (cause) {
    const output = (cause as { stderr?: string }).stderr ?? String(cause);
    throw new LabError('LAB_REFUSED', `initdb for site ${site.name} failed:\n${output.trimEnd()}`, { cause });
  }
  await rm(passwordFile);
  await appendFile(join(clusterFolder, 'postgresql.conf'), configuration(site));
  await writeFile(join(site.postgresFolder, 'complete'), '');
}

/**
 * Removes the lock file of a postmaster that is gone. PostgreSQL itself only asks whether the pid exists, and a killed one does for as
 * long as nobody collects its zombie (containers without an init), or when the pid was given to somebody else.
 */
export async function removeStaleLock(site: SiteLayout): Promise<void> {
  const clusterFolder = join(site.postgresFolder, CLUSTER);
  const lock = join(clusterFolder, 'postmaster.pid');
  const text = await readFile(lock, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const stat = procStat(Number.parseInt(text, 10));
  if (stat && isRunning(stat) && (await readlink(`/proc/${stat.pid}/cwd`).catch(() => '')) === clusterFolder) return;
  await rm(lock, { force: true });
}

/** Resolves when the server takes queries. */
export async function probePostgres(site: SiteLayout, password: string): Promise<void> {
  await query(databaseUrl(site, password).replace(/\/[^/]+$/, '/postgres'), 'SELECT 1');
}

/** Idempotent. */
export async function ensureDatabase(site: SiteLayout, password: string): Promise<void> {
  const maintenanceUrl = databaseUrl(site, password).replace(/\/[^/]+$/, '/postgres');
  const found = await query(maintenanceUrl, `SELECT 1 FROM pg_database WHERE datname = '${DATABASE}'`);
  if (found === 0) await query(maintenanceUrl, `CREATE DATABASE ${DATABASE}`);
}

async function query(url: string, text: string): Promise<number> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2000 });
  client.on('error', () => undefined); // A server that dies under the query rejects the query too.
  try {
    await client.connect();
    return (await client.query(text)).rowCount ?? 0;
  } finally {
    await client.end().catch(() => undefined);
  }
}
