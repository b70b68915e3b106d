import { ProtocolError } from '@tidemark/base';
import { decodeControlMessage, encodeControlMessage, type ControlMessage } from '@tidemark/checkpoint';
import { decodeControl, encodeFrame, encodeJson, FrameKind } from '@tidemark/frame';
import { crc32c, LinkKeeper, LinkServer, type Link, type LinkTransport } from '@tidemark/link';
import { decodeControlHello, type ControlHello } from './control-hello.js';
import { decodeHeldMessage, isHeldType, type HeldMessage } from './held-report.js';
import { decodeQuiesceMessage, type QuiesceMessage } from './quiesce-message.js';
import type { Logger, VraAddress } from './types.js';

export interface MeshHandlers {
  peerUp(vraId: string): void;
  peerLost(vraId: string): void;
  roundTripMeasured(vraId: string, roundTripMs: number): void;
  message(fromVraId: string, message: ControlMessage): void;
  held(fromVraId: string, message: HeldMessage): void;
  quiesce(fromVraId: string, message: QuiesceMessage): void;
}

/**
 * Port 4007: one connection between any two VRAs of this site that make checkpoints or retire journals together. The one with the smaller id
 * connects; each says who it is, as its certificate does, and the connection works in both directions from the other's hello on. Nobody else
 * gets a word there: no VRA of a paired site, no other component.
 */
export class ControlMesh {
  readonly #keepers = new Map<string, { readonly address: VraAddress; readonly keeper: LinkKeeper }>();
  readonly #links = new Map<string, Link>();
  #server: LinkServer | undefined;

  constructor(
    private readonly self: { readonly vraId: string; readonly address: string; readonly transport: LinkTransport },
    private readonly handlers: MeshHandlers,
    private readonly log: Logger,
  ) {}

  async listen(port: number): Promise<number> {
    const { address, transport } = this.self;
    this.#server = await LinkServer.listen({
      address, port, transport,
      link: { kinds: [FrameKind.control] },
      admits: ({ siteId, role }) => siteId === transport.self.siteId && role === 'vra',
      onRefused: (peer, reason) => this.log.warn({ port: this.#server?.port, peer, reason }, 'a control connection was refused'),
    }, (link) => this.#start(link));
    return this.#server.port;
  }

  isPeerUp(vraId: string): boolean {
    return this.#links.has(vraId);
  }

  send(vraId: string, message: ControlMessage | HeldMessage | QuiesceMessage): void {
    const link = this.#links.get(vraId);
    if (link) sendControl(link, message.type === 'barrier' || message.type === 'retirement' ? encodeControlMessage(message) : encodeJson(message));
  }

  /** Keeps connections to exactly these VRAs (those that this one has to connect to). */
  setPeers(peers: readonly VraAddress[]): void {
    const wanted = new Map(peers.filter(({ vraId }) => vraId > this.self.vraId).map((peer) => [peer.vraId, peer]));
    for (const [vraId, { address, keeper }] of this.#keepers) {
      const peer = wanted.get(vraId);
      if (peer?.address === address.address && peer.controlPort === address.controlPort) continue;
      this.#keepers.delete(vraId);
      void keeper.close();
    }
    for (const peer of wanted.values()) if (!this.#keepers.has(peer.vraId)) this.#keep(peer);
  }

  #keep(peer: VraAddress): void {
    const keeper = new LinkKeeper({
      address: peer.address,
      port: peer.controlPort,
      localAddress: this.self.address,
      transport: this.self.transport,
      expected: { siteId: this.self.transport.self.siteId, role: 'vra', instanceId: peer.vraId },
      link: { kinds: [FrameKind.control] },
      onLink: (link) => this.#start(link),
    });
    this.#keepers.set(peer.vraId, { address: peer, keeper });
  }

  #start(link: Link): void {
    let vraId: string | undefined;
    link.start({
      onReady: () => sendControl(link, encodeJson({ type: 'hello', vraId: this.self.vraId } satisfies ControlHello)),
      onFrame: (_, body) => {
        if (vraId === undefined) {
          const claimed = decodeControlHello(body).vraId;
          if (claimed !== link.peer.instanceId) throw new ProtocolError('PROTOCOL_ORDER', `VRA ${link.peer.instanceId}, by its certificate, says that it is ${claimed}`);
          vraId = claimed;
          this.#up(vraId, link);
        } else this.#message(vraId, body);
      },
      onRoundTrip: (roundTripMs) => {
        if (vraId !== undefined) this.handlers.roundTripMeasured(vraId, roundTripMs);
      },
      onClose: (cause) => {
        if (vraId !== undefined && this.#links.get(vraId) === link) this.#lost(vraId, cause);
        // Nobody counts on this peer yet: without a word here, another version would only show as checkpoints that never come.
        else if (vraId === undefined && cause) this.log.warn({ peer: link.peer.instanceId, cause: cause.message }, 'there is no talking to a VRA on 4007; it is tried again');
      },
    });
  }

  #up(vraId: string, link: Link): void {
    const older = this.#links.get(vraId);
    if (older) {
      this.#lost(vraId, undefined);
      older.destroy(new ProtocolError('PROTOCOL_ORDER', 'the same VRA has connected again'));
    }
    this.#links.set(vraId, link);
    this.handlers.peerUp(vraId);
  }

  #lost(vraId: string, cause: Error | undefined): void {
    this.#links.delete(vraId);
    this.log.warn({ peer: vraId, cause: cause?.message ?? 'closed' }, 'control connection to a VRA ended');
    this.handlers.peerLost(vraId);
  }

  #message(vraId: string, body: Uint8Array): void {
    const { type } = decodeControl(body);
    if (isHeldType(type)) this.handlers.held(vraId, decodeHeldMessage(body));
    else if (type === 'quiesce') this.handlers.quiesce(vraId, decodeQuiesceMessage(body));
    else this.handlers.message(vraId, decodeControlMessage(body));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#keepers.values()].map(({ keeper }) => keeper.close()));
    await this.#server?.close();
  }
}

function sendControl(link: Link, body: Uint8Array): void {
  link.send(encodeFrame({ kind: FrameKind.control }, [body], crc32c));
}
