import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { ExportTable, NbdServer } from '@tidemark/nbd-server';
import { clientOptions, ComponentIdentity, makeRequest, type Role, serverOptions, SiteCa, TrustBundle, verifyPeer } from '@tidemark/trust';
import { MemoryVolume } from '@tidemark/volume';
import { patternBytes, readBytes } from '@tidemark/volume/testing';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { NbdVolume, type NbdVolumeLimits } from './nbd-volume.js';

const SITE = 'aaaaaaaa-0000-4000-8000-000000000000';
const SIZE = 1024 * 1024;
const FAST: Partial<NbdVolumeLimits> = { connectMs: 20_000, patienceMs: 20_000, settleMs: 20 };

const folder = mkdtempSync(join(tmpdir(), 'tidemark-nbd-tls-'));
const content = patternBytes(SIZE, 7);
let ca: SiteCa;
let bundle: TrustBundle;
let vra: ComponentIdentity;
let vba: ComponentIdentity;
let server: NbdServer;

async function identity(role: Role, instanceId: string): Promise<ComponentIdentity> {
  const { pem, keyPem } = await makeRequest();
  const { certificatePem } = await ca.issue(pem, { siteId: SITE, role, instanceId }, ['127.0.0.1']);
  return await ComponentIdentity.store(join(folder, `${role}-${instanceId}`), { keyPem, certificatePem, caPem: ca.trustedPem });
}

beforeAll(async () => {
  ca = await SiteCa.openOrMake(join(folder, 'ca'), { siteId: SITE, siteName: 'a' }, Date.now);
  bundle = new TrustBundle([{ siteId: SITE, caPem: ca.trustedPem }]);
  [vra, vba] = [await identity('vra', '7'), await identity('vba', '1')];
});
beforeEach(async () => {
  const table = new ExportTable();
  const volume = new MemoryVolume({ sizeBytes: SIZE });
  volume.write(0, content);
  table.add({ name: 'disk', volume, isReadOnly: true });
  const tls = { options: () => serverOptions(vra, bundle), admit: (socket: Parameters<typeof verifyPeer>[0]) => void verifyPeer(socket, bundle, Date.now(), { role: 'vba' }) };
  server = await NbdServer.listen({ host: '127.0.0.1', port: 0 }, table, { tls });
});
afterEach(async () => await server.close());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const as = (who: ComponentIdentity, instanceId = '7') => (): ConnectionOptions => clientOptions(who, bundle, { siteId: SITE, role: 'vra', instanceId });
const open = async (tls: (() => ConnectionOptions) | undefined, port = server.port): Promise<NbdVolume> =>
  await NbdVolume.connect({ kind: 'tcp', host: '127.0.0.1', port, exportName: 'disk' }, { isReadOnly: true, limits: FAST, ...(tls ? { tls } : {}) });

describe('a volume over NBD with TLS', () => {
  it('is read by whom the server admits, also after the connection was lost, with what is shown then', async () => {
    const sockets: Socket[] = [];
    const relay = createServer((near) => {
      const far = connect(server.port, '127.0.0.1');
      near.on('error', () => undefined).pipe(far.on('error', () => undefined)).pipe(near);
      sockets.push(near);
    });
    await new Promise<void>((resolve) => void relay.listen(0, '127.0.0.1', resolve));
    let shown = 0;
    const volume = await open(() => {
      shown += 1;
      return as(vba)();
    }, (relay.address() as { port: number }).port);
    expect(Buffer.from(await readBytes(volume, 0, SIZE)).equals(content)).toBe(true);
    sockets[0]?.destroy();
    expect(Buffer.from(await readBytes(volume, 4096, 8192)).equals(content.subarray(4096, 12_288))).toBe(true);
    expect(shown).toBe(2);
    await volume.close();
    await new Promise((resolve) => relay.close(resolve));
  });

  it('is not opened at another VRA, as another role, nor in clear text', async () => {
    await expect(open(as(vba, '8'))).rejects.toMatchObject({ code: 'VOLUME_IO', message: expect.stringMatching(/instanceId should be 8/) });
    await expect(open(as(vra))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(open(undefined)).rejects.toMatchObject({ code: 'VOLUME_IO', message: expect.stringMatching(/wants TLS/) });
  });

  it('tells a server without TLS nothing', async () => {
    const table = new ExportTable();
    table.add({ name: 'disk', volume: new MemoryVolume({ sizeBytes: SIZE }) });
    const plain = await NbdServer.listen({ host: '127.0.0.1', port: 0 }, table);
    await expect(open(as(vba), plain.port)).rejects.toMatchObject({ code: 'VOLUME_IO', message: expect.stringMatching(/offers no TLS/) });
    await plain.close();
  });
});
