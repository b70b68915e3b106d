import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { Link, type LinkOptions } from './link.js';
import { LinkError } from './link-error.js';
import { tcpTransport, type LinkTransport } from './transport.js';

/** More VRAs than ever talk to one, and a bound on what strangers can open. */
const LINKS_MAX = 512;
/** One host, or one site behind address translation, shall not take all of them. */
const LINKS_PER_ADDRESS_MAX = 128;

export interface ListenOptions {
  readonly address: string;
  /** 0: any free one, see {@link LinkServer.port}. */
  readonly port: number;
  readonly link?: LinkOptions;
  readonly transport?: LinkTransport;
}

/** Listens on 4007 or 4008. */
export class LinkServer {
  readonly #links = new Set<Link>();

  private constructor(private readonly server: Server) {}

  /** `onLink` starts each link that comes in, in the same turn or later. Throws LINK_LISTEN. */
  static async listen(options: ListenOptions, onLink: (link: Link) => void): Promise<LinkServer> {
    const transport = options.transport ?? tcpTransport;
    const server = transport.createServer((socket) => listening.#accept(socket, options.link, onLink));
    const listening = new LinkServer(server);
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
    return (this.server.address() as AddressInfo).port;
  }

  /** Stops listening and ends every link that came in. */
  async close(): Promise<void> {
    const isClosed = once(this.server, 'close');
    this.server.close();
    await Promise.all([...this.#links].map((link) => link.close()));
    await isClosed;
  }

  #accept(socket: Socket, options: LinkOptions | undefined, onLink: (link: Link) => void): void {
    if (this.#links.size >= LINKS_MAX) {
      socket.destroy();
      return;
    }
    const link = Link.accepted(socket, options);
    if (this.#countOf(link.remoteAddress) >= LINKS_PER_ADDRESS_MAX) {
      link.destroy(new LinkError('LINK_CLOSED', `too many connections from ${link.remoteAddress}`));
      return;
    }
    this.#links.add(link);
    // Owner of this promise: the link itself; it never rejects.
    void link.closed.then(() => this.#links.delete(link));
    onLink(link);
  }

  #countOf(remoteAddress: string): number {
    let count = 0;
    for (const link of this.#links) if (link.remoteAddress === remoteAddress) count += 1;
    return count;
  }
}
