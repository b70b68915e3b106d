import { hostname } from 'node:os';
import { z } from 'zod';
import { type OidcConfig, readOidcConfig } from './oidc/oidc-config.js';

const port = z.coerce.number().int().min(1).max(65535);

/** What the database is told, and its password, are readable on a network without TLS; without `verify-full` by whoever answers instead of it. */
function isProtected(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, searchParams } = new URL(text);
  if (protocol !== 'postgres:' && protocol !== 'postgresql:') return false;
  return /^%2f/i.test(hostname) || searchParams.get('sslmode') === 'verify-full';
}

/** Every setting of a ZVM comes from its environment; this schema is the only place that reads it. */
const environmentSchema = z.object({
  TIDEMARK_SITE_ID: z.uuid(),
  TIDEMARK_SITE_NAME: z.string().min(1).max(100),
  /** Where clients and peers reach this site. */
  TIDEMARK_ADDRESS: z.string().min(1).max(255),
  TIDEMARK_REST_HOST: z.string().min(1).optional(),
  TIDEMARK_REST_PORT: z.coerce.number().int().min(0).max(65535).default(9669),
  TIDEMARK_NATS_URL: z.string().min(1),
  /** The site's NATS listener for paired sites; told to peers when pairing. */
  TIDEMARK_NATS_PEER_PORT: port.default(9081),
  /** Where nats-server writes its process id, so that it can be told of a renewed certificate (SIGHUP). */
  TIDEMARK_NATS_PID_FILE: z.string().startsWith('/').optional(),
  /** The internal API (9080), where VRAs are enrolled. */
  TIDEMARK_INTERNAL_PORT: port.default(9080),
  TIDEMARK_DATABASE_URL: z.string().refine(isProtected, 'expected a UNIX socket (postgres://user@%2Fpath%2Fto%2Ffolder/database) or TLS (…?sslmode=verify-full&sslrootcert=/path/ca.pem)'),
  TIDEMARK_HYPERVISOR: z.string().regex(/^[a-z]+:.+/, 'expected <kind>:<url>, e.g. simulated:https://127.0.1.2:9440'),
  /** Holds what the hypervisor manager asks for; no other user may read it. */
  TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: z.string().startsWith('/'),
  /** PEM, for a manager whose certificate is not of the site's own CA. */
  TIDEMARK_HYPERVISOR_CA_FILE: z.string().startsWith('/').optional(),
  TIDEMARK_STATE_DIR: z.string().min(1),
  /** Pre- and post-recovery scripts; absent: none are run. */
  TIDEMARK_SCRIPTS_DIR: z.string().startsWith('/').optional(),
  /** Whom they run as when the ZVM is root: uid and gid, none of them 0. Debian's nobody and nogroup. */
  TIDEMARK_SCRIPTS_USER: z.string().regex(/^[1-9]\d{0,8}:[1-9]\d{0,8}$/, 'expected <uid>:<gid> of an unprivileged user, e.g. 65534:65534').default('65534:65534'),
  TIDEMARK_LOCATION: z.string().max(200).default(''),
  TIDEMARK_CONTACT_NAME: z.string().max(200).default(''),
  TIDEMARK_CONTACT_EMAIL: z.string().max(200).default(''),
  TIDEMARK_CONTACT_PHONE: z.string().max(200).default(''),
  /** JSON that describes the identity provider (docs/spec/access.md); absent: passwords only. */
  TIDEMARK_OIDC_FILE: z.string().min(1).optional(),
  /** Of one session or API token; an address may make twice as many. */
  TIDEMARK_CALLS_PER_MINUTE: z.coerce.number().int().min(10).max(10_000_000).default(3000),
  /** Audit entries that wait so long for the syslog collector raise TDM0013. */
  TIDEMARK_SYSLOG_ALERT_SECONDS: z.coerce.number().int().min(1).max(86_400).default(300),
  TIDEMARK_CHECKPOINT_INTERVAL_MS: z.coerce.number().int().min(200).max(3_600_000).default(5000),
  TIDEMARK_VRA_CONTROL_PORT: port.default(4007),
  TIDEMARK_VRA_DATA_PORT: port.default(4008),
  /** Where VRAs serve checkpoints to VBAs. */
  TIDEMARK_VRA_BACKUP_PORT: port.default(9180),
});

export interface ZvmConfig {
  readonly siteId: string;
  readonly siteName: string;
  readonly address: string;
  /** Interface that the REST listener binds. */
  readonly restHost: string;
  /** 0: any free port (tests). */
  readonly restPort: number;
  readonly natsUrl: string;
  readonly natsPeerPort: number;
  readonly natsPidFile: string | undefined;
  readonly internalPort: number;
  readonly databaseUrl: string;
  readonly hypervisor: string;
  readonly hypervisorCredentialFile: string;
  readonly hypervisorCaFile: string | undefined;
  readonly stateDir: string;
  /** Null: this site runs no scripts. */
  readonly scripts: { readonly folder: string; readonly user: { readonly uid: number; readonly gid: number } } | null;
  readonly location: string;
  readonly contact: { readonly name: string; readonly email: string; readonly phone: string };
  readonly oidc: OidcConfig | null;
  readonly callsPerMinute: number;
  readonly syslogAlertSeconds: number;
  readonly checkpointIntervalMs: number;
  readonly vraControlPort: number;
  readonly vraDataPort: number;
  readonly vraBackupPort: number;
  readonly hostName: string;
}

/** Nest injection token of {@link ZvmConfig}. */
export const ZVM_CONFIG = Symbol('ZvmConfig');

/** @throws Error that names every wrong or missing variable, one a line. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): ZvmConfig {
  const parsed = environmentSchema.safeParse(environment);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`the environment does not describe a ZVM:\n${lines.join('\n')}`);
  }
  const e = parsed.data;
  return {
    siteId: e.TIDEMARK_SITE_ID.toLowerCase(),
    siteName: e.TIDEMARK_SITE_NAME,
    address: e.TIDEMARK_ADDRESS,
    restHost: e.TIDEMARK_REST_HOST ?? e.TIDEMARK_ADDRESS,
    restPort: e.TIDEMARK_REST_PORT,
    natsUrl: e.TIDEMARK_NATS_URL,
    natsPeerPort: e.TIDEMARK_NATS_PEER_PORT,
    natsPidFile: e.TIDEMARK_NATS_PID_FILE,
    internalPort: e.TIDEMARK_INTERNAL_PORT,
    databaseUrl: e.TIDEMARK_DATABASE_URL,
    hypervisor: e.TIDEMARK_HYPERVISOR,
    hypervisorCredentialFile: e.TIDEMARK_HYPERVISOR_CREDENTIAL_FILE,
    hypervisorCaFile: e.TIDEMARK_HYPERVISOR_CA_FILE,
    stateDir: e.TIDEMARK_STATE_DIR,
    scripts: e.TIDEMARK_SCRIPTS_DIR === undefined ? null : { folder: e.TIDEMARK_SCRIPTS_DIR, user: idsOf(e.TIDEMARK_SCRIPTS_USER) },
    location: e.TIDEMARK_LOCATION,
    contact: { name: e.TIDEMARK_CONTACT_NAME, email: e.TIDEMARK_CONTACT_EMAIL, phone: e.TIDEMARK_CONTACT_PHONE },
    oidc: e.TIDEMARK_OIDC_FILE === undefined ? null : readOidcConfig(e.TIDEMARK_OIDC_FILE),
    callsPerMinute: e.TIDEMARK_CALLS_PER_MINUTE,
    syslogAlertSeconds: e.TIDEMARK_SYSLOG_ALERT_SECONDS,
    checkpointIntervalMs: e.TIDEMARK_CHECKPOINT_INTERVAL_MS,
    vraControlPort: e.TIDEMARK_VRA_CONTROL_PORT,
    vraDataPort: e.TIDEMARK_VRA_DATA_PORT,
    vraBackupPort: e.TIDEMARK_VRA_BACKUP_PORT,
    hostName: hostname(),
  };
}

function idsOf(text: string): { readonly uid: number; readonly gid: number } {
  const [uid = 0, gid = 0] = text.split(':').map(Number);
  return { uid, gid };
}
