import { connect, credsAuthenticator, type NatsConnection } from '@nats-io/transport-node';
// nats-core keeps its transport in a module-wide variable: TCP and WebSocket connections in one process need two copies of it.
import { wsconnect } from 'nats-websocket';
import type { ConnectionOptions } from 'node:tls';
import { WebSocket } from 'ws';
import type { BusAccess } from './bus-access.js';

const CONNECT_MS = 5000;
/** A broker that was told to take 4 MiB sends no more in one message; the rest is the protocol around it. */
const WEBSOCKET_BYTES_MAX = 8 * 1024 * 1024;

/**
 * One connection, with the credentials of this moment; who holds it connects anew when it has ended. `tls://` (or `nats://`) is a broker's own listener,
 * `wss://` the one for peers. Nothing is sent before the broker has shown a certificate that `access` believes.
 */
export async function connectBroker(url: string, name: string, access: BusAccess): Promise<NatsConnection> {
  const credentials = new TextEncoder().encode(access.credentials());
  const tls: ConnectionOptions = { ...access.tls(), minVersion: 'TLSv1.3', rejectUnauthorized: true };
  const options = {
    servers: url, name, reconnect: false, ignoreClusterUpdates: true, timeout: CONNECT_MS, pingInterval: 2000, maxPingOut: 2,
    inboxPrefix: `_INBOX.${access.inboxName}`, authenticator: credsAuthenticator(credentials),
  };
  if (!isWebsocket(url)) return await connect({ ...options, tls: tls as never });
  // The client says 'connection refused' for anything that went wrong below it; the socket knows.
  let reason: Error | undefined;
  try {
    return await wsconnect({
      ...options,
      wsFactory: (address: string) => {
        const socket = new WebSocket(address, { ...tls, perMessageDeflate: false, maxPayload: WEBSOCKET_BYTES_MAX, handshakeTimeout: CONNECT_MS });
        socket.on('error', (error) => (reason ??= error));
        return Promise.resolve({ socket: socket as never, encrypted: true });
      },
    });
  } catch (error) {
    throw reason ?? error;
  }
}

const isWebsocket = (url: string): boolean => url.startsWith('wss://');

/** @throws Error for an address at which nothing would be encrypted */
export function assertSecure(url: string): void {
  if (!/^(nats|tls|wss):\/\//.test(url)) throw new Error(`${url}: a broker is reached over TLS only: tls://host:port, or wss://host:port for a paired site`);
}
