import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { encodeFrame, encodeHello, encodeOpened, FrameDecoder, FrameKind, OWN_HELLO } from '@tidemark/frame';
import { crc32c } from '@tidemark/link';
import { plainTransport } from '@tidemark/link/plain';
import { VraEngine, type DesiredState } from './index.js';

const VMS = 8;
const DISK_BYTES = 16 * MiB;
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A recovering VRA that opens every stream, gives full credit, answers pings and then reads nothing for ever. */
async function stuckReceiver(): Promise<{ readonly port: number; readonly sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    let opened = 0;
    for (const part of encodeHello(OWN_HELLO, crc32c)) socket.write(part);
    const decoder = new FrameDecoder({ crc32c });
    const ping = setInterval(() => void encodeFrame({ kind: FrameKind.ping }, [new Uint8Array(8)], crc32c).map((chunk) => socket.write(chunk)), 300);
    socket.on('close', () => clearInterval(ping));
    socket.on('data', (chunk: Uint8Array) => decoder.feed(chunk, (header) => {
      if (header.kind !== FrameKind.open) return;
      const body = encodeOpened({ incarnation: 1, durableSeq: 0, lastSessionId: null, isBaseComplete: false, isPreseeded: false, creditBytes: 16 * MiB });
      for (const part of encodeFrame({ kind: FrameKind.opened, stream: header.stream }, [body], crc32c)) socket.write(part);
      opened += 1;
      if (opened === VMS) socket.pause();
    }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

it('keeps its connection to a receiver that does not read, whatever its streams have to send', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-slow-'));
  closers.push(() => rm(folder, { recursive: true, force: true }));
  const receiver = await stuckReceiver();
  const engine = await VraEngine.start({
    vraId: 'p', transport: plainTransport({ self: { siteId: 'protected', role: 'vra', instanceId: 'p' }, peer: { siteId: 'recovery', role: 'vra', instanceId: 'r' } }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, 'nbd.sock'), stateFolder: join(folder, 'state'), captureBytesMax: 256 * MiB, log: silent,
  });
  closers.push(() => engine.close());
  const vms = Array.from({ length: VMS }, (_, index) => `vm-${String(index)}`);
  for (const vmId of vms) await writeFile(join(folder, vmId), randomBytes(DISK_BYTES));
  const recoveringVra = { vraId: 'r', address: '127.0.0.1', controlPort: 1, dataPort: receiver.port };
  const desired: DesiredState = {
    revision: 1,
    attachedVms: vms.map((vmId) => ({ vmId, disks: [{ diskId: 'd', exportName: vmId, path: join(folder, vmId), sizeBytes: DISK_BYTES }] })),
    protections: vms.map((vmId) => ({ vpgId: randomUUID(), vmId, epoch: 1, diskIds: ['d'], recoveringVra, recoverySiteId: 'recovery', isCompressed: true, priority: 'medium' })),
    barriers: [],
  };
  await engine.applyDesiredState(desired);
  await new Promise((resolve) => setTimeout(resolve, 4000));
  // Bytes handed to the link: its limit of 8 MiB, a frame in hand per stream, and what the kernel took.
  const handedOver = engine.status().protections.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
  expect(handedOver).toBeLessThan(32 * MiB);
  expect(receiver.sockets.length).toBe(1);
});
