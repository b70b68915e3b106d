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
/** sun_path holds 108 with the zero at its end. */
const SOCKET_PATH_BYTES_MAX = 107;

/** A UNIX socket: no other machine can get at it, and the password is asked for there as well (ADR 0027). */
export const databaseUrl = (site: SiteLayout, password: string): string =>
  `postgres://${ROLE}:${password}@${encodeURIComponent(site.postgresFolder)}:${PORTS.postgres}/${DATABASE}`;

/** Durability as in production (fsync stays on): what the ZVM committed must survive `lab kill`. */
const configuration = (site: SiteLayout): string => `
listen_addresses = ''
port = ${PORTS.postgres}
unix_socket_directories = '${site.postgresFolder}'
unix_socket_permissions = 0700
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
  if (Buffer.byteLength(socketPath(site)) > SOCKET_PATH_BYTES_MAX) {
    throw new LabError('LAB_FOLDER', `the lab's folder is too long for UNIX sockets: ${socketPath(site)} has more than ${SOCKET_PATH_BYTES_MAX} bytes; set TIDEMARK_LAB_DIR to a shorter one`);
  }
  const clusterFolder = join(site.postgresFolder, CLUSTER);
  if (!existsSync(join(site.postgresFolder, 'complete'))) await makeCluster(site, { bin, user, clusterFolder, password });
  return {
    name: 'postgres',
    command: join(bin, 'postgres'),
    args: ['-D', clusterFolder],
    env: {},
    cwd: site.postgresFolder,
    logPath: join(site.logFolder, 'postgres.log'),
    listens: [],
    endSignal: 'SIGINT',
    ...(user ?? {}),
  };
}

const socketPath = (site: SiteLayout): string => join(site.postgresFolder, `.s.PGSQL.${PORTS.postgres}`);

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
 * Removes the lock files of a postmaster that is gone. PostgreSQL itself only asks whether the pid exists, and a killed one does for as
 * long as nobody collects its zombie (containers without an init), or when the pid was given to somebody else.
 */
export async function removeStaleLock(site: SiteLayout): Promise<void> {
  const clusterFolder = join(site.postgresFolder, CLUSTER);
  // The socket has a lock of its own, with the same question.
  for (const lock of [join(clusterFolder, 'postmaster.pid'), `${socketPath(site)}.lock`]) {
    const text = await readFile(lock, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const stat = procStat(Number.parseInt(text, 10));
    if (stat && isRunning(stat) && (await readlink(`/proc/${stat.pid}/cwd`).catch(() => '')) === clusterFolder) continue;
    await rm(lock, { force: true });
  }
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
