import { HandshakeGate, type GateLimits } from '@tidemark/sys/network';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import { ConnectionPlaces, type PlaceLimits } from './connection-places.js';

export interface ListenerLimits extends PlaceLimits {
  /** Connections whose TLS handshake is not done. */
  readonly handshakes: GateLimits;
}

/** For `https.createServer`, or what Fastify hands to it. */
export interface ListenerTimeouts {
  /** For the TLS handshake; Node gives it 120 s. */
  readonly handshakeTimeout: number;
  /** From the handshake, or the answer before, to the last byte of a request's header. */
  readonly headersTimeout: number;
  /** How often those are looked for that have taken too long. */
  readonly connectionsCheckingInterval: number;
}

/** A round trip is below a second anywhere; who takes ten times as long is not asking. */
export const LISTENER_TIMEOUTS: ListenerTimeouts = { handshakeTimeout: 5000, headersTimeout: 10_000, connectionsCheckingInterval: 2000 };

/** Counts connections as they are accepted, before a byte of theirs is read; those that have no place end without an answer. Call it before the server listens. */
export function limitConnections(server: Server, limits: ListenerLimits): void {
  const places = new ConnectionPlaces(limits);
  const gate = new HandshakeGate(limits.handshakes);
  const served = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (!places.enter(socket)) return void socket.destroy();
    gate.enter(socket);
    if (!socket.destroyed) for (const serve of served) serve.call(server, socket);
  });
  server.on('secureConnection', (socket) => gate.passed(socket));
  // Nobody is there to be answered: what a handler of `clientError` writes would wait for the handshake for ever.
  server.on('tlsClientError', (_error, socket) => socket.destroy());
}
