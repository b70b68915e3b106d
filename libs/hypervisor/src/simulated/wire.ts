import { z } from 'zod';
import type { HypervisorErrorCode } from '../hypervisor-error.js';

/** The simulated manager's own protocol: JSON over HTTPS with a credential, paths below {@link API_PREFIX}. */
export const API_PREFIX = '/v1';

/** A poll for changes is answered after this time at the latest, so that a dead manager is noticed. */
export const POLL_MS = 15_000;

export const STATUS_OF_CODE: Readonly<Record<HypervisorErrorCode, number>> = {
  HYPERVISOR_INVALID: 400,
  HYPERVISOR_NOT_FOUND: 404,
  HYPERVISOR_STATE: 409,
  HYPERVISOR_FULL: 507,
  HYPERVISOR_UNREACHABLE: 503,
  HYPERVISOR_REFUSED: 401,
};

export const errorBodySchema = z.object({
  code: z.enum(['HYPERVISOR_INVALID', 'HYPERVISOR_NOT_FOUND', 'HYPERVISOR_STATE', 'HYPERVISOR_FULL', 'HYPERVISOR_UNREACHABLE', 'HYPERVISOR_REFUSED']),
  message: z.string(),
});

export const powerSchema = z.object({ powerState: z.enum(['poweredOn', 'poweredOff']), isForced: z.boolean() });
export const changeSchema = z.object({ revision: z.int().min(0) });
