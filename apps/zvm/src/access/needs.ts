import { SetMetadata } from '@nestjs/common';
import type { Permission } from './permissions.js';

/**
 * Where the permission must hold. `vpg`: on the VPG that the route names (`:vpg`). `site`: everywhere. `shown`: on something; the handler
 * itself shows and touches only what the caller's rights reach.
 */
export type Reach = 'vpg' | 'site' | 'shown';

export interface Need {
  readonly permission: Permission;
  readonly reach: Reach | null;
}

export const NEED = 'tidemark:need';
export const IS_PUBLIC = 'isPublic';

/** The permission that a handler needs. Without a reach: the VPG when the route names one, else the whole site. */
export const Needs = (permission: Permission, reach: Reach | null = null) => SetMetadata(NEED, { permission, reach } satisfies Need);

/** A route that needs no session. */
export const Public = () => SetMetadata(IS_PUBLIC, true);

/** What the guard found declared, for the audit. */
export const NEED_OF_REQUEST = new WeakMap<object, Need>();
