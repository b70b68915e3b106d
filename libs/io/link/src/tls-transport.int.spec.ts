import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { ComponentIdentity, makeRequest, SiteCa, type ComponentName, type TrustedSite } from '@tidemark/trust';
import { connectLink, LinkServer, TlsTransport, type Link, type LinkHandlers, type TlsTransportOptions } from './index.js';

const LOOPBACK = '127.0.0.1';
const SITES = { own: 'site-own', paired: 'site-paired', stranger: 'site-stranger' } as const;
let folder: string;
const cas = new Map<string, SiteCa>();
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-link-tls-'));
  for (const siteId of Object.values(SITES)) cas.set(siteId, await SiteCa.openOrMake(join(folder, siteId), { siteId, siteName: siteId }, () => Date.now()));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const caOf = (siteId: string): SiteCa => {
  const ca = cas.get(siteId);
  if (!ca) throw new Error(siteId);
  return ca;
};
const trusted = (...siteIds: string[]): TrustedSite[] => siteIds.map((siteId) => ({ siteId, caPem: [...caOf(siteId).trustedPem] }));
const nameOf = (siteId: string, instanceId: string, role: ComponentName['role'] = 'vra'): ComponentName => ({ siteId, role, instanceId });
const SERVER = nameOf(SITES.own, 'server');

let identities = 0;
/** `signer` differs from the name's site: a CA that signs what it may not. */
async function identity(name: ComponentName, { signer = name.siteId, lifetimeMs }: { readonly signer?: string; readonly lifetimeMs?: number } = {}): Promise<ComponentIdentity> {
  const { pem, keyPem } = await makeRequest();
  const forged = signer === name.siteId ? caOf(signer) : await SiteCa.openOrMake(join(folder, `forged-${signer}`), { siteId: name.siteId, siteName: 'forged' }, () => Date.now());
  const { certificatePem } = await forged.issue(pem, name, [LOOPBACK], lifetimeMs);
  identities += 1;
  return await ComponentIdentity.store(join(folder, `identity-${String(identities)}`), { keyPem, certificatePem, caPem: [...caOf(name.siteId).trustedPem] });
}

async function transportOf(name: ComponentName, believed: readonly string[], options: Partial<TlsTransportOptions> = {}): Promise<TlsTransport> {
  const transport = new TlsTransport({ identity: await identity(name), ...options });
  transport.believe(trusted(...believed));
  closers.push(() => transport.close());
  return transport;
}

const QUIET: LinkHandlers = { onFrame: () => undefined, onClose: () => undefined };

interface Serving {
  readonly server: LinkServer;
  readonly transport: TlsTransport;
  readonly links: Link[];
  readonly refusals: string[];
}

async function serve({ believed = [SITES.own, SITES.paired], ...options }: Partial<TlsTransportOptions> & { readonly believed?: readonly string[] } = {}): Promise<Serving> {
  const links: Link[] = [];
  const refusals: string[] = [];
  const transport = await transportOf(SERVER, believed, { onRefused: ({ reason }) => refusals.push(reason), ...options });
  const server = await LinkServer.listen({ address: LOOPBACK, port: 0, transport }, (link) => {
    links.push(link);
    link.start(QUIET);
  });
  closers.push(() => server.close());
  return { server, transport, links, refusals };
}

async function dial(transport: TlsTransport, port: number, expected: ComponentName = SERVER): Promise<Link> {
  const link = await connectLink({ address: LOOPBACK, port, transport, expected });
  closers.push(() => link.close());
  return link;
}

const ready = (link: Link): Promise<boolean> => new Promise((resolve) => link.start({ ...QUIET, onReady: () => resolve(true), onClose: () => resolve(false) }));

/** `once` would reject with the error that comes before it. */
const closed = (socket: Socket): Promise<void> => new Promise((resolve) => void socket.once('close', () => resolve()));

/** Everything that a raw client gets after its handshake; `isConnected`: it was done, as the client sees it. */
async function bytesFor(port: number, options: ConnectionOptions): Promise<{ readonly bytes: number; readonly isConnected: boolean }> {
  const socket = connectTls({ host: LOOPBACK, port, rejectUnauthorized: false, ...options });
  let bytes = 0;
  let isConnected = false;
  socket.on('secureConnect', () => (isConnected = true)).on('data', (chunk: Buffer) => (bytes += chunk.byteLength)).on('error', () => undefined);
  await closed(socket);
  return { bytes, isConnected };
}

const until = async (what: string, probe: () => boolean): Promise<void> => {
  for (let tries = 0; !probe(); tries += 1) {
    if (tries > 200) throw new Error(what);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

describe('links over TLS', () => {
  it('of the own and of a paired site say who they are, by their certificates', async () => {
    const { server, links } = await serve();
    for (const name of [nameOf(SITES.own, 'a'), nameOf(SITES.paired, 'b')]) {
      const link = await dial(await transportOf(name, Object.values(SITES)), server.port);
      expect(await ready(link)).toBe(true);
      expect(link.peer).toEqual(SERVER);
      expect(links.at(-1)?.peer).toEqual(name);
    }
  });

  it.each<[string, () => Promise<ComponentIdentity>, RegExp]>([
    ['an unpaired site', () => identity(nameOf(SITES.stranger, 'x')), /a site that this one does not trust/],
    ['a site whose CA is not the one that is known', () => identity(nameOf(SITES.paired, 'x'), { signer: 'forger' }), /no CA that this component knows of that site/],
  ])('give nothing, not even a hello, to %s', async (_, make, reason) => {
    const { server, refusals, links } = await serve();
    const { keyPem, certificatePem } = (await make()).current();
    expect((await bytesFor(server.port, { key: keyPem, cert: certificatePem })).bytes).toBe(0);
    expect(refusals).toEqual([expect.stringMatching(reason)]);
    expect(links).toEqual([]);
  });

  it('give nothing to who shows no certificate, speaks an older TLS, or speaks no TLS', async () => {
    const { server, links } = await serve();
    expect((await bytesFor(server.port, {})).bytes).toBe(0);
    const { keyPem, certificatePem } = (await identity(nameOf(SITES.paired, 'old'))).current();
    expect(await bytesFor(server.port, { key: keyPem, cert: certificatePem, maxVersion: 'TLSv1.2' })).toEqual({ bytes: 0, isConnected: false });
    const plain = connectTcp(server.port, LOOPBACK);
    const received: Buffer[] = [];
    plain.on('data', (chunk) => received.push(chunk)).on('error', () => undefined);
    plain.write('TDMF hello, who are you? I have come to replicate');
    await closed(plain);
    // An alert of TLS at most: 7 bytes that say nothing of Tidemark.
    expect(Buffer.concat(received).length).toBeLessThanOrEqual(7);
    expect(links).toEqual([]);
  });

  it('refuse a certificate that has run out or has not begun, and say both times', async () => {
    const day = 86_400_000;
    for (const [offsetMs, reason] of [[91 * day, /ended at .*clock says/], [-3 * day, /begins at .*clock says/]] as const) {
      const { server, refusals } = await serve({ nowMs: () => Date.now() + offsetMs });
      const link = await dial(await transportOf(nameOf(SITES.paired, 'b'), Object.values(SITES)), server.port);
      expect(await ready(link)).toBe(false);
      expect(refusals).toEqual([expect.stringMatching(reason)]);
    }
  });

  it('refuse a certificate whose life is over by the clock of TLS itself', async () => {
    const { server, refusals } = await serve();
    const short = await identity(nameOf(SITES.paired, 'short'), { lifetimeMs: 1000 });
    await new Promise((resolve) => setTimeout(resolve, 2100));
    const transport = new TlsTransport({ identity: short });
    transport.believe(trusted(...Object.values(SITES)));
    closers.push(() => transport.close());
    expect(await ready(await dial(transport, server.port))).toBe(false);
    expect(refusals[0]).toMatch(/ended at/);
  });

  it('go to nobody but the VRA that was meant', async () => {
    const { server } = await serve();
    const transport = await transportOf(nameOf(SITES.paired, 'b'), Object.values(SITES));
    for (const wrong of [nameOf(SITES.own, 'another'), nameOf(SITES.paired, 'server'), nameOf(SITES.own, 'server', 'zvm')]) {
      await expect(dial(transport, server.port, wrong)).rejects.toMatchObject({ code: 'LINK_PEER' });
    }
    const naive = await transportOf(nameOf(SITES.paired, 'c'), [SITES.paired]);
    await expect(dial(naive, server.port)).rejects.toMatchObject({ code: 'LINK_PEER', message: expect.stringMatching(/does not trust/) as unknown });
  });

  it('end at once when their site is not believed any more, and cannot be made again', async () => {
    const { server, transport, links } = await serve();
    const remote = await transportOf(nameOf(SITES.paired, 'b'), Object.values(SITES));
    const [local, paired] = [await dial(await transportOf(nameOf(SITES.own, 'a'), [SITES.own]), server.port), await dial(remote, server.port)];
    expect([await ready(local), await ready(paired)]).toEqual([true, true]);
    transport.believe(trusted(SITES.own));
    expect(await links[1]?.closed).toMatchObject({ code: 'LINK_CUT', message: expect.stringMatching(/not believed any more/) as unknown });
    await paired.closed;
    expect([local.isOpen, links[0]?.isOpen]).toEqual([true, true]);
    expect(await ready(await dial(remote, server.port))).toBe(false);
    transport.believe(trusted(SITES.own, SITES.paired));
    expect(await ready(await dial(remote, server.port))).toBe(true);
  });

  it('of a VRA that its site has taken back end at once at both ends, and cannot be made again; another VRA of it, or one that is enrolled anew, can', async () => {
    const { server, transport, links, refusals } = await serve();
    const removed = await identity(nameOf(SITES.paired, 'removed'));
    const [gone, kept] = [await transportOf(removed.name, Object.values(SITES), { identity: removed }), await transportOf(nameOf(SITES.paired, 'kept'), Object.values(SITES))];
    const [goneLink, keptLink] = [await dial(gone, server.port), await dial(kept, server.port)];
    expect([await ready(goneLink), await ready(keptLink)]).toEqual([true, true]);
    const voided = [{ role: 'vra' as const, instanceId: 'removed', beforeMs: removed.current().notBeforeMs + 1 }];
    transport.believe(trusted(SITES.own, SITES.paired).map((site) => (site.siteId === SITES.paired ? { ...site, voided } : { ...site, voided: [{ role: 'vra' as const, instanceId: 'kept', beforeMs: Date.now() }] })));
    expect(await links[0]?.closed).toMatchObject({ code: 'LINK_CUT', message: expect.stringMatching(/not believed any more.*taken back/) as unknown });
    await goneLink.closed;
    expect(await ready(await dial(gone, server.port))).toBe(false);
    expect(refusals).toEqual([expect.stringMatching(/vra\/removed was taken back by its site.*enrolled anew/)]);
    expect([keptLink.isOpen, links[1]?.isOpen]).toEqual([true, true]);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(await ready(await dial(await transportOf(removed.name, Object.values(SITES)), server.port))).toBe(true);
  });

  it('stand when what is believed comes again, end when the VRA that was dialled is taken back, and are not made to it again', async () => {
    const { server } = await serve();
    const remote = await transportOf(nameOf(SITES.paired, 'b'), [SITES.own, SITES.paired]);
    const link = await dial(remote, server.port);
    expect(await ready(link)).toBe(true);
    remote.believe(trusted(SITES.own, SITES.paired));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(link.isOpen).toBe(true);
    remote.believe(trusted(SITES.own, SITES.paired).map((site) => ({ ...site, voided: [{ role: 'vra' as const, instanceId: SERVER.instanceId, beforeMs: Date.now() }] })));
    expect(await link.closed).toMatchObject({ message: expect.stringMatching(/taken back/) as unknown });
    await expect(dial(remote, server.port)).rejects.toMatchObject({ code: 'LINK_PEER', message: expect.stringMatching(/taken back/) as unknown });
  });

  it('end when a believed site has another CA now, and stand while it has both', async () => {
    const { server, transport, links } = await serve();
    const remote = await transportOf(nameOf(SITES.paired, 'b'), Object.values(SITES));
    const link = await dial(remote, server.port);
    expect(await ready(link)).toBe(true);
    const other = await SiteCa.openOrMake(join(folder, 'rotated'), { siteId: SITES.paired, siteName: 'rotated' }, () => Date.now());
    const [old] = trusted(SITES.paired);
    transport.believe([...trusted(SITES.own), { siteId: SITES.paired, caPem: [...other.trustedPem, ...(old?.caPem ?? [])] }]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(link.isOpen).toBe(true);
    transport.believe([...trusted(SITES.own), { siteId: SITES.paired, caPem: [...other.trustedPem] }]);
    await links[0]?.closed;
    await link.closed;
  });

  it('are shown the renewed certificate without a restart, and those that stand stay', async () => {
    const own = await identity(SERVER);
    const { server } = await serve({ identity: own });
    const remote = await transportOf(nameOf(SITES.paired, 'b'), Object.values(SITES));
    const before = await dial(remote, server.port);
    expect(await ready(before)).toBe(true);
    const renewed = (await identity(SERVER)).current();
    await own.replace(renewed);
    const probe = connectTls({ host: LOOPBACK, port: server.port, rejectUnauthorized: false });
    probe.on('error', () => undefined);
    await once(probe, 'secureConnect');
    expect(renewed.certificatePem).toContain(probe.getPeerX509Certificate()?.toString().trim());
    expect(before.isOpen).toBe(true);
    expect(await ready(await dial(remote, server.port))).toBe(true);
  });
});

describe('connections that do not show who they are', () => {
  const silent = async (port: number, localAddress: string): Promise<Socket> => {
    const socket = connectTcp({ port, host: LOOPBACK, localAddress });
    socket.on('error', () => undefined);
    closers.push(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };

  it('are ended in time', async () => {
    const { server, refusals } = await serve({ handshakeMs: 200 });
    const socket = await silent(server.port, '127.0.0.1');
    const startedMs = performance.now();
    socket.resume();
    await closed(socket);
    expect(performance.now() - startedMs).toBeLessThan(2000);
    expect(refusals).toEqual([expect.stringMatching(/handshake/i)]);
  });

  it('push out each other, oldest first, and never a VRA', async () => {
    const { server, links } = await serve({ gate: { handshakesMax: 8, handshakesPerAddressMax: 4 } });
    const sockets: Socket[] = [];
    for (let index = 0; index < 40; index += 1) sockets.push((await silent(server.port, `127.0.0.${String(10 + (index % 10))}`)).resume());
    await until('the oldest are gone', () => sockets.filter((socket) => socket.destroyed).length === 32);
    expect(sockets.slice(0, 20).every((socket) => socket.destroyed)).toBe(true);
    const link = await dial(await transportOf(nameOf(SITES.paired, 'b'), Object.values(SITES)), server.port);
    expect(await ready(link)).toBe(true);
    expect(links.length).toBe(1);
  });

  it('do not keep the server from closing', async () => {
    const { server } = await serve();
    await silent(server.port, '127.0.0.1');
    closers.splice(closers.length - 2, 1);
    const startedMs = performance.now();
    await server.close();
    expect(performance.now() - startedMs).toBeLessThan(1000);
  });
});
