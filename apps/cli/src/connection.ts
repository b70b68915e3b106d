import { join } from 'node:path';
import { ApiClient, type Credentials, type Entry, type Trust } from '@tidemark/api-client';
import { z } from 'zod';
import { missing, usage } from './cli-error.js';
import { keptSession } from './kept-sessions.js';
import { readSecret, readText } from './read-files.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The options that every command has. */
export interface ConnectionOptions {
  readonly site?: string;
  /** The lab of the default folder. */
  readonly lab?: boolean;
  readonly labFile?: string;
  readonly url?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly fingerprint?: string;
  /** Log-in by the site's identity provider: the command opens the session itself. */
  readonly sso?: boolean;
}

/** Where to go, and how to be let in. */
export interface Target {
  readonly url: string;
  readonly trust: Trust;
  readonly entry: ({ readonly kind: 'password' } & Credentials) | { readonly kind: 'none' } | Entry;
}

/** Asks a person at the terminal without showing what is typed; undefined: nobody is there. */
export type AskSecret = (question: string) => Promise<string | undefined>;

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
export async function targetOf(options: ConnectionOptions, environment: Environment, ask: AskSecret = () => Promise.resolve(undefined)): Promise<Target> {
  const url = options.url ?? (isLabMeant(options) ? undefined : environment['TIDEMARK_URL']);
  if (url !== undefined && isLabMeant(options)) throw usage('--url and --site or --lab both name a site: give one of them');
  return url === undefined ? labTarget(options, environment) : await directTarget(url, options, { environment, ask });
}

const isLabMeant = ({ lab, labFile, site }: ConnectionOptions): boolean => lab === true || labFile !== undefined || site !== undefined;

interface Surroundings {
  readonly environment: Environment;
  readonly ask: AskSecret;
}

async function directTarget(url: string, options: ConnectionOptions, { environment, ask }: Surroundings): Promise<Target> {
  const site = { url: normalUrl(url), trust: await trustOf(options, environment) };
  if (options.sso === true) return { ...site, entry: { kind: 'none' } };
  const tokenFile = options.tokenFile;
  const token = tokenFile === undefined ? environment['TIDEMARK_TOKEN'] : await readSecret(tokenFile, 'the API token');
  if (token !== undefined) return { ...site, entry: { kind: 'token', token } };
  const password = options.passwordFile === undefined ? environment['TIDEMARK_PASSWORD'] : await readSecret(options.passwordFile, 'the password');
  const user = options.user ?? environment['TIDEMARK_USER'];
  if (password !== undefined) return { ...site, entry: { kind: 'password', user: user ?? 'admin', password } };
  const kept = user === undefined ? await keptSession(site.url, environment) : undefined;
  if (kept !== undefined) return { ...site, entry: { kind: 'session', session: kept } };
  const typed = await ask(`Password of ${user ?? 'admin'} at ${site.url}: `);
  if (typed === undefined) throw usage('not logged in: tidemark login asks for a password; programs set TIDEMARK_TOKEN or TIDEMARK_PASSWORD, or give --token-file or --password-file (- is standard input)');
  return { ...site, entry: { kind: 'password', user: user ?? 'admin', password: typed } };
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
  const password = options.passwordFile === undefined ? site.password : await readSecret(options.passwordFile, 'the password');
  return { url: site.restUrl, trust, entry: { kind: 'password', user: options.user ?? site.user, password } };
}

const hasTrust = ({ ca, fingerprint }: ConnectionOptions): boolean => ca !== undefined || fingerprint !== undefined;

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

/** Goes in, does `work`, logs out where it logged in, and closes, whatever happens. */
export async function withClient<Result>({ url, trust, entry }: Target, work: (client: ApiClient) => Promise<Result>): Promise<Result> {
  const client = new ApiClient({ url, trust });
  try {
    if (entry.kind === 'password') await client.login(entry);
    else if (entry.kind !== 'none') client.enter(entry);
    return await work(client);
  } finally {
    // A session that was opened before this command stays open after it.
    if (entry.kind === 'session' || entry.kind === 'token') client.leave();
    await client.close();
  }
}
