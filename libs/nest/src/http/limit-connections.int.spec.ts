import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { makeRequest, SiteCa } from '@tidemark/trust';
import { limitConnections, LISTENER_TIMEOUTS } from './limit-connections.js';

const LIMITS = { connectionsMax: 8, connectionsPerNetworkMax: 6, handshakes: { handshakesMax: 8, handshakesPerAddressMax: 3 } };
/** Far above what is measured, far below what the tests wait for at most. */
const TIMEOUTS = { ...LISTENER_TIMEOUTS, handshakeTimeout: 2000, headersTimeout: 2000, connectionsCheckingInterval: 100 };

let server: Server;
let port: number;

beforeAll(async () => {
  const { key, cert } = await serverCertificate();
  server = createServer({ key, cert, minVersion: 'TLSv1.3', requestTimeout: 60_000, ...TIMEOUTS }, ({ url }, response) => void (url === '/hold' || response.end('here')));
  limitConnections(server, LIMITS);
  server.on('clientError', (_error, socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')); // as ports do that answer what is not HTTP
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const raw = async (localAddress: string): Promise<Socket> => {
  const socket = connect({ host: '127.0.0.1', port, localAddress });
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
};
/** Resolves with the milliseconds until the other end hangs up. */
const ended = async (socket: Socket): Promise<number> => {
  const begunMs = performance.now();
  if (!socket.closed) await new Promise((resolve) => socket.resume().once('close', resolve));
  return performance.now() - begunMs;
};
const secured = async (localAddress: string): Promise<Socket> => {
  const socket = connectTls({ host: '127.0.0.1', port, localAddress, rejectUnauthorized: false } as ConnectionOptions);
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.once('secureConnect', resolve).once('close', resolve));
  return socket;
};
const ask = (localAddress: string): Promise<string> => new Promise((resolve) => {
  request({ host: '127.0.0.1', port, localAddress, rejectUnauthorized: false, agent: false }, (response) => void response.on('data', (text: Buffer) => resolve(text.toString())))
    .on('error', (error) => resolve(String(error))).end();
});

it('who connects and says nothing pushes out himself, and is gone when the handshake has taken too long', async () => {
  const silent = [];
  for (let at = 0; at < 4; at += 1) silent.push(await raw('127.0.0.2'));
  const [first, ...others] = silent;
  if (first) await ended(first);
  expect(await ask('127.0.0.10')).toBe('here');
  expect(others.map(({ closed }) => closed)).toEqual([false, false, false]);
  expect(await ask('127.0.0.2')).toBe('here'); // pushes out the next
  await Promise.all(others.map(ended));
});

it('who has made the handshake and sends a header byte by byte, or none, is gone too', async () => {
  const mute = await secured('127.0.0.3');
  const slow = await secured('127.0.0.3');
  slow.write('GET / HTTP/1.1\r\nX-Slow: ');
  const dripping = setInterval(() => slow.write('x'), 50);
  expect(await ended(slow)).toBeGreaterThan(0);
  clearInterval(dripping);
  await ended(mute);
});

it('one address has its share of the connections, and all others are served while it holds them; it has them again when it lets go', async () => {
  const held: Socket[] = [];
  for (let at = 0; at < LIMITS.connectionsPerNetworkMax; at += 1) {
    const socket = await secured('127.0.0.4');
    socket.write('GET /hold HTTP/1.1\r\nHost: x\r\n\r\n'); // never answered
    held.push(socket);
  }
  expect((await secured('127.0.0.4')).closed).toBe(true);
  expect(held.filter(({ closed }) => closed)).toEqual([]);
  const answers = [];
  for (const address of ['127.0.0.5', '127.0.0.6', '127.0.0.7', '127.0.0.8']) answers.push(await ask(address));
  expect(answers).toEqual(['here', 'here', 'here', 'here']);
  for (const socket of held) socket.destroy();
  let answer = await ask('127.0.0.4');
  while (answer !== 'here') answer = await ask('127.0.0.4');
});

async function serverCertificate(): Promise<{ readonly key: string; readonly cert: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-listener-'));
  try {
    const siteId = randomUUID();
    const ca = await SiteCa.openOrMake(join(folder, 'ca'), { siteId, siteName: 'test' }, Date.now);
    const { pem, keyPem } = await makeRequest();
    const { certificatePem } = await ca.issue(pem, { siteId, role: 'zvm', instanceId: 'main' }, ['127.0.0.1']);
    return { key: keyPem, cert: certificatePem };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
