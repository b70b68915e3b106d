import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { VraEngine, type RecoverySpec } from '@tidemark/engine-host';
import { decodeRefused, encodeFrame, encodeHello, encodeOpen, FrameDecoder, FrameKind, OWN_HELLO } from '@tidemark/frame';
import { crc32c, TlsTransport } from '@tidemark/link';
import type { ComponentIdentity, Role } from '@tidemark/trust';
import { quietLog, until } from './rig.js';
import { TestSite } from './test-site.js';

/** A recovering VRA of site `own`, which is paired with `paired` and `other`; each protects one VM into it. `stranger` is paired with nobody. */
const DISK_BYTES = MiB;
const VPG = randomUUID();
type SiteName = 'own' | 'paired' | 'other' | 'stranger';
let folder: string;
let sites: Record<SiteName, TestSite>;
let vra: VraEngine;
let revision = 0;
const sockets: TLSSocket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-pairing-'));
  const [own, paired, other, stranger] = await Promise.all(['own', 'paired', 'other', 'stranger'].map((siteId) => TestSite.in(folder, siteId))) as [TestSite, TestSite, TestSite, TestSite];
  sites = { own, paired, other, stranger };
  vra = await startVra({ controlPort: 0, dataPort: 0 });
  await trust('paired', 'other');
  for (const siteId of ['paired', 'other'] as const) await vra.putRecovery(recovery(siteId));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await vra.close();
  await rm(folder, { recursive: true, force: true });
});

async function startVra({ controlPort, dataPort }: { readonly controlPort: number; readonly dataPort: number }): Promise<VraEngine> {
  return await VraEngine.start({
    vraId: 'r', transport: await sites.own.transport('r'), address: '127.0.0.1', controlPort, dataPort, nbdSocketPath: join(folder, 'nbd.sock'), stateFolder: join(folder, 'state'),
    captureBytesMax: 16 * MiB, log: { ...quietLog, error: () => undefined },
  });
}

/** At the same ports, with what it had on disk. */
async function restart(): Promise<void> {
  const { address } = vra;
  await vra.close();
  vra = await startVra(address);
}

const trust = (...paired: SiteName[]): Promise<void> =>
  vra.applyDesiredState({ revision: (revision += 1), trust: { sites: (['own', ...paired] as const).map((name) => sites[name].trusted) }, attachedVms: [], protections: [], barriers: [] });

const recovery = (siteId: SiteName): RecoverySpec => ({
  vpgId: VPG, vmId: `vm-of-${siteId}`, protectedSiteId: siteId, epoch: 1, recoverers: [{ vra: vra.address, vmIds: [`vm-of-${siteId}`] }], historyMs: 3_600_000,
  volumes: [{ diskId: 'd', sizeBytes: DISK_BYTES, mirrorPath: join(folder, 'recovery', siteId, 'mirror.raw') }], journalFolder: join(folder, 'recovery', siteId, 'journal'),
  datastore: { path: join(folder, 'recovery'), capacityBytes: 1024 * MiB },
});

/** Somebody with a certificate, on a bare TLS socket: what comes back is counted and read as frames. */
class Caller {
  readonly answers: string[] = [];
  receivedBytes = 0;
  isEnded = false;

  private constructor(readonly socket: TLSSocket) {
    const decoder = new FrameDecoder({ crc32c });
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      decoder.feed(chunk, ({ kind }, body) => {
        if (kind === FrameKind.opened) this.answers.push('opened');
        if (kind === FrameKind.refused) this.answers.push(`${decodeRefused(body).code}: ${decodeRefused(body).message}`);
        if (kind === FrameKind.control) this.answers.push('control');
      });
    });
    socket.on('error', () => undefined).on('close', () => (this.isEnded = true));
  }

  static async call(port: number, identity: ComponentIdentity): Promise<Caller> {
    const { keyPem, certificatePem } = identity.current();
    const socket = connect({ host: '127.0.0.1', port, key: keyPem, cert: certificatePem, rejectUnauthorized: false });
    sockets.push(socket);
    const caller = new Caller(socket);
    await new Promise<void>((resolve) => void socket.once('secureConnect', () => resolve()).once('close', () => resolve()));
    return caller.send(encodeHello(OWN_HELLO, crc32c));
  }

  send(chunks: readonly Uint8Array[]): this {
    for (const chunk of chunks) this.socket.write(chunk);
    return this;
  }

  open(stream: number, vmId: string): this {
    const request = { vpgId: VPG, vmId, epoch: 1, sessionId: randomUUID(), volumes: [DISK_BYTES], firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 };
    return this.send(encodeFrame({ kind: FrameKind.open, stream }, [encodeOpen(request)], crc32c));
  }

  sayHello(vraId: string): this {
    return this.send(encodeFrame({ kind: FrameKind.control }, [Buffer.from(JSON.stringify({ type: 'hello', vraId }))], crc32c));
  }
}

const identityOf = (site: SiteName, instanceId: string, role: Role = 'vra'): Promise<ComponentIdentity> => sites[site].identity(instanceId, { role });
const data = async (site: SiteName, instanceId = 'p', role: Role = 'vra'): Promise<Caller> => await Caller.call(vra.address.dataPort, await identityOf(site, instanceId, role));
const control = async (site: SiteName, instanceId = 'z', role: Role = 'vra'): Promise<Caller> => await Caller.call(vra.address.controlPort, await identityOf(site, instanceId, role));

describe('4008', () => {
  it('gives a paired site the stream of its own VM, and the same word for another site’s VM as for none', async () => {
    const caller = (await data('paired')).open(1, 'vm-of-paired').open(2, 'vm-of-other').open(3, 'vm-of-nobody');
    await until('three answers', () => caller.answers.length === 3);
    const foreign = 'unknown: this VRA does not recover that VM';
    expect([...caller.answers].sort()).toEqual(['opened', foreign, foreign]);
    const other = (await data('other')).open(1, 'vm-of-other');
    await until('an answer', () => other.answers.length === 1);
    expect(other.answers).toEqual(['opened']);
  });

  it('does not give the own site a paired site’s VM either', async () => {
    const caller = (await data('own')).open(1, 'vm-of-paired');
    await until('an answer', () => caller.answers.length === 1);
    expect(caller.answers[0]).toMatch(/^unknown/);
  });

  it.each<[string, () => Promise<Caller>]>([
    ['a VRA of a site that is not paired', () => data('stranger')],
    ['a manager of a paired site', () => data('paired', 'main', 'zvm')],
    ['a manager of the own site', () => data('own', 'main', 'zvm')],
    ['a broker of the own site', () => data('own', 'main', 'nats')],
  ])('gives %s nothing, not even a hello', async (_, call) => {
    const caller = (await call()).open(1, 'vm-of-paired');
    await until('the end', () => caller.isEnded);
    expect([caller.receivedBytes, caller.answers]).toEqual([0, []]);
  });

  it('ends the connections of a site that is unpaired, at once, with their streams, and takes none again, over a restart too; the others stay', async () => {
    const [paired, other] = [(await data('paired')).open(1, 'vm-of-paired'), (await data('other')).open(1, 'vm-of-other')];
    await until('both streams', () => paired.answers.length + other.answers.length === 2);
    const beganMs = performance.now();
    await trust('other');
    await until('the end of the unpaired one', () => paired.isEnded);
    expect(performance.now() - beganMs).toBeLessThan(1000);
    expect(other.isEnded).toBe(false);
    await restart();
    const again = (await data('paired')).open(1, 'vm-of-paired');
    await until('the end', () => again.isEnded);
    expect(again.receivedBytes).toBe(0);
    const still = (await data('other')).open(1, 'vm-of-other');
    await until('its stream', () => still.answers.length === 1);
  });
});

describe('4007 and 4008', () => {
  it('end the connections of a VRA that its site has taken back, at once, and take none again, over a restart too; other VRAs of that site stay', async () => {
    const callers = [await data('paired', 'gone'), await control('own', 'gone'), (await data('paired', 'kept')).open(1, 'vm-of-paired')] as const;
    await until('their hellos', () => callers.every(({ receivedBytes }) => receivedBytes > 0) && callers[2].answers.length === 1);
    const voided = [{ role: 'vra' as const, instanceId: 'gone', beforeMs: Date.now() }];
    await vra.applyDesiredState({ revision: (revision += 1), trust: { sites: [sites.own, sites.paired].map(({ trusted }) => ({ ...trusted, voided })) }, attachedVms: [], protections: [], barriers: [] });
    await until('their end', () => callers[0].isEnded && callers[1].isEnded, 1000);
    expect(callers[2].isEnded).toBe(false);
    await restart();
    for (const again of [await data('paired', 'gone'), await control('own', 'gone')]) {
      await until('the end', () => again.isEnded);
      expect(again.receivedBytes).toBe(0);
    }
    const still = (await data('paired', 'kept')).open(1, 'vm-of-paired');
    await until('its stream', () => still.answers.length === 1);
    expect(still.answers).toEqual(['opened']);
  });
});

describe('4007', () => {
  it('is for VRAs of the own site, who say who they are', async () => {
    const peer = (await control('own', 'z')).sayHello('z');
    await until('its hello', () => peer.answers.length === 1);
    expect([peer.answers, peer.isEnded]).toEqual([['control'], false]);
  });

  it('ends for who claims another VRA’s name', async () => {
    const liar = (await control('own', 'z')).sayHello('y');
    // Well before the 3 s after which a link ends because this peer answers no ping.
    await until('the end', () => liar.isEnded, 1500);
  });

  it.each<[string, () => Promise<Caller>]>([
    ['a VRA of a paired site', () => control('paired')],
    ['a VRA of a site that is not paired', () => control('stranger')],
    ['a manager of the own site', () => control('own', 'main', 'zvm')],
  ])('gives %s nothing, not even a hello', async (_, call) => {
    const caller = (await call()).sayHello('z');
    await until('the end', () => caller.isEnded);
    expect(caller.receivedBytes).toBe(0);
  });
});

describe('a protecting VRA', () => {
  it('sends its streams to nobody but the VRA of the site that its protection names', async () => {
    const disk = join(folder, 'disk');
    await mkdir(folder, { recursive: true });
    await writeFile(disk, Buffer.alloc(DISK_BYTES, 1));
    const protecting = await VraEngine.start({
      vraId: 'p', transport: new TlsTransport({ identity: await identityOf('paired', 'p') }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, 'p.sock'),
      stateFolder: join(folder, 'p-state'), captureBytesMax: 16 * MiB, log: { ...quietLog, error: () => undefined },
    });
    const protect = (recoverySiteId: string, vraId: string, at: number): Promise<void> => protecting.applyDesiredState({
      revision: at, trust: { sites: [sites.paired.trusted, sites.own.trusted, sites.other.trusted] },
      attachedVms: [{ vmId: 'vm-of-paired', disks: [{ diskId: 'd', exportName: 'd', path: disk, sizeBytes: DISK_BYTES }] }],
      protections: [{ vpgId: VPG, vmId: 'vm-of-paired', epoch: 1, diskIds: ['d'], recoveringVra: { ...vra.address, vraId }, recoverySiteId, isCompressed: false, priority: 'medium' }],
      barriers: [],
    });
    try {
      for (const [index, [siteId, vraId]] of ([['other', 'r'], ['own', 'q']] as const).entries()) {
        await protect(siteId, vraId, index + 1);
        const reason = await until('the reason', () => protecting.status().protections[0]?.detail.match(/the peer is .*/)?.[0]);
        expect(reason).toMatch(/tidemark:\/\/own\/vra\/r; its (siteId|instanceId) should be (other|q)/);
        expect(protecting.status().protections[0]).toMatchObject({ state: 'connecting', sentBytes: 0 });
      }
      await protect('own', 'r', 9);
      await until('its sync', () => protecting.status().protections[0]?.state === 'replicating');
    } finally {
      await protecting.close();
    }
  });
});
