import { join } from 'node:path';
import { z } from 'zod';

const port = z.coerce.number().int().min(0).max(65535);

/** The VRA's environment, checked once at the start. */
const SCHEMA = z.object({
  TIDEMARK_SITE_ID: z.uuid(),
  TIDEMARK_VRA_ID: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'expected letters, digits, _ and -: it is part of NATS subjects'),
  TIDEMARK_HOST_ID: z.string().min(1),
  TIDEMARK_ADDRESS: z.string().min(1),
  TIDEMARK_NATS_URL: z.string().min(1),
  TIDEMARK_STATE_DIR: z.string().startsWith('/'),
  /** Read when it is there, removed when it was redeemed; below the state folder when not set. */
  TIDEMARK_ENROLMENT_TOKEN_FILE: z.string().startsWith('/').optional(),
  /** The host's datastores, as PATH has folders: nothing outside them is opened, made or deleted. */
  TIDEMARK_DATASTORES: z.string().transform((text) => text.split(':')).pipe(z.array(z.string().regex(/^\/[^\0]*[^/\0]$/, 'expected absolute folders, separated by colons')).min(1)),
  TIDEMARK_NBD_SOCKET: z.string().startsWith('/').max(99),
  TIDEMARK_GUEST_AGENT_DIR: z.string().startsWith('/').optional(),
  TIDEMARK_CONTROL_PORT: port.default(4007),
  TIDEMARK_DATA_PORT: port.default(4008),
  TIDEMARK_HEALTH_PORT: port.default(4006),
  TIDEMARK_BACKUP_PORT: port.default(9180),
  TIDEMARK_MEMORY_MIB: z.coerce.number().int().min(256).default(1024),
});

export interface VraConfig {
  readonly siteId: string;
  readonly vraId: string;
  readonly hostId: string;
  readonly address: string;
  readonly natsUrl: string;
  readonly stateFolder: string;
  /** Where whoever installs this VRA puts its one-time token. */
  readonly enrolmentTokenFile: string;
  readonly nbdSocketPath: string;
  readonly datastoreFolders: readonly string[];
  /** Where guest agents listen; undefined: no guest has one. */
  readonly guestAgentFolder: string | undefined;
  readonly controlPort: number;
  readonly dataPort: number;
  readonly healthPort: number;
  /** NBD over TLS. */
  readonly backupPort: number;
  readonly memoryMiB: number;
}

/** Throws one error that names every variable that is missing or wrong. */
export function readConfig(environment: NodeJS.ProcessEnv): VraConfig {
  const parsed = SCHEMA.safeParse(environment);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`the VRA cannot start, its environment is not complete:\n${faults.join('\n')}`);
  }
  const value = parsed.data;
  return {
    siteId: value.TIDEMARK_SITE_ID,
    vraId: value.TIDEMARK_VRA_ID,
    hostId: value.TIDEMARK_HOST_ID,
    address: value.TIDEMARK_ADDRESS,
    natsUrl: value.TIDEMARK_NATS_URL,
    stateFolder: value.TIDEMARK_STATE_DIR,
    enrolmentTokenFile: value.TIDEMARK_ENROLMENT_TOKEN_FILE ?? join(value.TIDEMARK_STATE_DIR, 'enrolment-token'),
    nbdSocketPath: value.TIDEMARK_NBD_SOCKET,
    datastoreFolders: value.TIDEMARK_DATASTORES,
    guestAgentFolder: value.TIDEMARK_GUEST_AGENT_DIR,
    controlPort: value.TIDEMARK_CONTROL_PORT,
    dataPort: value.TIDEMARK_DATA_PORT,
    healthPort: value.TIDEMARK_HEALTH_PORT,
    backupPort: value.TIDEMARK_BACKUP_PORT,
    memoryMiB: value.TIDEMARK_MEMORY_MIB,
  };
}

/**
 * Pool for captured writes by the appliance's RAM (reference §2.1: 1 GiB → 461 MiB, + 1024 MiB per further GiB), of which the
 * protecting role may fill 90 %. Below 1 GiB the pool is the same share, 45 %.
 */
export function captureBytesMax(memoryMiB: number): number {
  const poolMiB = memoryMiB < 1024 ? memoryMiB * 0.45 : 461 + (memoryMiB - 1024);
  return Math.floor(poolMiB * 0.9) * 1024 * 1024;
}
