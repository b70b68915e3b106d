import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { LabError } from './lab-error.js';
import { DEFAULT_FOLDER, labLayout, type LabLayout, parseSubnets, SITE_NAMES, type SiteLayout, type SiteName } from './layout.js';
import { databaseUrl } from './servers/postgres.js';

const siteSchema = z.object({
  siteId: z.uuid(),
  serverGuid: z.uuid(),
  databasePassword: z.string(),
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
  return { layout: labLayout(folder, identity.subnets), identity };
}

/** The lab that is there, else a new one. Its folder lets others pass (PostgreSQL runs as another user) but not look. */
export async function findOrMakeLab(environment: Environment): Promise<Lab> {
  const found = await findLab(environment);
  if (found) return found;
  const folder = labFolder(environment);
  const subnets = parseSubnets(environment['TIDEMARK_LAB_SUBNETS'] ?? '1,2');
  const layout = labLayout(folder, subnets);
  const identity: LabIdentity = { format: 1, subnets, sites: { a: newSite('a', environment), b: newSite('b', environment) } };
  await mkdir(folder, { recursive: true, mode: 0o711 });
  await assertOurs(folder);
  for (const name of SITE_NAMES) await makeSiteFolders(layout.sites[name]);
  await writeFile(`${identityPath(folder)}.new`, JSON.stringify(identity, null, 1), { mode: 0o600 });
  await rename(`${identityPath(folder)}.new`, identityPath(folder));
  return { layout, identity };
}

async function makeSiteFolders(site: SiteLayout): Promise<void> {
  await mkdir(site.folder, { recursive: true, mode: 0o711 });
  const inner = [site.runFolder, site.logFolder, site.zvmFolder, site.hypervisorFolder, site.datastoreFolder, ...site.hosts.map((host) => host.folder)];
  for (const folder of inner) await mkdir(folder, { recursive: true, mode: 0o700 });
}

/** /var/tmp is everyone's: a folder or a link that somebody else put there is not used, let alone emptied. */
async function assertOurs(folder: string): Promise<void> {
  const stat = await lstat(folder);
  if (stat.isDirectory() && stat.uid === process.getuid?.()) return;
  throw new LabError('LAB_FOLDER', `${folder} is not a folder of this user; set TIDEMARK_LAB_DIR to another one`);
}

function newSite(name: SiteName, environment: Environment): SiteIdentity {
  const prefix = `TIDEMARK_${name.toUpperCase()}_`;
  const natsUrl = environment[`${prefix}NATS_URL`];
  const externalDatabaseUrl = environment[`${prefix}DATABASE_URL`];
  return {
    siteId: randomUUID(),
    serverGuid: randomUUID(),
    databasePassword: randomBytes(18).toString('base64url'),
    ...(natsUrl === undefined ? {} : { externalNatsUrl: natsUrl }),
    ...(externalDatabaseUrl === undefined ? {} : { externalDatabaseUrl }),
  };
}

export const databaseUrlOf = (site: SiteLayout, identity: SiteIdentity): string => identity.externalDatabaseUrl ?? databaseUrl(site, identity.databasePassword);
