import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { LabError } from './lab-error.js';
import { DEFAULT_FOLDER, labLayout, type LabLayout, parseSubnets, SITE_NAMES, type SiteLayout, type SiteName } from './layout.js';
import { databaseUrl } from './servers/postgres.js';

const siteSchema = z.object({
  siteId: z.uuid(),
  serverGuid: z.uuid(),
  databasePassword: z.string(),
  /** Where PostgreSQL's own user can reach it. */
  postgresFolder: z.string(),
  /** Given: the lab uses that server and starts none. */
  externalNatsUrl: z.string().optional(),
  externalDatabaseUrl: z.string().optional(),
});

const identitySchema = z.object({
  format: z.literal(1),
  subnets: z.object({ a: z.number(), b: z.number() }),
  sites: z.object({ a: siteSchema, b: siteSchema }),
});

/** What is made once per lab and kept until `down`: addresses, identifiers, passwords, servers that are not ours. */
export type LabIdentity = z.infer<typeof identitySchema>;
export type SiteIdentity = z.infer<typeof siteSchema>;

const PUBLIC_FOLDER = '/var/tmp';

type Environment = Readonly<Record<string, string | undefined>>;

export const labFolder = (environment: Environment): string => environment['TIDEMARK_LAB_DIR'] ?? DEFAULT_FOLDER;

const identityPath = (folder: string): string => join(folder, 'lab.json');

export interface Lab {
  readonly layout: LabLayout;
  readonly identity: LabIdentity;
}

/** The lab in the environment's folder, or undefined when there is none. */
export async function findLab(environment: Environment): Promise<Lab | undefined> {
  const folder = labFolder(environment);
  if (!existsSync(identityPath(folder))) return undefined;
  await assertOurs(folder);
  const identity = identitySchema.parse(JSON.parse(await readFile(identityPath(folder), 'utf8')));
  return { layout: withPostgresFolders(labLayout(folder, identity.subnets), identity), identity };
}

function withPostgresFolders(layout: LabLayout, { sites }: LabIdentity): LabLayout {
  const site = (name: SiteName): SiteLayout => ({ ...layout.sites[name], postgresFolder: sites[name].postgresFolder });
  return { ...layout, sites: { a: site('a'), b: site('b') } };
}

/** The lab that is there, else a new one. Its folder lets others pass (PostgreSQL runs as another user) but not look. */
export async function findOrMakeLab(environment: Environment): Promise<Lab> {
  const found = await findLab(environment);
  if (found) return found;
  const folder = labFolder(environment);
  const subnets = parseSubnets(environment['TIDEMARK_LAB_SUBNETS'] ?? '1,2');
  const layout = labLayout(folder, subnets);
  await mkdir(folder, { recursive: true, mode: 0o711 });
  await assertOurs(folder);
  const isPrivate = process.getuid?.() === 0 && !(await canOthersPass(folder));
  const make = (name: SiteName): SiteIdentity => newSite(layout.sites[name], { environment, isPrivate });
  const identity: LabIdentity = { format: 1, subnets, sites: { a: make('a'), b: make('b') } };
  for (const name of SITE_NAMES) await makeSiteFolders(layout.sites[name]);
  await writeFile(`${identityPath(folder)}.new`, JSON.stringify(identity, null, 1), { mode: 0o600 });
  await rename(`${identityPath(folder)}.new`, identityPath(folder));
  return { layout: withPostgresFolders(layout, identity), identity };
}

/** Whether another user can get to `folder`: each folder above it, and it, lets others pass. */
async function canOthersPass(folder: string): Promise<boolean> {
  const { mode } = await stat(folder);
  if ((mode & 0o001) === 0) return false;
  return folder === dirname(folder) || (await canOthersPass(dirname(folder)));
}

async function makeSiteFolders(site: SiteLayout): Promise<void> {
  await mkdir(site.folder, { recursive: true, mode: 0o711 });
  const inner = [site.runFolder, site.logFolder, site.zvmFolder, site.hypervisorFolder, ...site.hosts.map((host) => host.folder)];
  for (const folder of inner) await mkdir(folder, { recursive: true, mode: 0o700 });
  // As a file system that an administrator mounted: what keeps others out is what lies in it.
  await mkdir(site.datastoreFolder, { recursive: true, mode: 0o755 });
}

/** /var/tmp is everyone's: a folder or a link that somebody else put there is not used, let alone emptied. */
async function assertOurs(folder: string): Promise<void> {
  const stat = await lstat(folder);
  if (stat.isDirectory() && stat.uid === process.getuid?.()) return;
  throw new LabError('LAB_FOLDER', `${folder} is not a folder of this user; set TIDEMARK_LAB_DIR to another one`);
}

interface NewSiteOptions {
  readonly environment: Environment;
  /** Nobody else can get to the lab's folder (it lies in a home, or in one of `mktemp -d`). */
  readonly isPrivate: boolean;
}

function newSite(site: SiteLayout, { environment, isPrivate }: NewSiteOptions): SiteIdentity {
  const prefix = `TIDEMARK_${site.name.toUpperCase()}_`;
  const externalNatsUrl = environment[`${prefix}NATS_URL`];
  const externalDatabaseUrl = environment[`${prefix}DATABASE_URL`];
  const siteId = randomUUID();
  return {
    siteId,
    serverGuid: randomUUID(),
    databasePassword: randomBytes(18).toString('base64url'),
    // As root, PostgreSQL runs as another user, who must be able to reach its cluster.
    postgresFolder: isPrivate ? join(PUBLIC_FOLDER, `tidemark-postgres-${siteId}`) : site.postgresFolder,
    ...(externalNatsUrl === undefined ? {} : { externalNatsUrl }),
    ...(externalDatabaseUrl === undefined ? {} : { externalDatabaseUrl }),
  };
}

export const databaseUrlOf = (site: SiteLayout, identity: SiteIdentity): string => identity.externalDatabaseUrl ?? databaseUrl(site, identity.databasePassword);
