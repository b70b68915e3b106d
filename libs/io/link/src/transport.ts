import type { Server, Socket } from 'node:net';
import type { TLSSocket, TlsOptions } from 'node:tls';
import type { ComponentName, TrustedSite } from '@tidemark/trust';

export interface LinkTarget {
  readonly address: string;
  readonly port: number;
  /** Own address to connect from. */
  readonly localAddress?: string;
  /** Who has to answer there; anybody else gets nothing. */
  readonly expected: ComponentName;
}

/** A connection whose other end is known. */
export interface KnownSocket {
  readonly socket: Socket;
  /** By its certificate. */
  readonly peer: ComponentName;
}

export interface TransportServer {
  readonly server: Server;
  /** Ends whatever connected and is not known yet. */
  endHandshakes(): void;
}

/** For a listener of another protocol that makes its own TLS sockets. */
export interface PeerGuard {
  /** As they are now: asked for each connection. */
  options(): TlsOptions;
  /** Throws for whoever may not be here. */
  admit(socket: TLSSocket): void;
}

/** How sockets come to be: the one place where mutual TLS enters. A socket is handed on only when the peer is known. */
export interface LinkTransport {
  /** Who this side is. */
  readonly self: ComponentName;
  createServer(onSocket: (known: KnownSocket) => void): TransportServer;
  /** Rejects when there is no connection, when somebody else answers, or `signal` says stop. */
  connect(target: LinkTarget, signal: AbortSignal): Promise<KnownSocket>;
  /** From now on exactly these sites, and the own one, are believed: connections of all others end at once. */
  believe(sites: readonly TrustedSite[]): void;
  /** undefined: there are no certificates, so nobody can be let in. */
  guard(admits: (peer: ComponentName) => boolean): PeerGuard | undefined;
  close(): void;
}
