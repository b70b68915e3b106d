import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { ComponentName } from '@tidemark/trust';
import { Link, type LinkOptions } from './link.js';
import { LinkError } from './link-error.js';
import type { KnownSocket, LinkTransport, TransportServer } from './transport.js';

/** More VRAs than ever talk to one. */
const LINKS_MAX = 512;
/** One paired site shall not take all of them. */
const LINKS_PER_SITE_MAX = 256;
/** A VRA has one; those that it lost sight of are noticed within three seconds. */
const LINKS_PER_PEER_MAX = 16;

export interface ListenOptions {
  readonly address: string;
  /** 0: any free one, see {@link LinkServer.port}. */
  readonly port: number;
  readonly link?: LinkOptions;
  readonly transport: LinkTransport;
  /** Who may connect at all: anybody else gets not even a hello. All that the transport believes, if missing. */
  readonly admits?: (peer: ComponentName) => boolean;
  /** Somebody whom the transport knows was turned away: for the log. */
  readonly onRefused?: (peer: ComponentName, reason: string) => void;
}

/** Listens on 4007 or 4008. */
export class LinkServer {
  readonly #links = new Set<Link>();

  private constructor(private readonly transportServer: TransportServer) {}

  /** `onLink` starts each link that comes in, in the same turn or later. Throws LINK_LISTEN. */
  static async listen(options: ListenOptions, onLink: (link: Link) => void): Promise<LinkServer> {
    const transportServer = options.transport.createServer((known) => listening.#accept(known, options, onLink));
    const listening = new LinkServer(transportServer);
    const { server } = transportServer;
    server.listen(options.port, options.address);
    try {
      await once(server, 'listening');
    } catch (cause) {
      throw new LinkError('LINK_LISTEN', `${options.address}:${options.port}: ${String(cause)}`, { cause });
    }
    server.on('error', () => undefined); // an accept that failed (no descriptors left): the next one may succeed
    return listening;
  }

  get port(): number {
    return (this.transportServer.server.address() as AddressInfo).port;
  }

  /** Stops listening and ends every link that came in. */
  async close(): Promise<void> {
    const { server } = this.transportServer;
    const isClosed = once(server, 'close');
    server.close();
    this.transportServer.endHandshakes();
    await Promise.all([...this.#links].map((link) => link.close()));
    await isClosed;
  }

  #accept(known: KnownSocket, options: ListenOptions, onLink: (link: Link) => void): void {
    const refusal = this.#refusal(known.peer, options);
    if (refusal !== undefined) {
      known.socket.destroy();
      options.onRefused?.(known.peer, refusal);
      return;
    }
    const link = Link.accepted(known, options.link);
    this.#links.add(link);
    // Owner of this promise: the link itself; it never rejects.
    void link.closed.then(() => this.#links.delete(link));
    onLink(link);
  }

  /** Before a byte was sent or read. */
  #refusal(peer: ComponentName, { admits }: ListenOptions): string | undefined {
    if (admits?.(peer) === false) return 'it has no business on this port';
    if (this.#links.size >= LINKS_MAX) return 'too many connections';
    const ofSite = [...this.#links].filter((link) => link.peer.siteId === peer.siteId);
    if (ofSite.length >= LINKS_PER_SITE_MAX) return 'too many connections of its site';
    const isFull = ofSite.filter((link) => link.peer.instanceId === peer.instanceId).length >= LINKS_PER_PEER_MAX;
    return isFull ? 'too many connections of this VRA' : undefined;
  }
}
