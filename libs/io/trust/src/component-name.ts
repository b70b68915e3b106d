export const ROLES = ['zvm', 'vra', 'vba', 'nats', 'postgres', 'hypervisor'] as const;
export type Role = (typeof ROLES)[number];
/** Those that are enrolled with a token, and can be taken back. */
export type ApplianceRole = Extract<Role, 'vra' | 'vba'>;

/** Who a component is, as its certificate says. */
export interface ComponentName {
  readonly siteId: string;
  readonly role: Role;
  readonly instanceId: string;
}

const ID = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;
const SITE_URI = /^tidemark:\/\/([^/]+)$/;
const COMPONENT_URI = /^tidemark:\/\/([^/]+)\/([a-z]+)\/([^/]+)$/;

/** Site, instance and host ids: letters, digits, `.`, `_`, `-`, at most 64. */
export const isTrustId = (text: string): boolean => ID.test(text);

export const siteUri = (siteId: string): string => `tidemark://${siteId}`;

export function parseSiteUri(uri: string): string | undefined {
  const siteId = SITE_URI.exec(uri)?.[1];
  return siteId !== undefined && isTrustId(siteId) ? siteId : undefined;
}

/** `tidemark://<siteId>/<role>/<instanceId>`: the one URI among a component certificate's names. */
export const nameUri = ({ siteId, role, instanceId }: ComponentName): string => `tidemark://${siteId}/${role}/${instanceId}`;

export function parseNameUri(uri: string): ComponentName | undefined {
  const [, siteId = '', role = '', instanceId = ''] = COMPONENT_URI.exec(uri) ?? [];
  if (!isTrustId(siteId) || !isTrustId(instanceId) || !isRole(role)) return undefined;
  return { siteId, role, instanceId };
}

export const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text);
