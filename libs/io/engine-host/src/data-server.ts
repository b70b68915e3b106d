import { MiB, ProtocolError } from '@tidemark/base';
import { decodeOpen, encodeFrame, encodeRefused, FrameKind, type FrameHeader } from '@tidemark/frame';
import { crc32c, LinkServer, type Link, type LinkTransport } from '@tidemark/link';
import { nameUri } from '@tidemark/trust';
import type { RecoveryHost } from './recovery-host.js';
import { protectionKey, type Logger, type ProtectionRef } from './types.js';

/** Streams that one connection may open: a VRA protects at most 1500 volumes. */
const STREAMS_MAX = 1500;

/** Replies that wait: a peer that asks and asks and reads no answer is given up at twice this. */
const REPLY_BYTES_MAX = 2 * MiB;

interface OpenStream {
  readonly host: RecoveryHost;
  readonly connection: number;
}

/**
 * Port 4008: streams of protecting VRAs, each handed to the recovery of its protection. A protection of another pairing does not exist for who asks (ADR 0030):
 * the answer is the one that an unknown protection gets.
 */
export class DataServer {
  #nextConnection = 1;
  #server: LinkServer | undefined;

  constructor(
    private readonly transport: LinkTransport,
    private readonly find: (key: string) => RecoveryHost | undefined,
    private readonly log: Logger,
  ) {}

  async listen(address: string, port: number): Promise<number> {
    const kinds = [FrameKind.open, FrameKind.records, FrameKind.closeStream, FrameKind.hashRequest];
    this.#server = await LinkServer.listen({
      address, port,
      transport: this.transport,
      link: { kinds, bufferedBytesMax: REPLY_BYTES_MAX, overflowBytes: REPLY_BYTES_MAX },
      admits: ({ role }) => role === 'vra',
      onRefused: (peer, reason) => this.log.warn({ port, peer, reason }, 'a data connection was refused'),
    }, (link) => this.#accept(link));
    return this.#server.port;
  }

  async close(): Promise<void> {
    await this.#server?.close();
  }

  #accept(link: Link): void {
    const streams = new Map<number, OpenStream>();
    link.start({
      onFrame: (header, body) => this.#frame(link, streams, header, body),
      onClose: (cause) => {
        for (const { host, connection } of streams.values()) host.connectionLost(connection);
        if (cause) this.log.info({ peer: nameUri(link.peer), address: link.remoteAddress, cause: cause.message }, 'data connection ended');
      },
    });
  }

  #frame(link: Link, streams: Map<number, OpenStream>, header: FrameHeader, body: Uint8Array): void {
    if (header.kind === FrameKind.open) {
      this.#open(link, streams, header.stream, body);
      return;
    }
    const stream = streams.get(header.stream);
    // Frames of a stream that was closed or refused here may still be under way: they are not an error.
    if (!stream) return;
    if (header.kind === FrameKind.records) {
      stream.host.frame(stream.connection, header, body);
      return;
    }
    if (header.kind === FrameKind.hashRequest) {
      stream.host.hashRequest(stream.connection, body);
      return;
    }
    stream.host.connectionLost(stream.connection);
    streams.delete(header.stream);
  }

  #open(link: Link, streams: Map<number, OpenStream>, streamId: number, body: Uint8Array): void {
    const request = decodeOpen(body);
    if (streams.has(streamId)) throw new ProtocolError('PROTOCOL_ORDER', `stream ${String(streamId)} is opened twice on one connection`);
    const host = this.#hostFor(link, request);
    if (!host) {
      const refusal = encodeRefused({ code: 'unknown', message: 'this VRA does not recover that VM' });
      link.send(encodeFrame({ kind: FrameKind.refused, stream: streamId }, [refusal], crc32c));
      return;
    }
    if (streams.size >= STREAMS_MAX) throw new ProtocolError('PROTOCOL_LIMIT', 'too many streams on one connection');
    const connection = this.#nextConnection;
    this.#nextConnection += 1;
    streams.set(streamId, { host, connection });
    const reply = { connection, streamId, send: (chunks: readonly Uint8Array[]) => void link.send(chunks), ended: () => void streams.delete(streamId), fail: (error: unknown) => link.destroy(error instanceof Error ? error : new Error(String(error))) };
    host.open(reply, request);
  }

  #hostFor({ peer }: Link, request: ProtectionRef): RecoveryHost | undefined {
    const host = this.find(protectionKey(request));
    if (!host || host.spec.protectedSiteId === peer.siteId) return host;
    const { protectedSiteId } = host.spec;
    this.log.warn({ peer: nameUri(peer), protection: protectionKey(request), protectedSiteId }, 'a VRA asked for the stream of a VM that another site protects: it is told that there is none');
    return undefined;
  }
}
