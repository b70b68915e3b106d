/** Everything that a caller may be allowed to do; each handler names one. The one table from roles to permissions. */
export const PERMISSIONS = [
  'view', // read what the caller may see
  'ownAccount', // end the own session, change the own password
  'makeTokens', // API tokens with permissions that the caller has
  'manageVpgs', // create, change, delete; pause, resume, force a sync
  'insertCheckpoint',
  'testFailover',
  'failover', // failover, move, commit, rollback, reverse protection
  'restoreFiles',
  'dismissAlerts',
  'manageVras',
  'pairSites',
  'manageSite', // settings of the site, certificates
  'manageUsers', // users, their sessions and tokens
  'readAudit',
] as const;
export type Permission = (typeof PERMISSIONS)[number];

export const ROLES = ['administrator', 'operator', 'tester', 'viewer', 'fileRestoreOperator'] as const;
export type Role = (typeof ROLES)[number];

export const ROLE_PERMISSIONS: Readonly<Record<Role, readonly Permission[]>> = {
  administrator: PERMISSIONS,
  operator: ['view', 'ownAccount', 'makeTokens', 'manageVpgs', 'insertCheckpoint', 'testFailover', 'failover', 'restoreFiles', 'dismissAlerts'],
  tester: ['view', 'ownAccount', 'makeTokens', 'insertCheckpoint', 'testFailover'],
  viewer: ['view', 'ownAccount', 'makeTokens'],
  fileRestoreOperator: ['view', 'ownAccount', 'makeTokens', 'restoreFiles'],
};

/** A role, everywhere (`vpgIds` null) or on some VPGs. */
export interface RoleGrant {
  readonly role: Role;
  readonly vpgIds: readonly string[] | null;
}

/** Narrows what roles allow: an API token's scopes. */
export interface Narrowing {
  readonly permissions: readonly Permission[];
  readonly vpgIds: readonly string[] | null;
}

const has = (ids: readonly string[], vpgId: string): boolean => ids.some((id) => id.toLowerCase() === vpgId.toLowerCase());

/** What somebody may do. Permissions add up over roles; a narrowing takes away. */
export class Rights {
  constructor(
    readonly grants: readonly RoleGrant[],
    readonly narrowing: Narrowing | null = null,
  ) {}

  /** On the site as a whole: a role that is bound to some VPGs gives nothing here. */
  can(permission: Permission): boolean {
    return this.#isOffered(permission) && (this.narrowing?.vpgIds ?? null) === null
      && this.grants.some((grant) => grant.vpgIds === null && ROLE_PERMISSIONS[grant.role].includes(permission));
  }

  canOn(permission: Permission, vpgId: string): boolean {
    const bound = this.narrowing?.vpgIds ?? null;
    return this.#isOffered(permission) && (bound === null || has(bound, vpgId))
      && this.grants.some((grant) => (grant.vpgIds === null || has(grant.vpgIds, vpgId)) && ROLE_PERMISSIONS[grant.role].includes(permission));
  }

  /** On something, be it one VPG only. */
  canSomewhere(permission: Permission): boolean {
    return this.#isOffered(permission) && this.grants.some((grant) => ROLE_PERMISSIONS[grant.role].includes(permission));
  }

  sees(vpgId: string): boolean {
    return this.canOn('view', vpgId);
  }

  /** Something that is about several VPGs, or about none and then about the site. */
  seesAbout(vpgIds: readonly string[]): boolean {
    return vpgIds.length === 0 ? this.can('view') : vpgIds.some((id) => this.sees(id));
  }

  #isOffered(permission: Permission): boolean {
    return this.narrowing === null || this.narrowing.permissions.includes(permission);
  }
}
