import { Socket } from 'node:net';
import { sys } from '@tidemark/sys';

export interface ReceivePlan {
  readonly buffer: () => Uint8Array;
  readonly callback: (bytes: number, buffer: Uint8Array) => boolean;
}

/**
 * An accepted socket that reads into buffers of our choice. Node offers that (`onread`) only to sockets that it is given a
 * descriptor for, not to those that a server accepts: so the descriptor is doubled and the accepted socket closed, which does
 * not end the connection. `undefined` where that cannot be done: then the socket's 'data' events must do.
 */
export function adoptSocket(accepted: Socket, onread: ReceivePlan): Socket | undefined {
  const { _handle: handle } = accepted as unknown as { _handle?: { fd?: unknown } };
  if (!sys.isAvailable || typeof handle?.fd !== 'number' || handle.fd < 0) return undefined;
  const fd = sys.dup(handle.fd);
  const socket = new Socket({ fd, readable: true, writable: true, onread } as ConstructorParameters<typeof Socket>[0]);
  accepted.destroy();
  return socket;
}
