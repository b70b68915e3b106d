import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { VraEngine } from '@tidemark/engine-host';
import { decodeRefused, encodeFrame, encodeHello, encodeOpen, encodeRecordsBody, FrameCodec, FrameDecoder, FrameKind, OWN_HELLO, RecordType } from '@tidemark/frame';
import { compressBody, crc32c } from '@tidemark/link';
import { plainTransport } from '@tidemark/link/plain';
import { NbdClient } from './nbd-client.js';
import { quietLog, until } from './rig.js';
import { SITE_ID } from './test-site.js';

/** A recovering VRA on real sockets among peers that mean harm, all of them VRAs of the paired site by what the transport says, while an honest one replicates to it. */
const DISK_BYTES = 8 * MiB;
const VPG = randomUUID();
let folder: string;
let protecting: VraEngine;
let recovering: VraEngine;
const sockets: Socket[] = [];
const timers: NodeJS.Timeout[] = [];

const nameOf = (instanceId: string) => ({ siteId: SITE_ID, role: 'vra', instanceId }) as const;
const vra = (vraId: string): Promise<VraEngine> => VraEngine.start({
  vraId, transport: plainTransport({ self: nameOf(vraId), peer: nameOf(vraId === 'p' ? 'r' : 'p') }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, `${vraId}.sock`), stateFolder: join(folder, `${vraId}-state`), captureBytesMax: 64 * MiB,
  log: { ...quietLog, error: () => undefined },
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-hostile-'));
  [protecting, recovering] = [await vra('p'), await vra('r')];
  await writeFile(join(folder, 'disk'), randomBytes(DISK_BYTES));
  const home = join(folder, 'recovery');
  await mkdir(home);
  await recovering.putRecovery({
    vpgId: VPG, vmId: 'vm', protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: ['vm'] }], volumes: [{ diskId: 'd', sizeBytes: DISK_BYTES, mirrorPath: join(home, 'mirror.raw') }],
    journalFolder: join(home, 'journal'), datastore: { path: home, capacityBytes: 10_000 * MiB }, historyMs: 3_600_000,
  });
  await protecting.applyDesiredState({
    revision: 1, attachedVms: [{ vmId: 'vm', disks: [{ diskId: 'd', exportName: 'disk', path: join(folder, 'disk'), sizeBytes: DISK_BYTES }] }],
    protections: [{ vpgId: VPG, vmId: 'vm', epoch: 1, diskIds: ['d'], recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: true, priority: 'medium' }],
    barriers: [{ vpgId: VPG, version: 1, epoch: 1, intervalMs: 300, members: [{ vra: protecting.address, vmIds: ['vm'] }] }],
  });
  await until('the first checkpoint', () => recovering.listCheckpoints({ vpgId: VPG, vmId: 'vm' }).held.length > 0);
});

afterEach(async () => {
  for (const timer of timers.splice(0)) clearInterval(timer);
  for (const socket of sockets.splice(0)) socket.destroy();
  await protecting.close();
  await recovering.close();
  await rm(folder, { recursive: true, force: true });
});

function attacker(port: number, localAddress: string): Socket {
  const socket = connect({ host: '127.0.0.1', port, localAddress });
  socket.on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

const HELLO = Buffer.concat(encodeHello(OWN_HELLO, crc32c));
const openFrame = (stream: number, vmId = 'nobody'): Buffer =>
  Buffer.concat(encodeFrame({ kind: FrameKind.open, stream }, [encodeOpen({ vpgId: VPG, vmId, epoch: 1, sessionId: 'x', volumes: [DISK_BYTES], firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0 })], crc32c));

/** 60 KB on the wire that ask for 33 MiB, on a stream that was never opened. */
function bomb(): Buffer {
  const body = compressBody(FrameCodec.zstd, Buffer.alloc(33 * MiB));
  return Buffer.concat(encodeFrame({ kind: FrameKind.records, stream: 1, count: 1, firstSeq: 1, lastSeq: 1, codec: FrameCodec.zstd, rawBytes: 33 * MiB }, [body], crc32c));
}

const ATTACKS: Record<string, (socket: Socket, index: number) => void> = {
  garbage: (socket) => timers.push(setInterval(() => socket.write(randomBytes(4096)), 20)),
  silence: () => undefined,
  'half a header': (socket) => void socket.write(Buffer.concat([HELLO, openFrame(1).subarray(0, 30)])),
  'a body that never ends': (socket) => {
    const head = Buffer.concat(encodeFrame({ kind: FrameKind.records, stream: 1, count: 1, firstSeq: 1, lastSeq: 1 }, [Buffer.alloc(33 * MiB)], crc32c)).subarray(0, 64);
    socket.write(Buffer.concat([HELLO, head]));
    timers.push(setInterval(() => socket.write('x'), 50));
  },
  'questions without reading the answers': (socket) => {
    socket.pause();
    socket.write(HELLO);
    let stream = 0;
    timers.push(setInterval(() => {
      if (socket.writableLength > MiB) return;
      for (let count = 0; count < 200; count += 1) socket.write(openFrame((stream += 1)));
    }, 20));
  },
  bombs: (socket) => {
    socket.write(Buffer.concat([HELLO, bomb()]));
    timers.push(setInterval(() => socket.writableLength < MiB && socket.write(bomb()), 100));
  },
  'wrong marks': (socket) => {
    const body = encodeRecordsBody([{ type: RecordType.marker, volume: 0, offset: 0, length: 0, payload: Buffer.from('{"vpgId":1}') }]);
    socket.write(Buffer.concat([HELLO, openFrame(1), ...encodeFrame({ kind: FrameKind.records, stream: 1, count: 1, firstSeq: 1, lastSeq: 1 }, body, crc32c)]));
  },
};

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

it('goes on serving the honest peer, within its memory, whatever the others do', async () => {
  collectGarbage();
  const before = process.memoryUsage();
  const { dataPort, controlPort } = recovering.address;
  let index = 0;
  for (const [, attack] of Object.entries(ATTACKS)) {
    for (let count = 0; count < 6; count += 1) {
      index += 1;
      const socket = attacker(count % 2 === 0 ? dataPort : controlPort, `127.0.0.${String(50 + (index % 40))}`);
      socket.on('connect', () => attack(socket, index));
      if (!socket.isPaused()) socket.resume();
    }
  }
  const guest = await NbdClient.connect(join(folder, 'p.sock'), 'disk');
  const marked = randomBytes(4096);
  const first = recovering.listCheckpoints({ vpgId: VPG, vmId: 'vm' }).held.at(-1)?.checkpointId ?? 0;
  for (const untilMs = performance.now() + 4000; performance.now() < untilMs;) {
    await guest.write(4096 * Math.floor(Math.random() * 1000), marked);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  guest.close();
  expect(protecting.status().protections[0]?.state).toBe('replicating');
  const newest = await until('a checkpoint after all that', () => recovering.listCheckpoints({ vpgId: VPG, vmId: 'vm' }).held.at(-1));
  expect(newest.checkpointId).toBeGreaterThan(first + 2);
  // What nobody holds any more is no memory that an attacker took; the payload pool keeps up to 128 MiB of it for the next burst.
  collectGarbage();
  const grownBytes = process.memoryUsage().arrayBuffers - before.arrayBuffers;
  expect(grownBytes).toBeLessThan(160 * MiB);
  // 42 of them: those that said nothing, or nothing right, or did not go on, are gone; nobody is waited for.
  await until('most attackers to be dropped', () => sockets.filter((socket) => socket.destroyed || socket.readableEnded).length >= 24, 60_000);
});

/** What the VRA answers on that connection, by kind; refusals of openings that are too many for themselves. */
function answersTo(socket: Socket): { readonly counts: { opened: number; refused: number; tooMany: number } } {
  const counts = { opened: 0, refused: 0, tooMany: 0 };
  const decoder = new FrameDecoder({ crc32c, allocate: (bytes) => new Uint8Array(bytes) });
  socket.on('data', (chunk: Buffer) => decoder.feed(chunk, ({ kind }, body) => {
    if (kind === FrameKind.opened) counts.opened += 1;
    if (kind !== FrameKind.refused) return;
    counts.refused += 1;
    if (decodeRefused(body).message.includes('over and over')) counts.tooMany += 1;
  }));
  return { counts };
}

it('begins no more than four openings of one protection at a time', async () => {
  const socket = attacker(recovering.address.dataPort, '127.0.0.61');
  const { counts } = answersTo(socket);
  socket.write(Buffer.concat([HELLO, ...Array.from({ length: 100 }, (_, index) => openFrame(index + 1, 'vm'))]));
  // Each is a durable record. What comes in one turn, here all or nearly all, finds the first four under way.
  await until('an answer to most', () => counts.tooMany >= 80);
  expect(counts.opened).toBeLessThanOrEqual(20);
});

it('takes an endless row of openings of a known protection for what it is', async () => {
  const socket = attacker(recovering.address.dataPort, '127.0.0.60');
  const { counts } = answersTo(socket);
  socket.write(HELLO);
  const before = process.memoryUsage().heapUsed;
  for (let stream = 1; stream <= 20_000; stream += 1) socket.write(openFrame(stream, 'vm'));
  await until('thousands of refusals, or the end of the connection', () => counts.tooMany > 2000 || socket.destroyed);
  expect(counts.tooMany).toBeGreaterThan(100);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(200 * MiB);
  socket.destroy();
  await until('the honest peer to be back', () => protecting.status().protections[0]?.state === 'replicating');
});
