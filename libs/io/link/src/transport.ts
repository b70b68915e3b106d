import { connect, createServer, type Server, type Socket } from 'node:net';

export interface LinkTarget {
  readonly address: string;
  readonly port: number;
  /** Own address to connect from. */
  readonly localAddress?: string;
}

/** How sockets come to be: the one place where mutual TLS enters. A socket is handed on only when the peer is known. */
export interface LinkTransport {
  createServer(onSocket: (socket: Socket) => void): Server;
  /** Rejects when there is no connection, or `signal` says stop. */
  connect(target: LinkTarget, signal: AbortSignal): Promise<Socket>;
}

export const tcpTransport: LinkTransport = {
  createServer: (onSocket) => createServer({ noDelay: true }, onSocket),
  connect: ({ address, port, localAddress }, signal) =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: address, port, noDelay: true, ...(localAddress === undefined ? {} : { localAddress }) });
      const stop = (): void => void socket.destroy(new Error('no connection in time'));
      signal.addEventListener('abort', stop, { once: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        signal.removeEventListener('abort', stop);
        socket.off('error', reject);
        resolve(socket);
      });
    }),
};
