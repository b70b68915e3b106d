import { createServer, type Server, type Socket } from 'node:net';
import { Connection } from './connection.js';
import { CONNECTION_LIMITS, type ConnectionLimits } from './connection-limits.js';
import type { ExportTable } from './export-table.js';
import { listenAt, type SocketPlace, type TcpPlace } from './listen.js';
import { HandshakeGate } from '@tidemark/sys';
import { type NbdTls, TlsGate } from './tls-gate.js';

export interface NbdServerOptions {
  /** What differs from {@link CONNECTION_LIMITS}. */
  readonly limits?: Partial<ConnectionLimits>;
  /** Clients must ask for TLS before anything else. A TCP address without it is for tests and benches alone. */
  readonly tls?: NbdTls;
  /** Told of clients that broke the protocol and of requests that failed with an I/O error: for the log. */
  readonly onProblem?: (error: unknown) => void;
}

/** One guest and its tools need a handful; a leak on the other side must not eat all descriptors. */
const CONNECTIONS_MAX = 4096;

/** Serves the exports of a table on one UNIX socket or TCP address. Several servers may share a table. */
export class NbdServer {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #gate = new HandshakeGate();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Throws {@link NbdServerError} `NBD_LISTEN`. A stale socket file is removed, a living one never. */
  static async listen(place: SocketPlace | TcpPlace, table: ExportTable, options: NbdServerOptions = {}): Promise<NbdServer> {
    const server = createServer({ noDelay: true, keepAlive: true, pauseOnConnect: options.tls === undefined });
    const nbdServer = new NbdServer(server);
    server.maxConnections = CONNECTIONS_MAX;
    server.on('connection', (socket) => nbdServer.#accept(socket, table, options));
    await listenAt(server, place);
    server.on('error', (error) => options.onProblem?.(error)); // such as EMFILE on accept: the others go on
    return nbdServer;
  }

  /** The TCP port; 0 for a UNIX socket. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Stops listening, answers what is in flight, closes all connections. The exports stay in their table. */
  async close(): Promise<void> {
    const stopped = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#gate.end();
    await Promise.all([...this.#connections].map((connection) => connection.drain()));
    await stopped;
  }

  #accept(socket: Socket, table: ExportTable, options: NbdServerOptions): void {
    const { tls } = options;
    if (!tls) return this.#serve(socket, table, options);
    this.#gate.enter(socket);
    if (socket.destroyed) return;
    const { handshakeMs } = { ...CONNECTION_LIMITS, ...options.limits };
    const onSecured = (secured: Socket, clientFlags: number): void => {
      this.#gate.passed(secured);
      this.#serve(secured, table, options, clientFlags);
    };
    new TlsGate(socket, { exports: table, tls, handshakeMs, onSecured, onProblem: (error) => options.onProblem?.(error) });
  }

  #serve(socket: Socket, table: ExportTable, options: NbdServerOptions, clientFlags?: number): void {
    const limits = { ...CONNECTION_LIMITS, ...options.limits };
    const secured = clientFlags === undefined ? {} : { clientFlags };
    const connection = new Connection(socket, { table, limits, ...secured, onProblem: (error) => options.onProblem?.(error) });
    this.#connections.add(connection);
    connection.onClosed(() => this.#connections.delete(connection));
  }
}
