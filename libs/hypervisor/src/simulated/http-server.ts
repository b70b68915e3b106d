import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { TidemarkError } from '@tidemark/base';
import { HypervisorError } from '../hypervisor-error.js';
import { checked } from './schemas.js';
import type { SimulatedHypervisor } from './simulated-hypervisor.js';
import { API_PREFIX, POLL_MS, powerSchema, STATUS_OF_CODE } from './wire.js';

const BODY_BYTES_MAX = 1024 * 1024;

interface Call {
  readonly hypervisor: SimulatedHypervisor;
  /** What the route's `:id` stands for; empty when it has none. */
  readonly id: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly signal: AbortSignal;
}

type Handler = (call: Call) => Promise<unknown>;

// Bodies go on as `never`: each method validates what it is given, as it must for any caller.
const ROUTES: Readonly<Record<string, Handler>> = {
  'GET /inventory': ({ hypervisor }) => hypervisor.inventory(),
  'GET /changes': pollChanges,
  'POST /vms': ({ hypervisor, body }) => hypervisor.createVm(body as never),
  'DELETE /vms/:id': ({ hypervisor, id, query }) => hypervisor.deleteVm(id, { areDisksKept: query.get('areDisksKept') === 'true' }),
  'POST /vms/:id/power': power,
  'POST /vms/:id/migrate': ({ hypervisor, id, body }) => hypervisor.migrateVm(id, body as never),
  'POST /vms/:id/disk-add': ({ hypervisor, id, body }) => hypervisor.addDisk(id, body as never),
  'POST /vms/:id/disk-grow': ({ hypervisor, id, body }) => hypervisor.growDisk(id, body as never),
  'POST /vms/:id/disk-remove': ({ hypervisor, id, body }) => hypervisor.removeDisk(id, body as never),
  'POST /vms/:id/disks-as-files': ({ hypervisor, id }) => hypervisor.markDisksAsFiles(id),
  'POST /appliances': ({ hypervisor, body }) => hypervisor.deployAppliance(body as never),
  'DELETE /appliances/:id': ({ hypervisor, id }) => hypervisor.removeAppliance(id),
};

async function pollChanges({ hypervisor, query, signal }: Call): Promise<unknown> {
  const revision = Number(query.get('after') ?? '-1');
  return { revision: await hypervisor.changedSince(revision, AbortSignal.any([signal, AbortSignal.timeout(POLL_MS)])) };
}

function power({ hypervisor, id, body }: Call): Promise<void> {
  const { powerState, isForced } = checked(powerSchema, body, 'power');
  return powerState === 'poweredOn' ? hypervisor.powerOn(id) : hypervisor.powerOff(id, { isForced });
}

export interface ServerKey {
  readonly keyPem: string;
  readonly certificatePem: string;
}

export interface HypervisorServer {
  readonly url: string;
  /** New connections are shown this certificate. */
  renew(key: ServerKey): void;
  /** Ends polls and connections. */
  close(): Promise<void>;
}

export interface HypervisorPlace extends ServerKey {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Whoever sends it as a bearer token may do everything; nobody else anything. */
  readonly credential: string;
}

/** Serves a simulated manager over TLS 1.3. */
export async function serveHypervisor(hypervisor: SimulatedHypervisor, { host, port, credential, ...key }: HypervisorPlace): Promise<HypervisorServer> {
  const wanted = digestOf(`Bearer ${credential}`);
  const server = createServer(tlsOf(key), (request, response) => {
    if (!timingSafeEqual(digestOf(request.headers.authorization ?? ''), wanted)) {
      return send(response, 401, { code: 'HYPERVISOR_REFUSED', message: 'the credential is not the one of this manager' });
    }
    void respond(hypervisor, request, response); // ends by itself: every failure becomes an answer
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port }, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return { url: `https://${host}:${bound}`, renew: (next) => server.setSecureContext(tlsOf(next)), close: () => closeServer(server) };
}

const tlsOf = ({ keyPem, certificatePem }: ServerKey) => ({ key: keyPem, cert: certificatePem, minVersion: 'TLSv1.3' as const });
const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
    server.closeAllConnections();
  });
}

async function respond(hypervisor: SimulatedHypervisor, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const left = new AbortController();
  response.once('close', () => {
    left.abort();
  });
  try {
    const result = await dispatch(hypervisor, request, left.signal);
    send(response, 200, result ?? {});
  } catch (error) {
    const code = error instanceof HypervisorError ? error.code : 'HYPERVISOR_UNREACHABLE';
    const text = error instanceof Error ? error.message : String(error);
    const message = error instanceof TidemarkError ? text : `the simulated manager failed: ${text}`;
    send(response, STATUS_OF_CODE[code], { code, message });
  }
}

async function dispatch(hypervisor: SimulatedHypervisor, request: IncomingMessage, signal: AbortSignal): Promise<unknown> {
  const url = new URL(request.url ?? '/', 'http://simulated');
  if (!url.pathname.startsWith(`${API_PREFIX}/`)) throw new HypervisorError('HYPERVISOR_NOT_FOUND', `no ${url.pathname} here`);
  const [collection = '', id, ...rest] = url.pathname.slice(API_PREFIX.length + 1).split('/');
  const pattern = [collection, ...(id === undefined ? [] : [':id']), ...rest].join('/');
  const handler = ROUTES[`${request.method ?? ''} /${pattern}`];
  if (!handler) throw new HypervisorError('HYPERVISOR_NOT_FOUND', `no ${request.method ?? ''} ${url.pathname} here`);
  const body = request.method === 'POST' ? await readBody(request) : undefined;
  return await handler({ hypervisor, id: decodeURIComponent(id ?? ''), query: url.searchParams, body, signal });
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let sumBytes = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    sumBytes += part.byteLength;
    if (sumBytes > BODY_BYTES_MAX) throw new HypervisorError('HYPERVISOR_INVALID', `a body above ${BODY_BYTES_MAX} bytes`);
    parts.push(part);
  }
  try {
    return sumBytes === 0 ? {} : JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch (cause) {
    throw new HypervisorError('HYPERVISOR_INVALID', 'the body is not JSON', { cause });
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
