import { connect, type Socket } from 'node:net';
import type { X509Certificate } from 'node:crypto';
import { connect as tlsConnect } from 'node:tls';

const PROBE_MS = 3000;

/**
 * The certificate that the NATS server at `url` shows to new connections: after a renewal it may still be the one before. Believes nothing and says nothing.
 * Rejects when the server does not answer.
 */
export async function servedByNats(url: string): Promise<X509Certificate> {
  const { hostname, port } = new URL(url);
  const deadline = AbortSignal.timeout(PROBE_MS);
  const socket = connect({ host: bareHost(hostname), port: Number(port || '4222') });
  try {
    await firstLine(socket, deadline);
    return await handshake(socket, deadline);
  } finally {
    socket.destroy();
  }
}

/** As {@link servedByNats}, of a server that speaks TLS from its first byte. */
export async function servedByTls(url: string): Promise<X509Certificate> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: bareHost(hostname), port: Number(port || '443') });
  try {
    return await handshake(socket, AbortSignal.timeout(PROBE_MS));
  } finally {
    socket.destroy();
  }
}

/** As {@link servedByNats}, of a PostgreSQL server. Rejects for one that offers no TLS. */
export async function servedByPostgres(url: string): Promise<X509Certificate> {
  const { hostname, port } = new URL(url);
  const deadline = AbortSignal.timeout(PROBE_MS);
  const socket = connect({ host: bareHost(hostname), port: Number(port || '5432') });
  try {
    await postgresTakesTls(socket, deadline);
    return await handshake(socket, deadline);
  } finally {
    socket.destroy();
  }
}

/** SSLRequest (PostgreSQL 15, 55.7 Message Formats): length 8, code 80877103. The answer is one byte, `S` for yes. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

function postgresTakesTls(socket: Socket, deadline: AbortSignal): Promise<void> {
  return settled(deadline, (resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('it closed the connection')));
    socket.once('data', (bytes) => (bytes.toString('latin1') === 'S' ? resolve() : reject(new Error('it offers no TLS'))));
    socket.write(SSL_REQUEST);
  });
}

const bareHost = (host: string): string => host.replace(/^\[|\]$/g, '');

/** NATS speaks first, in the clear: INFO, then TLS. */
function firstLine(socket: Socket, deadline: AbortSignal): Promise<void> {
  return settled(deadline, (resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('it closed the connection')));
    socket.once('data', (bytes) => (bytes.toString('latin1').startsWith('INFO ') ? resolve() : reject(new Error('this is not a NATS server'))));
  });
}

function handshake(socket: Socket, deadline: AbortSignal): Promise<X509Certificate> {
  return settled(deadline, (resolve, reject) => {
    const secured = tlsConnect({ socket, rejectUnauthorized: false }, () => {
      const certificate = secured.getPeerX509Certificate();
      if (certificate) resolve(certificate);
      else reject(new Error('it shows no certificate'));
    });
    secured.on('error', reject);
    socket.on('error', reject);
  });
}

function settled<T>(deadline: AbortSignal, work: (resolve: (value: T) => void, reject: (error: Error) => void) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    deadline.addEventListener('abort', () => reject(new Error(`no answer within ${PROBE_MS / 1000} s`)), { once: true });
    work(resolve, reject);
  });
}
