import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { TLSSocket } from 'node:tls';
import type { ZvmConfig } from '../config.js';
import { forbidden, TooManyError } from '../errors.js';
import { networkOf } from '@tidemark/sys/network';

const READING: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** What a form on a foreign page can send without asking first. */
const FORM_TYPES = /^\s*(application\/x-www-form-urlencoded|multipart\/form-data|text\/plain)\b/i;
const HSTS_SECONDS = 180 * 24 * 3600;
const ADDRESSES_REMEMBERED = 10_000;
const MINUTE_MS = 60_000;

/**
 * What every answer of 9669 carries and every call must hold to, whoever makes it. Sessions travel in a header that no foreign page can set
 * without a preflight, and preflights are answered by nobody (no CORS); the checks below are the second line.
 */
export async function harden(fastify: FastifyInstance, config: ZvmConfig): Promise<void> {
  await fastify.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"] } },
    strictTransportSecurity: { maxAge: HSTS_SECONDS, includeSubDomains: false },
    referrerPolicy: { policy: 'no-referrer' }, xFrameOptions: { action: 'deny' },
  });
  await fastify.register(rateLimit, {
    global: true, hook: 'onRequest', max: 2 * config.callsPerMinute, timeWindow: MINUTE_MS, cache: ADDRESSES_REMEMBERED,
    keyGenerator: (request) => networkOf(request.ip),
    errorResponseBuilder: (_request, { ttl }) => new TooManyError(`more than ${2 * config.callsPerMinute} calls a minute from this address`, ttl),
  });
  fastify.addHook('onRequest', (request, reply, done) => {
    reply.header('cache-control', 'no-store');
    done(READING.has(request.method) ? undefined : refusalOf(request, config.address));
  });
}

function refusalOf(request: FastifyRequest, address: string): Error | undefined {
  const { host = '', origin } = request.headers;
  if (!isOwnName(request, hostnameOf(host), address)) return forbidden(`Host: '${hostnameOf(host)}' is no name of this site; use its address or a name in its certificate`);
  if (origin !== undefined && originHost(origin) !== host.toLowerCase()) return forbidden(`Origin: a page of '${origin}' cannot change anything here`);
  const type = request.headers['content-type'];
  if (type !== undefined && FORM_TYPES.test(type)) return Object.assign(new Error(`Content-Type: '${type}' is what forms of web pages send; send application/json`), { statusCode: 415 });
  return undefined;
}

/** Addresses cannot be re-bound by somebody's DNS; names must be the site's. */
function isOwnName(request: FastifyRequest, name: string, address: string): boolean {
  if (isIP(name) !== 0 || name === 'localhost' || name === address.toLowerCase() || name === hostname().toLowerCase()) return true;
  const { socket } = request.raw;
  return socket instanceof TLSSocket && socket.getX509Certificate()?.checkHost(name) !== undefined;
}

const hostnameOf = (host: string): string => host.replace(/:\d+$/, '').replace(/^\[|\]$/g, '').toLowerCase();

function originHost(origin: string): string | undefined {
  return URL.canParse(origin) && origin.startsWith('https://') ? origin.slice('https://'.length).toLowerCase() : undefined;
}
