import type { FastifyRequest } from 'fastify';
import type { Rights } from './permissions.js';

export type LoginMethod = 'Password' | 'Oidc' | 'Token';

/** Who makes a call. */
export interface Caller {
  readonly name: string;
  readonly method: LoginMethod;
  /** Null for people whom the site knows from its identity provider only. */
  readonly userId: string | null;
  /** Of the identity provider. */
  readonly subject: string | null;
  readonly sessionId: string | null;
  readonly tokenId: string | null;
  readonly rights: Rights;
  readonly expiresAtMs: number | null;
  /** Until the password is changed nothing else can be done. */
  readonly isPasswordToBeChanged: boolean;
}

const callers = new WeakMap<FastifyRequest['raw'], Caller>();

export const setCaller = (request: FastifyRequest, caller: Caller): void => void callers.set(request.raw, caller);
export const callerOf = (request: FastifyRequest): Caller | undefined => callers.get(request.raw);

const CLIENT_LENGTH_MAX = 200;

export interface Origin {
  readonly address: string;
  /** What the client says it is. */
  readonly client: string;
}

/** The address is that of the connection; headers of proxies are believed by nobody. */
export function originOf(request: FastifyRequest): Origin {
  const address = request.ip.replace(/^::ffff:/, '');
  return { address, client: (request.headers['user-agent'] ?? '').slice(0, CLIENT_LENGTH_MAX) };
}
