import { request } from 'node:https';
import { dirname } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { allowed, type Attempt, type Outcome, refused } from './attempt.js';
import { listExports } from './nbd-list.js';
import { NatsProbe, type NatsUser } from './nats-probe.js';
import type { Port } from './ports.js';
import { type Heard, type Place, talk } from './wire.js';

/** Somebody who is no component of the site: with nothing, with what he made himself, or with what another site gave him. */
export interface Stranger {
  readonly who: string;
  /** Key and certificate; absent: none. */
  readonly tls?: ConnectionOptions;
  /** NATS user for each listener; absent: none. */
  readonly natsUser?: NatsUser;
  /** A site that is paired reaches its own subjects at 9081: that is tried elsewhere. */
  readonly isPaired?: boolean;
}

/** What a stranger tries at a port. An empty list is a hole in this lane and fails it. */
export function strangerAttempts(stranger: Stranger, port: Port): Attempt[] {
  const attempt = (tried: string, run: () => Promise<Outcome>, isExpectedAllowed = false): Attempt => ({ who: stranger.who, port: port.name, tried, isExpectedAllowed, run });
  switch (port.kind) {
    case 'nats': return [attempt('connect', () => natsConnect(port, stranger, false))];
    case 'natsPeer': return stranger.isPaired === true ? [] : [attempt('connect', () => natsConnect(port, stranger, true))];
    case 'postgres': return [attempt('log in with a guessed password', () => postgresLogIn(port))];
    case 'rest': return [
      attempt('GET /v1/vpgs', () => rest(port, stranger, { method: 'GET', path: '/v1/vpgs' })),
      attempt('POST /v1/vpgs/x/Failover', () => rest(port, stranger, { method: 'POST', path: '/v1/vpgs/x/Failover', body: '{}' })),
      attempt('a guessed session', () => rest(port, stranger, { method: 'GET', path: '/v1/vpgs', headers: { 'x-zerto-session': '00000000-0000-4000-8000-000000000000' } })),
      attempt('a guessed API token', () => rest(port, stranger, { method: 'GET', path: '/v1/vpgs', headers: { authorization: 'Bearer tdm_00000000000000000000000000000000000000000000' } })),
      attempt('log in with a guessed password', () => rest(port, stranger, { method: 'POST', path: '/v1/session/add', headers: { authorization: `Basic ${Buffer.from('nobody:password').toString('base64')}` } })),
    ];
    case 'internal': return [
      attempt('enrol without a token', () => rest(port, stranger, { method: 'POST', path: '/internal/v1/enrol', body: '{}' })),
      attempt('any other path', () => rest(port, stranger, { method: 'GET', path: '/v1/vpgs' })),
    ];
    case 'hypervisor': return [attempt('read the inventory', () => hypervisorInventory(port, stranger))];
    // Probes ask without a certificate: that it lives. What it does is for components of the site.
    case 'vraHealth': return [attempt('GET /health', () => health(port, stranger, '/health'), true), attempt('GET /metrics', () => health(port, stranger, '/metrics'))];
    case 'backup': return [attempt('list what it serves', () => listExports(port, stranger.tls))];
    case 'vraControl':
    case 'vraData': return [attempt('say hello', () => gibberish(port, stranger))];
    case 'nbd': return [];
  }
}

async function natsConnect(port: Port, { natsUser }: Stranger, isWebsocket: boolean): Promise<Outcome> {
  try {
    const probe = await NatsProbe.open(port, natsUser, { isWebsocket });
    const complaint = await probe.subscribe('>');
    probe.close();
    return allowed(complaint === '' ? 'connected, and may read everything' : `connected; reading everything: ${complaint}`);
  } catch (error) {
    return refused((error as Error).message);
  }
}

/** Over its UNIX socket, as root may: the password is asked for there as well. */
async function postgresLogIn({ place }: Place): Promise<Outcome> {
  const socket = /\.s\.PGSQL\.(\d+)$/.exec(place);
  const client = new pg.Client({ host: dirname(place), port: Number(socket?.[1]), user: 'tidemark', database: 'tidemark', password: 'tidemark', connectionTimeoutMillis: 4000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return allowed('logged in');
  } catch (error) {
    return refused((error as Error).message);
  } finally {
    await client.end().catch(() => undefined);
  }
}

export interface RestCall {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface RestAnswer {
  readonly status: number;
  readonly text: string;
  readonly session: string | undefined;
}

/** Status and text of a call; nothing of the server is checked. */
export function restCall({ place, port }: Place, { method, path, body, headers = {} }: RestCall, tls: ConnectionOptions = {}): Promise<RestAnswer> {
  return new Promise((resolve, reject) => {
    const call = request({ host: place, port, method, path, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body ?? ''), ...headers }, rejectUnauthorized: false, agent: false, ...tls }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => void parts.push(part));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString(), session: response.headers['x-zerto-session'] as string | undefined }));
    });
    call.on('error', reject);
    call.end(body);
  });
}

async function rest(port: Port, { tls }: Stranger, call: RestCall): Promise<Outcome> {
  try {
    const { status, text } = await restCall(port, call, tls);
    return status < 400 ? allowed(`${status}, ${text.length} characters`) : refused(String(status));
  } catch (error) {
    return refused((error as NodeJS.ErrnoException).code ?? (error as Error).message);
  }
}

const GET = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;

async function hypervisorInventory(port: Port, stranger: Stranger): Promise<Outcome> {
  for (const tls of [undefined, stranger.tls ?? {}]) {
    const heard = await talk(port, { send: GET('/v1/inventory'), ...(tls ? { tls } : {}), waitMs: 1500 });
    if (heard.bytes.toString().includes('HTTP/1.1 200')) return allowed(`${tls ? 'over TLS' : 'in plain text'}: ${heard.bytes.length} bytes of inventory`);
  }
  return refused('nothing was answered');
}

async function health(port: Port, stranger: Stranger, path: string): Promise<Outcome> {
  for (const tls of [undefined, stranger.tls ?? {}]) {
    const heard = await talk(port, { send: GET(path), ...(tls ? { tls } : {}), waitMs: 1500 });
    if (heard.bytes.toString().includes('HTTP/1.1 200')) return allowed(`${tls ? 'over TLS' : 'in plain text'}: ${heard.bytes.length} bytes`);
  }
  return refused('nothing was answered');
}

/** Not one byte may come: not even an error of the protocol. With TLS 1.3 a client thinks that its handshake is done before the server has seen its certificate. */
async function gibberish(port: Port, { tls }: Stranger): Promise<Outcome> {
  const attempts: Heard[] = [await talk(port, { send: 'hello\r\n\r\n' }), await talk(port, { send: Buffer.alloc(64), tls: tls ?? {} })];
  const heard = attempts.find(({ bytes }) => bytes.length > 0 && !isTlsAlert(bytes));
  if (heard) return allowed(`${heard.bytes.length} bytes came back`);
  const isHeld = attempts.some(({ isSecure, isEnded }) => isSecure && !isEnded);
  return isHeld ? allowed('the connection stays open') : refused('not a byte, and the connection is ended');
}

const isTlsAlert = (bytes: Buffer): boolean => bytes.length <= 7 && bytes[0] === 0x15;
