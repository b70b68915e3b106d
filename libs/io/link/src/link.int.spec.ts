import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { ProtocolError } from '@tidemark/base';
import { encodeFrame, encodeHello, FrameKind, OWN_HELLO, type FrameHeader } from '@tidemark/frame';
import { connectLink, crc32c, LinkKeeper, LinkServer, type Link, type LinkHandlers, type LinkOptions } from './index.js';
import { plainTransport } from './plain-transport.js';

const control = (text: string): Uint8Array[] => encodeFrame({ kind: FrameKind.control }, [Buffer.from(JSON.stringify({ text }))], crc32c);
const HELLO = Buffer.concat(encodeHello(OWN_HELLO, crc32c));
const LOOPBACK = '127.0.0.1';
const expected = { siteId: 'p', role: 'vra', instanceId: 'them' } as const;
const transport = plainTransport({ self: { siteId: 's', role: 'vra', instanceId: 'us' }, peer: expected });

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Received extends LinkHandlers {
  readonly texts: string[];
  readonly closed: Promise<Error | undefined>;
  waitFor(count: number): Promise<void>;
}

function receiver(onFrame?: (header: FrameHeader) => void): Received {
  const texts: string[] = [];
  let wake = (): void => undefined;
  let close: (cause: Error | undefined) => void = () => undefined;
  const closed = new Promise<Error | undefined>((resolve) => (close = resolve));
  return {
    texts,
    closed,
    onFrame(header, body) {
      onFrame?.(header);
      texts.push((JSON.parse(Buffer.from(body).toString()) as { text: string }).text);
      wake();
    },
    onClose: (cause) => close(cause),
    async waitFor(count) {
      while (texts.length < count) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

async function listen(onLink: (link: Link) => void, link: LinkOptions = {}): Promise<LinkServer> {
  const server = await LinkServer.listen({ address: LOOPBACK, port: 0, link, transport }, onLink);
  closers.push(() => server.close());
  return server;
}

async function dial(port: number, handlers: LinkHandlers, options: LinkOptions = {}): Promise<Link> {
  const link = await connectLink({ address: LOOPBACK, port, link: options, transport, expected });
  closers.push(() => link.close());
  link.start(handlers);
  return link;
}

/** A peer of bare bytes. */
async function rawPeer(port: number): Promise<Socket> {
  const socket = connect(port, LOOPBACK);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  closers.push(() => Promise.resolve(socket.destroy()));
  return socket;
}

/** Listens with bare sockets: a peer whose behaviour the test decides. */
async function rawServer(onSocket: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    onSocket(socket);
  }).listen(0, LOOPBACK);
  await once(server, 'listening');
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return (server.address() as AddressInfo).port;
}

describe('a link', () => {
  it('carries frames in order in both directions, whatever waits before start', async () => {
    const atServer = receiver();
    const server = await listen((link) => {
      setTimeout(() => link.start(atServer), 50);
      link.send(control('welcome'));
    });
    const atClient = receiver();
    const link = await dial(server.port, atClient);
    for (let index = 0; index < 500; index += 1) link.send(control(`${index}`));
    await atServer.waitFor(500);
    await atClient.waitFor(1);
    expect(atServer.texts).toEqual(Array.from({ length: 500 }, (_, index) => `${index}`));
    expect(atClient.texts).toEqual(['welcome']);
    expect(link.sentBytes).toBeGreaterThan(500 * 64);
  });

  it('measures the round trip by pings that no handler sees', async () => {
    const server = await listen((link) => link.start(receiver()));
    const measured = await new Promise<number>((resolve) => {
      const handlers: LinkHandlers = { onFrame: () => expect(true).toBe(false), onClose: () => undefined, onRoundTrip: resolve };
      void dial(server.port, handlers, { pingIntervalMs: 20 });
    });
    expect(measured).toBeGreaterThan(0);
    expect(measured).toBeLessThan(1000);
  });

  it('drains after a false send, even if its own pings go out in between', async () => {
    let peer: Socket | undefined;
    const port = await rawServer((socket) => (peer = socket.pause()));
    let drains = 0;
    const handlers: LinkHandlers = { onFrame: () => undefined, onClose: () => undefined, onDrain: () => (drains += 1) };
    const link = await dial(port, handlers, { bufferedBytesMax: 4 << 20, pingIntervalMs: 5, silenceMs: 60_000 });
    const chunk = encodeFrame({ kind: FrameKind.control }, [Buffer.from(JSON.stringify({ text: 'x'.repeat(900_000) }))], crc32c);
    while (link.send(chunk)) await new Promise((resolve) => setImmediate(resolve));
    const readUntil = async (bytesMax: number): Promise<void> => {
      while (link.bufferedBytes > bytesMax) {
        peer?.read(64 * 1024);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    };
    await readUntil(link.bufferedBytes - 1);
    for (let more = 0; more < 4; more += 1) link.send(chunk); // what others on the link had in hand
    // A slow reader: the buffer sinks below the limit, pings are sent, and only then it runs empty.
    await readUntil(0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(drains).toBe(1);
  });

  it('delivers what was sent before close, and both ends close without a cause', async () => {
    const atServer = receiver();
    const server = await listen((link) => link.start(atServer));
    const atClient = receiver();
    const link = await dial(server.port, atClient);
    link.send(control('last words'));
    await link.close();
    expect(await atServer.closed).toBeUndefined();
    expect(await atClient.closed).toBeUndefined();
    expect(atServer.texts).toEqual(['last words']);
    expect(link.send(control('too late'))).toBe(false);
  });

  it('ends with LINK_CUT when the peer ends inside a frame, at every place of it', async () => {
    const frame = Buffer.concat(control('half'));
    for (const cut of [1, 63, 64, 65, frame.length - 1]) {
      const atServer = receiver();
      const server = await listen((link) => link.start(atServer));
      const peer = await rawPeer(server.port);
      peer.write(HELLO);
      peer.write(frame);
      peer.end(frame.subarray(0, cut));
      expect(await atServer.closed).toMatchObject({ code: 'LINK_CUT' });
      expect(atServer.texts).toEqual(['half']);
    }
  });

  it('drops a peer that sends garbage, a kind it may not send, or a damaged body', async () => {
    const damaged = Buffer.concat(control('damage'));
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 3) ^ 1, damaged.length - 3);
    const wrongKind = Buffer.concat(encodeFrame({ kind: FrameKind.closeStream }, [], crc32c));
    for (const bytes of [Buffer.alloc(64, 0x41), damaged, wrongKind]) {
      const atServer = receiver();
      const server = await listen((link) => link.start(atServer), { kinds: [FrameKind.control] });
      const peer = await rawPeer(server.port);
      peer.write(HELLO);
      peer.write(bytes);
      expect(await atServer.closed).toBeInstanceOf(ProtocolError);
      expect(atServer.texts).toEqual([]);
    }
  });

  it('ends with what a handler throws', async () => {
    const atServer = receiver(() => {
      throw new ProtocolError('PROTOCOL_ORDER', 'not now');
    });
    const server = await listen((link) => link.start(atServer));
    const link = await dial(server.port, receiver());
    link.send(control('x'));
    expect(await atServer.closed).toMatchObject({ code: 'PROTOCOL_ORDER' });
    await link.closed;
  });

  it('notices a peer that is half open: connected, reading, silent', async () => {
    const port = await rawServer((socket) => socket.resume());
    const atClient = receiver();
    const beganAtMs = performance.now();
    await dial(port, atClient, { pingIntervalMs: 30, silenceMs: 150 });
    expect(await atClient.closed).toMatchObject({ code: 'LINK_SILENT' });
    expect(performance.now() - beganAtMs).toBeGreaterThanOrEqual(145);
  });

  it('tells its sender to wait when the peer does not read, and to go on when it does', async () => {
    let peer: Socket | undefined;
    const port = await rawServer((socket) => (peer = socket.pause()));
    const drained = new Promise<void>((resolve) => {
      void dial(port, { onFrame: () => undefined, onClose: () => undefined, onDrain: resolve }, { bufferedBytesMax: 1 << 20 }).then((link) => {
        const frame = encodeFrame({ kind: FrameKind.control }, [Buffer.alloc(1 << 19, 0x20)], crc32c);
        let sends = 1;
        while (link.send(frame)) sends += 1;
        expect(sends).toBeGreaterThan(1);
        expect(link.bufferedBytes).toBeGreaterThan(1 << 20);
        peer?.resume();
      });
    });
    await drained;
  });

  it('gives up a peer for which more waits than may', async () => {
    const port = await rawServer((socket) => socket.pause());
    const atClient = receiver();
    const link = await dial(port, atClient, { bufferedBytesMax: 1 << 20 });
    const frame = encodeFrame({ kind: FrameKind.control }, [Buffer.alloc(1 << 20, 0x20)], crc32c);
    for (let index = 0; index < 100; index += 1) link.send(frame);
    expect(await atClient.closed).toMatchObject({ code: 'LINK_OVERFLOW' });
  });
});

describe('hello', () => {
  const FUTURE = { versionMin: 2, versionMax: 3, features: 0xffff_ffff };

  it('comes first from both sides; the highest common version and the common features are agreed', async () => {
    const server = await listen((link) => link.start(receiver()), { hello: { versionMin: 1, versionMax: 9, features: 0b110 } });
    const agreement = await new Promise((resolve) => {
      void dial(server.port, { onReady: resolve, onFrame: () => undefined, onClose: () => undefined });
    });
    expect(agreement).toEqual({ version: 1, features: 0b10 });
  });

  it('of a future release that speaks no version of ours ends the link on both sides with an error that names both', async () => {
    const atServer = receiver();
    const server = await listen((link) => link.start(atServer), { hello: FUTURE });
    const atClient = receiver();
    await dial(server.port, atClient);
    expect(await atClient.closed).toMatchObject({ code: 'PROTOCOL_VERSION', message: 'the peer speaks frame versions 2 to 3, this side speaks frame version 1' });
    expect(await atServer.closed).toMatchObject({ code: 'PROTOCOL_VERSION', message: 'the peer speaks frame version 1, this side speaks frame versions 2 to 3' });
  });

  it('that is missing, comes twice, or never comes ends the link', async () => {
    for (const bytes of [Buffer.concat(control('x')), Buffer.concat([HELLO, HELLO])]) {
      const atServer = receiver();
      const server = await listen((link) => link.start(atServer));
      (await rawPeer(server.port)).write(bytes);
      expect(await atServer.closed).toMatchObject({ code: 'PROTOCOL_ORDER' });
    }
    const atServer = receiver();
    const server = await listen((link) => link.start(atServer), { pingIntervalMs: 20, silenceMs: 100 });
    const peer = await rawPeer(server.port);
    const trickle = setInterval(() => peer.write(HELLO.subarray(0, 1)), 10);
    expect(await atServer.closed).toBeInstanceOf(Error);
    clearInterval(trickle);
    expect(atServer.texts).toEqual([]);
  });

  it('is followed by an error that names a frame of an unknown kind', async () => {
    const atServer = receiver();
    const server = await listen((link) => link.start(atServer));
    const unknown = Buffer.concat(encodeFrame({ kind: FrameKind.closeStream }, [], crc32c));
    unknown.writeUInt16LE(777, 10);
    unknown.writeUInt32LE(crc32c(unknown.subarray(4, 64)), 0);
    (await rawPeer(server.port)).write(Buffer.concat([HELLO, unknown]));
    expect(await atServer.closed).toMatchObject({ code: 'PROTOCOL_KIND', message: 'unknown frame kind 777' });
  });
});

describe('a hostile peer', () => {
  it('that trickles a frame in is dropped, and nothing was allocated for what it announced', async () => {
    const atServer = receiver();
    const server = await listen((link) => link.start(atServer), { pingIntervalMs: 20, progressMs: 200 });
    const peer = await rawPeer(server.port);
    const long = Buffer.concat(encodeFrame({ kind: FrameKind.records, stream: 1, count: 1, firstSeq: 1, lastSeq: 1 }, [Buffer.alloc(32 << 20)], crc32c));
    peer.write(HELLO);
    peer.write(long.subarray(0, 64));
    const before = process.memoryUsage().arrayBuffers;
    const trickle = setInterval(() => peer.write(long.subarray(64, 65)), 5);
    expect(await atServer.closed).toMatchObject({ code: 'LINK_SILENT' });
    clearInterval(trickle);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
  });

  it('with a flood of connections gets sixteen', async () => {
    const server = await listen((link) => link.start(receiver()));
    const peers = await Promise.all(Array.from({ length: 40 }, () => rawPeer(server.port)));
    for (const peer of peers) peer.resume();
    const dropped = (): number => peers.filter((peer) => peer.destroyed || peer.readableEnded).length;
    for (let tries = 0; dropped() < 24 && tries < 200; tries += 1) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(dropped()).toBe(24);
  });

  it('that has no business on the port gets not even a hello', async () => {
    const refusals: string[] = [];
    const server = await LinkServer.listen(
      { address: LOOPBACK, port: 0, transport, admits: ({ siteId }) => siteId === 's', onRefused: (peer, reason) => refusals.push(`${peer.instanceId}: ${reason}`) },
      () => refusals.push('let in'),
    );
    closers.push(() => server.close());
    const peer = await rawPeer(server.port);
    let receivedBytes = 0;
    peer.on('data', (chunk) => (receivedBytes += chunk.byteLength));
    await once(peer, 'close');
    expect([receivedBytes, refusals]).toEqual([0, ['them: it has no business on this port']]);
  });
});

describe('listening and connecting', () => {
  it('reports an address in use, and a peer that is not there', async () => {
    const server = await listen(() => undefined);
    await expect(LinkServer.listen({ address: LOOPBACK, port: server.port, transport }, () => undefined)).rejects.toMatchObject({ code: 'LINK_LISTEN' });
    const port = await rawServer(() => undefined);
    await closers.pop()?.();
    await expect(connectLink({ address: LOOPBACK, port, transport, expected })).rejects.toMatchObject({ code: 'LINK_UNREACHABLE', isRetryable: true });
  });

  it('connects from the address it is told to', async () => {
    const seen = new Promise<string>((resolve) => {
      void listen((link) => resolve(link.remoteAddress)).then((server) =>
        connectLink({ address: LOOPBACK, port: server.port, localAddress: '127.0.0.9', transport, expected }).then((link) => closers.push(() => link.close())),
      );
    });
    expect(await seen).toBe('127.0.0.9');
  });

  it('a keeper connects again after each end, and stops when closed', async () => {
    let accepted = 0;
    const server = await listen((link) => {
      accepted += 1;
      link.start({ onFrame: () => undefined, onClose: () => undefined });
      if (accepted < 3) link.destroy(new Error('test'));
    });
    let opened = 0;
    const third = new Promise<Link>((resolve) => {
      const keeper = new LinkKeeper({
        address: LOOPBACK,
        port: server.port,
        transport,
        expected,
        random: () => 0,
        onLink(link) {
          opened += 1;
          link.start({ onFrame: () => undefined, onClose: () => undefined });
          if (opened === 3) resolve(link);
        },
      });
      closers.push(() => keeper.close());
    });
    const link = await third;
    await closers.pop()?.();
    expect(link.isOpen).toBe(false);
    expect(accepted).toBe(3);
  });
});
