import type { Appliance } from '@tidemark/nest';
import { join } from 'node:path';
import { z } from 'zod';

/** The VBA's environment, checked once at the start. */
const SCHEMA = z.object({
  TIDEMARK_SITE_ID: z.uuid(),
  TIDEMARK_VBA_ID: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'expected the VbaIdentifier that the ZVM gave: letters, digits, _ and -'),
  TIDEMARK_HOST_ID: z.string().min(1),
  TIDEMARK_ADDRESS: z.string().min(1),
  TIDEMARK_NATS_URL: z.string().min(1),
  TIDEMARK_STATE_DIR: z.string().startsWith('/'),
  /** Read when it is there, removed when it was redeemed; below the state folder when not set. */
  TIDEMARK_ENROLMENT_TOKEN_FILE: z.string().startsWith('/').optional(),
  TIDEMARK_HEALTH_PORT: z.coerce.number().int().min(0).max(65535).default(4006),
});

export interface VbaConfig {
  readonly appliance: Appliance;
  readonly natsUrl: string;
  readonly stateFolder: string;
}

/** Throws one error that names every variable that is missing or wrong. */
export function readConfig(environment: NodeJS.ProcessEnv): VbaConfig {
  const parsed = SCHEMA.safeParse(environment);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`the VBA cannot start, its environment is not complete:\n${faults.join('\n')}`);
  }
  const value = parsed.data;
  return {
    natsUrl: value.TIDEMARK_NATS_URL,
    stateFolder: value.TIDEMARK_STATE_DIR,
    appliance: {
      siteId: value.TIDEMARK_SITE_ID,
      role: 'vba',
      instanceId: value.TIDEMARK_VBA_ID,
      hostId: value.TIDEMARK_HOST_ID,
      address: value.TIDEMARK_ADDRESS,
      healthPort: value.TIDEMARK_HEALTH_PORT,
      enrolmentTokenFile: value.TIDEMARK_ENROLMENT_TOKEN_FILE ?? join(value.TIDEMARK_STATE_DIR, 'enrolment-token'),
    },
  };
}
