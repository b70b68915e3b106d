import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiClient, type Credentials, type Trust } from '@tidemark/api-client';
import { z } from 'zod';
import { missing, usage } from './cli-error.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The options that every command has. */
export interface ConnectionOptions {
  readonly site?: string;
  /** The lab of the default folder. */
  readonly lab?: boolean;
  readonly labFile?: string;
  readonly url?: string;
  readonly user?: string;
  readonly password?: string;
  readonly ca?: string;
  readonly fingerprint?: string;
  readonly insecure?: boolean;
}

/** Where to log in, and as whom. */
export interface Target extends Credentials {
  readonly url: string;
  readonly trust: Trust;
}

const LAB_FOLDER = '/var/tmp/tidemark-lab';

/** The part of the lab's status that says how to reach its sites. */
const labSchema = z.object({
  sites: z.array(z.object({ name: z.string(), restUrl: z.string(), user: z.string(), password: z.string(), caFile: z.string().optional() })),
});
type LabSite = z.infer<typeof labSchema>['sites'][number];

/**
 * Which site is meant. `--url` (or TIDEMARK_URL) names one; `--lab` or `--site` without an address takes it from the lab's status file. What is
 * on the command line goes before the environment. Throws CliError when it is not clear.
 */
export async function targetOf(options: ConnectionOptions, environment: Environment): Promise<Target> {
  const url = options.url ?? (isLabMeant(options) ? undefined : environment['TIDEMARK_URL']);
  if (url !== undefined && isLabMeant(options)) throw usage('--url and --site or --lab both name a site: give one of them');
  return url === undefined ? labTarget(options, environment) : await directTarget(url, options, environment);
}

const isLabMeant = ({ lab, labFile, site }: ConnectionOptions): boolean => lab === true || labFile !== undefined || site !== undefined;

async function directTarget(url: string, options: ConnectionOptions, environment: Environment): Promise<Target> {
  const user = options.user ?? environment['TIDEMARK_USER'] ?? 'admin';
  const password = options.password ?? environment['TIDEMARK_PASSWORD'];
  if (password === undefined) throw usage('no password: set TIDEMARK_PASSWORD, or give --password (others can see it in the process list)');
  return { url: normalUrl(url), user, password, trust: await trustOf(options, environment) };
}

/** `127.0.1.1` → `https://127.0.1.1:9669` */
function normalUrl(text: string): string {
  const full = text.includes('://') ? text : `https://${text}`;
  if (!URL.canParse(full)) throw usage(`'${text}' is no address; an example: https://127.0.1.1:9669`);
  const url = new URL(full);
  if (url.protocol !== 'https:') throw usage(`'${text}': the REST API is served over https only`);
  const hasPort = /:\d+(\/|$)/.test(full.slice('https://'.length));
  return `https://${url.hostname}:${hasPort ? (url.port === '' ? '443' : url.port) : '9669'}`;
}

async function trustOf(options: ConnectionOptions, environment: Environment): Promise<Trust> {
  if (options.insecure === true) return { kind: 'insecure' };
  const fingerprint = options.fingerprint ?? (options.ca === undefined ? environment['TIDEMARK_FINGERPRINT'] : undefined);
  if (fingerprint !== undefined) {
    const sha256 = fingerprint.replaceAll(':', '').toLowerCase();
    if (!/^[0-9a-f]{64}$/.test(sha256)) throw usage('--fingerprint: 64 hexadecimal digits are expected (SHA-256 of the certificate)');
    return { kind: 'fingerprint', sha256 };
  }
  const ca = options.ca ?? environment['TIDEMARK_CA'];
  return ca === undefined ? { kind: 'system' } : { kind: 'ca', pem: await readText(ca, 'the certificate') };
}

async function labTarget(options: ConnectionOptions, environment: Environment): Promise<Target> {
  if (!isLabMeant(options)) {
    throw usage('which site? Give --url ADDRESS (or set TIDEMARK_URL), or --site NAME for a site of the lab');
  }
  const site = chosenSite(await labSites(options, environment), options.site);
  const trust = hasTrust(options) || site.caFile === undefined ? await trustOf(options, {}) : { kind: 'ca' as const, pem: await readText(site.caFile, 'the certificate') };
  return { url: site.restUrl, user: options.user ?? site.user, password: options.password ?? site.password, trust };
}

const hasTrust = ({ ca, fingerprint, insecure }: ConnectionOptions): boolean => ca !== undefined || fingerprint !== undefined || insecure === true;

async function labSites({ labFile }: ConnectionOptions, environment: Environment): Promise<LabSite[]> {
  const path = labFile ?? join(environment['TIDEMARK_LAB_DIR'] ?? LAB_FOLDER, 'status.json');
  const text = await readText(path, "the lab's status (is the lab up? npm run lab -- up)");
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw missing(`${path} is not JSON`);
  }
  const parsed = labSchema.safeParse(document);
  if (!parsed.success) throw missing(`${path} is not the status of a lab: ${z.prettifyError(parsed.error)}`);
  return parsed.data.sites;
}

function chosenSite(sites: readonly LabSite[], name: string | undefined): LabSite {
  const known = sites.map((site) => site.name).join(', ');
  const found = name === undefined ? (sites.length === 1 ? sites[0] : undefined) : sites.find((site) => site.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  throw usage(name === undefined ? `which site of the lab? Give --site, one of: ${known}` : `the lab has no site '${name}'; it has: ${known}`);
}

async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw missing(`cannot read ${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Logs in, does `work`, logs out and closes, whatever happens. */
export async function withClient<Result>(target: Target, work: (client: ApiClient) => Promise<Result>): Promise<Result> {
  const client = new ApiClient({ url: target.url, trust: target.trust });
  try {
    await client.login(target);
    return await work(client);
  } finally {
    await client.close();
  }
}
