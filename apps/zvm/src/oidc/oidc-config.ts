import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ROLES } from '../access/permissions.js';

const isLoopback = (url: string): boolean => /^http:\/\/(127\.0\.0\.1|localhost)(:\d+)?(\/|$)/.test(url);

/** The file that TIDEMARK_OIDC_FILE names. */
const oidcSchema = z.strictObject({
  /** Exactly as the provider calls itself. Plain http for a provider on this machine only. */
  issuer: z.url().refine((url) => url.startsWith('https://') || isLoopback(url), 'https is needed'),
  clientId: z.string().min(1),
  /** Absent: a public client; the code is bound by PKCE either way. */
  clientSecretFile: z.string().min(1).optional(),
  scope: z.string().default('openid profile'),
  /** Claim of the ID token that names the person, for tasks and the audit. */
  nameClaim: z.string().min(1).default('preferred_username'),
  /** Claim of the ID token, a text or a list, that {@link roles} look at. */
  rolesClaim: z.string().min(1).default('groups'),
  roles: z.array(z.strictObject({ value: z.string().min(1), role: z.enum(ROLES), vpgIds: z.array(z.uuid()).min(1).nullable().default(null) })).min(1),
  /** Pages that may take the code back, besides 127.0.0.1 (the command line). */
  redirectUris: z.array(z.url()).default([]),
});

export type OidcConfig = Readonly<z.infer<typeof oidcSchema>> & { readonly clientSecret: string | null };

/** @throws Error that says what is wrong with the file */
export function readOidcConfig(path: string): OidcConfig {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`TIDEMARK_OIDC_FILE: cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  const parsed = oidcSchema.safeParse(document);
  if (!parsed.success) throw new Error(`TIDEMARK_OIDC_FILE: ${path}:\n${parsed.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`).join('\n')}`);
  const bound = parsed.data.roles.find(({ role, vpgIds }) => role === 'administrator' && vpgIds !== null);
  if (bound) throw new Error(`TIDEMARK_OIDC_FILE: ${path}: an administrator is one of the whole site: vpgIds of '${bound.value}' must be left out`);
  const { clientSecretFile } = parsed.data;
  return { ...parsed.data, clientSecret: clientSecretFile === undefined ? null : readFileSync(clientSecretFile, 'utf8').trim() };
}
