import { createServer, type Socket } from 'node:net';
import { connect, createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import type { X509Certificate } from 'node:crypto';
import { clientOptions, nameUri, serverOptions, TrustBundle, verifyPeer, type ComponentIdentity, type ComponentName, type ExpectedPeer, type TrustedSite } from '@tidemark/trust';
import { GATE_LIMITS, HandshakeGate, type GateLimits } from '@tidemark/sys';
import { LinkError } from './link-error.js';
import type { KnownSocket, LinkTarget, LinkTransport, PeerGuard, TransportServer } from './transport.js';

export interface TlsTransportOptions {
  readonly identity: ComponentIdentity;
  /** Default 5 s: three round trips, and a busy event loop on both ends. */
  readonly handshakeMs?: number;
  readonly gate?: GateLimits;
  /** Somebody was turned away: for the log. */
  readonly onRefused?: (fault: { readonly remoteAddress: string; readonly reason: string }) => void;
  /** Wall clock, ms: certificates end by it. Default Date.now. */
  readonly nowMs?: () => number;
}

interface OpenPeer {
  readonly certificate: X509Certificate | undefined;
  readonly peer: ComponentName;
}

/** A certificate that runs out ends the connections that it opened, this often looked at. */
const EXPIRY_LOOK_MS = 60_000;

/**
 * Mutual TLS 1.3 between VRAs. Both ends show a certificate; it is believed when the CA of the very site that it names signed it, and that site is believed at
 * present. Whoever cannot show one gets nothing but the end of the connection. Keys, certificates and the believed sites change at runtime: new
 * handshakes use what is in force, open connections whose peer is not believed any more end.
 */
export class TlsTransport implements LinkTransport {
  readonly #open = new Map<TLSSocket, OpenPeer>();
  readonly #servers = new Set<TlsServer>();
  readonly #timer: NodeJS.Timeout;
  readonly #ended: () => void;
  #sites: readonly TrustedSite[] = [];
  #bundle: TrustBundle;

  constructor(private readonly options: TlsTransportOptions) {
    this.#bundle = this.#bundleOf();
    this.#ended = options.identity.onChange(() => this.#renew());
    this.#timer = setInterval(() => this.#endUnbelieved(), EXPIRY_LOOK_MS).unref();
  }

  get self(): ComponentName {
    return this.options.identity.name;
  }

  believe(sites: readonly TrustedSite[]): void {
    this.#sites = sites;
    this.#renew();
  }

  get #nowMs(): number {
    return (this.options.nowMs ?? Date.now)();
  }

  /** The own site is always believed: by what was told last or, before anything was, by what came with the own certificate. */
  #bundleOf(): TrustBundle {
    const { siteId } = this.self;
    if (this.#sites.some((site) => site.siteId === siteId)) return new TrustBundle(this.#sites);
    return new TrustBundle([{ siteId, caPem: this.options.identity.current().caPem }, ...this.#sites]);
  }

  #renew(): void {
    this.#bundle = this.#bundleOf();
    for (const server of this.#servers) server.setSecureContext(this.#serverOptions());
    this.#endUnbelieved();
  }

  /** Peers are judged after the handshake and before a byte of theirs is read, so that the log can say what was wrong with them. */
  #serverOptions(): ReturnType<typeof serverOptions> {
    return { ...serverOptions(this.options.identity, this.#bundle), rejectUnauthorized: false };
  }

  #endUnbelieved(): void {
    for (const [socket, { certificate, peer }] of this.#open) {
      try {
        this.#bundle.verify(certificate, this.#nowMs, peer);
      } catch (cause) {
        socket.destroy(new LinkError('LINK_PEER', `not believed any more: ${(cause as Error).message}`, { cause }));
      }
    }
  }

  createServer(onSocket: (known: KnownSocket) => void): TransportServer {
    const gate = new HandshakeGate(this.options.gate ?? GATE_LIMITS);
    const secure = createTlsServer({ ...this.#serverOptions(), handshakeTimeout: this.options.handshakeMs ?? 5000 });
    this.#servers.add(secure);
    secure.on('secureConnection', (socket) => {
      gate.passed(socket);
      const known = this.#judged(socket);
      if (known) onSocket(known);
    });
    secure.on('tlsClientError', (error, socket) => this.#refused(socket, error));
    // The raw connections come to a server of our own: they are counted before a byte of them is read.
    const server = createServer({ noDelay: true }, (socket: Socket) => {
      gate.enter(socket);
      if (!socket.destroyed) secure.emit('connection', socket);
    });
    server.once('close', () => this.#servers.delete(secure));
    return { server, endHandshakes: () => gate.end() };
  }

  #judged(socket: TLSSocket): KnownSocket | undefined {
    try {
      return this.#known(socket);
    } catch (error) {
      this.#refused(socket, error);
      return undefined;
    }
  }

  guard(admits: (peer: ComponentName) => boolean): PeerGuard {
    return {
      options: () => this.#serverOptions(),
      admit: (socket) => {
        const { peer } = this.#known(socket);
        if (!admits(peer)) throw new LinkError('LINK_PEER', `${nameUri(peer)} has no business on this port`);
      },
    };
  }

  #refused(socket: TLSSocket, error: unknown): void {
    const { remoteAddress = '' } = socket;
    socket.destroy();
    this.options.onRefused?.({ remoteAddress, reason: error instanceof Error ? error.message : String(error) });
  }

  /** Throws a TrustError that says why not. */
  #known(socket: TLSSocket, expected?: ExpectedPeer): KnownSocket {
    const { name: peer, certificate } = verifyPeer(socket, this.#bundle, this.#nowMs, expected);
    this.#open.set(socket, { certificate, peer });
    socket.once('close', () => this.#open.delete(socket));
    return { socket, peer };
  }

  connect({ address, port, localAddress, expected }: LinkTarget, signal: AbortSignal): Promise<KnownSocket> {
    return new Promise((resolve, reject) => {
      const options = clientOptions(this.options.identity, this.#bundle, expected, () => this.#nowMs);
      const socket = connect({ ...options, rejectUnauthorized: false, host: address, port, ...(localAddress === undefined ? {} : { localAddress }) });
      const stop = (): void => void socket.destroy(new Error('no connection in time'));
      signal.addEventListener('abort', stop, { once: true });
      socket.once('close', () => signal.removeEventListener('abort', stop));
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        signal.removeEventListener('abort', stop);
        socket.off('error', reject);
        socket.setNoDelay(true);
        try {
          resolve(this.#known(socket, expected));
        } catch (cause) {
          socket.destroy();
          reject(new LinkError('LINK_PEER', (cause as Error).message, { cause }));
        }
      });
    });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#ended();
  }
}
