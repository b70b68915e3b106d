import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { createHash, randomUUID, webcrypto } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ApiRequest {
  readonly method: string;
  /** Below `/v1`, in lower case. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly headers: IncomingMessage['headers'];
}

export interface ApiReply {
  readonly status?: number;
  /** Absent: an empty body. */
  readonly body?: unknown;
  /** Instead of `body`: sent as it is. */
  readonly text?: string;
  /** Cut the connection instead of answering. */
  readonly isCut?: boolean;
}

export interface ApiServer {
  readonly url: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Its self-signed certificate. */
  readonly certificatePem: string;
  readonly fingerprint: string;
  /** Every request but log-in and log-out, in order. */
  readonly requests: readonly ApiRequest[];
  readonly openSessions: () => number;
  readonly endSessions: () => void;
  /** Cuts all connections and shows another self-signed certificate from now on. @returns its PEM */
  readonly changeCertificate: (life: Life) => Promise<string>;
  readonly stop: () => Promise<void>;
}

interface Life {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * The conventions of the REST API (TLS, Basic log-in, session header, `{Message}` errors) on a real socket at 127.0.0.1, with the
 * resources given by `answer`. For tests of clients only.
 */
export async function startApiServer(answer: (request: ApiRequest) => ApiReply): Promise<ApiServer> {
  const { key, cert, fingerprint } = await makeCertificate({ notBeforeMs: Date.now() - 3_600_000, notAfterMs: Date.now() + 3_600_000 });
  const sessions = new Set<string>();
  const requests: ApiRequest[] = [];
  const user = 'admin';
  const password = `p:${randomUUID()}`;
  const server = createServer({ key, cert }, (incoming, outgoing) => {
    void serve(incoming, outgoing, { sessions, requests, answer, basic: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}`, port, user, password, certificatePem: cert, fingerprint, requests,
    openSessions: () => sessions.size,
    endSessions: () => sessions.clear(),
    changeCertificate: async (life) => {
      const next = await makeCertificate(life);
      server.setSecureContext({ key: next.key, cert: next.cert });
      server.closeAllConnections();
      return next.cert;
    },
    stop: () => stop(server),
  };
}

function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

interface Conventions {
  readonly sessions: Set<string>;
  readonly requests: ApiRequest[];
  readonly answer: (request: ApiRequest) => ApiReply;
  readonly basic: string;
}

async function serve(incoming: IncomingMessage, outgoing: ServerResponse, { sessions, requests, answer, basic }: Conventions): Promise<void> {
  const request = await readRequest(incoming);
  const session = incoming.headers['x-zerto-session'];
  if (request.method === 'POST' && request.path === '/session/add') {
    if (incoming.headers.authorization !== basic) return reply(outgoing, { status: 401, body: { Message: 'wrong user or password' } });
    const added = randomUUID();
    sessions.add(added);
    outgoing.setHeader('x-zerto-session', added);
    return reply(outgoing, {});
  }
  if (typeof session !== 'string' || !sessions.has(session)) return reply(outgoing, { status: 401, body: { Message: 'Invalid session' } });
  if (request.method === 'DELETE' && request.path === '/session') {
    sessions.delete(session);
    return reply(outgoing, {});
  }
  requests.push(request);
  const given = answer(request);
  if (given.isCut === true) incoming.socket.destroy();
  else reply(outgoing, given);
}

async function readRequest(incoming: IncomingMessage): Promise<ApiRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  const url = new URL(incoming.url ?? '/', 'https://localhost');
  return {
    method: incoming.method ?? '', path: url.pathname.toLowerCase().replace(/^\/v1/, ''), query: url.searchParams,
    body: text === '' ? undefined : (JSON.parse(text) as unknown), headers: incoming.headers,
  };
}

function reply(outgoing: ServerResponse, { status = 200, body, text }: ApiReply): void {
  outgoing.writeHead(status, { 'content-type': 'application/json' });
  outgoing.end(text ?? (body === undefined ? '' : JSON.stringify(body)));
}

async function makeCertificate({ notBeforeMs, notAfterMs }: Life): Promise<{ key: string; cert: string; fingerprint: string }> {
  x509.cryptoProvider.set(webcrypto as never);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01', name: [{ CN: [`test ${randomUUID()}`] }], notBefore: new Date(notBeforeMs), notAfter: new Date(notAfterMs),
    signingAlgorithm: algorithm, keys: keys as never,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    key: `-----BEGIN PRIVATE KEY-----\n${(pkcs8.match(/.{1,64}/g) ?? []).join('\n')}\n-----END PRIVATE KEY-----\n`,
    cert: certificate.toString('pem'),
    fingerprint: createHash('sha256').update(Buffer.from(certificate.rawData)).digest('hex'),
  };
}
