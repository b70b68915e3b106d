import { tlsProblem } from '@tidemark/trust';

/** Why there is no connection, for people; `credentials` are those that were shown. */
export function brokerProblem(error: unknown, credentials: string): string {
  const { name, message, code } = shapeOf(error);
  if (name === 'UserAuthenticationExpiredError' || /authentication expired/i.test(message)) return `the broker refuses this user: ${expiryText(credentials)}`;
  if (/authentication revoked/i.test(message)) return 'the broker refuses this user: it was revoked';
  if (name === 'AuthorizationError' || /authorization violation|authentication timeout/i.test(message)) {
    const expiry = expiryMs(credentials);
    if (expiry !== undefined && expiry <= Date.now()) return `the broker refuses this user: ${expiryText(credentials)}`;
    return 'the broker refuses this user (authorization violation): it is unknown there, was revoked, or belongs to another listener';
  }
  const certificate = tlsProblem(error, { nowMs: Date.now() });
  if (certificate !== undefined) return `the broker is not believed: ${certificate}`;
  if (/does not support 'tls'|wrong version number|ERR_SSL/i.test(`${message} ${code}`)) return `the broker does not speak TLS there (${message}); nothing is sent in the clear`;
  return message === '' ? 'the broker does not answer' : message;
}

function expiryText(credentials: string): string {
  const expiry = expiryMs(credentials);
  return expiry === undefined ? 'its credentials have expired' : `its credentials have expired at ${new Date(expiry).toISOString()}`;
}

function expiryMs(credentials: string): number | undefined {
  return natsUserLife(credentials)?.notAfterMs;
}

/** When the user's JWT was made and ends; undefined when it never ends or cannot be read. */
export function natsUserLife(credentials: string): { readonly notBeforeMs: number; readonly notAfterMs: number } | undefined {
  const jwt = /-----BEGIN NATS USER JWT-----\s*(\S+)/.exec(credentials)?.[1] ?? '';
  try {
    const { exp, iat } = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as { readonly exp?: unknown; readonly iat?: unknown };
    return typeof exp === 'number' && typeof iat === 'number' ? { notBeforeMs: 1000 * iat, notAfterMs: 1000 * exp } : undefined;
  } catch {
    return undefined;
  }
}

/** By shape: two copies of the NATS client have two classes of each error; the cause says more than its wrapper. */
function shapeOf(error: unknown): { name: string; message: string; code: string } {
  if (typeof error !== 'object' || error === null) return { name: '', message: text(error), code: '' };
  const { name, message, code, cause } = error as { name?: unknown; message?: unknown; code?: unknown; cause?: unknown };
  const own = { name: text(name), message: text(message), code: text(code) };
  if (own.code !== '' || cause === undefined) return own;
  const inner = shapeOf(cause);
  return { ...own, code: inner.code, message: own.message === '' || own.message === 'connection refused' ? inner.message || own.message : own.message };
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
