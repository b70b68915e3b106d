import { connect, createServer } from 'node:net';
import type { ComponentName } from '@tidemark/trust';
import type { LinkTransport } from './transport.js';

/**
 * TCP without TLS, for benchmarks that measure what TLS costs and for tests of what lies above it: whoever is at the other end is taken for `peer`. An
 * import of its own (`@tidemark/link/plain`), which lint refuses to everything but benches and tests: no app can build it.
 */
export function plainTransport({ self, peer }: { readonly self: ComponentName; readonly peer: ComponentName }): LinkTransport {
  return {
    self,
    createServer: (onSocket) => ({ server: createServer({ noDelay: true }, (socket) => onSocket({ socket, peer })), endHandshakes: () => undefined }),
    connect: ({ address, port, localAddress }, signal) =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: address, port, noDelay: true, ...(localAddress === undefined ? {} : { localAddress }) });
        const stop = (): void => void socket.destroy(new Error('no connection in time'));
        signal.addEventListener('abort', stop, { once: true });
        socket.once('error', reject);
        socket.once('connect', () => {
          signal.removeEventListener('abort', stop);
          socket.off('error', reject);
          resolve({ socket, peer });
        });
      }),
    believe: () => undefined,
    guard: () => undefined,
    close: () => undefined,
  };
}
