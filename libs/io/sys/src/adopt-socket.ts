import { Socket } from 'node:net';
import { sys } from './load-sys.js';

export interface ReceivePlan {
  /** Where the next bytes go. */
  readonly buffer: () => Uint8Array;
  /** So many arrived there. */
  readonly callback: (bytes: number, buffer: Uint8Array) => boolean;
  /** Nothing is read before `resume()`. */
  readonly isPaused?: boolean;
}

/**
 * A TCP or UNIX socket that reads into buffers of our choice. Node offers that (`onread`) only to sockets that it is given a
 * descriptor for, not to those that a server accepts: so the descriptor is doubled and the accepted socket closed, which does
 * not end the connection. `undefined` where that cannot be done (TLS among others): then the socket's 'data' events must do.
 */
export function adoptSocket(accepted: Socket, { isPaused, ...onread }: ReceivePlan): Socket | undefined {
  const { _handle: handle, encrypted } = accepted as unknown as { _handle?: { fd?: unknown }; encrypted?: boolean };
  if (!sys.isAvailable || encrypted === true || typeof handle?.fd !== 'number' || handle.fd < 0) return undefined;
  const fd = sys.dup(handle.fd);
  const socket = new Socket({ fd, readable: true, writable: true, pauseOnCreate: isPaused === true, onread } as ConstructorParameters<typeof Socket>[0]);
  accepted.destroy();
  return socket;
}
