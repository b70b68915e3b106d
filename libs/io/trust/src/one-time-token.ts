import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { readCaCertificates } from './ca-certificate.js';
import { isRole, isTrustId, type Role } from './component-name.js';
import { TrustError } from './trust-error.js';
import { timeText } from './time-text.js';

const PREFIX = 'tidemark1';
const TOKEN_CHARACTERS_MAX = 32 * 1024;
const SECRET_BYTES = 32;

interface TokenBase {
  readonly siteId: string;
  readonly siteName: string;
  /** Of the issuer: where the token is redeemed. */
  readonly address: string;
  readonly port: number;
  /** The issuer's CA, so that already the first connection is verified. */
  readonly caPem: string;
  /** Says which token it is; no secret. */
  readonly tokenId: string;
  readonly secret: string;
  readonly expiresAtMs: number;
}

/** Made at one site, given to the other. */
export interface PairingToken extends TokenBase {
  readonly kind: 'pairing';
  /** A NATS user at the issuer's 9081 that may do nothing but redeem. */
  readonly natsJwt: string;
  readonly natsSeed: string;
}

/** Lets one VRA or VBA on one host become a component of the issuer's site. */
export interface EnrolmentToken extends TokenBase {
  readonly kind: 'enrolment';
  readonly role: Role;
  readonly instanceId: string;
  readonly hostId: string;
}

export type Token = PairingToken | EnrolmentToken;

const id = z.string().refine(isTrustId, 'is no id');
const base = {
  siteId: id, siteName: z.string().min(1).max(100), address: z.string().min(1).max(255), port: z.number().int().min(1).max(65535),
  caPem: z.string().max(8192), tokenId: id, secret: z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'is no secret'), expiresAtMs: z.number().int().min(0).max(8.64e15),
};
const role = z.custom<Role>((value) => typeof value === 'string' && isRole(value), 'is no role');
const schema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('pairing'), ...base, natsJwt: z.string().min(1).max(8192), natsSeed: z.string().min(1).max(200) }),
  z.object({ kind: z.literal('enrolment'), ...base, role, instanceId: id, hostId: z.string().min(1).max(255) }),
]);

/** `tidemark1.<kind>.<base64url(JSON)>` */
export const formatToken = (token: Token): string => `${PREFIX}.${token.kind}.${Buffer.from(JSON.stringify(token)).toString('base64url')}`;

/**
 * What a token says; whether it is still good only its issuer knows. Throws TRUST_TOKEN saying what is wrong, never showing the token.
 * With `kind`, a token of another kind is refused too.
 */
export function parseToken(text: string): Token;
export function parseToken<K extends Token['kind']>(text: string, kind: K): Extract<Token, { kind: K }>;
export function parseToken(text: string, kind?: Token['kind']): Token {
  const trimmed = text.trim();
  if (trimmed.length > TOKEN_CHARACTERS_MAX) throw refused(`it has ${trimmed.length} characters, at most ${TOKEN_CHARACTERS_MAX} are expected`);
  const [prefix, named, body, ...rest] = trimmed.split('.');
  if (prefix !== PREFIX || named === undefined || body === undefined || rest.length > 0) throw refused(`it should look like ${PREFIX}.${kind ?? 'pairing'}.…; copy all of it`);
  if (kind !== undefined && named !== kind) throw refused(`it is of the kind '${named.slice(0, 20)}', a token for ${kind} is expected`);
  const token = parseBody(body);
  if (token.kind !== named) throw refused('it was changed on its way');
  const cas = readCa(token);
  if (cas === 0) throw refused('it names no CA');
  return token;
}

function parseBody(body: string): Token {
  let value: unknown;
  try {
    if (!/^[A-Za-z0-9_-]+$/.test(body)) throw new SyntaxError('other characters than those of base64url');
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(body, 'base64url')));
  } catch (cause) {
    throw refused('it is not whole: copy all of it', cause);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw refused(`${issue?.path.join('.') ?? 'it'}: ${issue?.message ?? 'wrong'}`);
}

function readCa({ caPem, siteId }: Token): number {
  try {
    return readCaCertificates(caPem, "the token's CA", siteId).length;
  } catch (cause) {
    throw refused((cause as Error).message, cause);
  }
}

const refused = (why: string, cause?: unknown): TrustError => new TrustError('TRUST_TOKEN', `this token cannot be used: ${why}`, cause === undefined ? undefined : { cause });

/** Throws TRUST_EXPIRED with both times. */
export function assertTokenInTime({ expiresAtMs }: Token, nowMs: number): void {
  if (nowMs < expiresAtMs) return;
  throw new TrustError('TRUST_EXPIRED', `this token ended at ${timeText(expiresAtMs)}; this machine's clock says ${timeText(nowMs)}: ask for a new one`);
}

/** 256 random bits, base64url. */
export const newSecret = (): string => randomBytes(SECRET_BYTES).toString('base64url');

/** What its issuer keeps of a secret: SHA-256, hex. A secret of 256 random bits needs no salt and no slow hash. */
export const secretHash = (secret: string): string => createHash('sha256').update(secret).digest('hex');
