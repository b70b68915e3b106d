import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import {
  decodeOpened, decodeRefused, encodeFrame, encodeHello, encodeOpen, encodeRecordsFrame, encodeSyncStart, FrameDecoder, FrameKind, OWN_HELLO, RecordType,
  type FrameHeader, type OpenRequest, type StreamRecord,
} from '@tidemark/frame';
import { crc32c } from '@tidemark/link';
import { plainTransport } from '@tidemark/link/plain';
import { VraEngine, type RecoverySpec } from './index.js';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const VPG = randomUUID();
const SIZE = 4 * MiB;

let folder: string;
let engine: VraEngine;
const sockets: Socket[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-data-'));
  engine = await VraEngine.start({
    vraId: 'r', transport: plainTransport({ self: { siteId: 'recovery', role: 'vra', instanceId: 'r' }, peer: { siteId: 'protected', role: 'vra', instanceId: 'p' } }), address: '127.0.0.1', controlPort: 0, dataPort: 0, nbdSocketPath: join(folder, 'nbd.sock'), stateFolder: join(folder, 'state'), captureBytesMax: 16 * MiB, log: silent,
  });
  await engine.putRecovery(recovery());
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await engine.close();
  await rm(folder, { recursive: true, force: true });
});

const recovery = (): RecoverySpec => ({
  vpgId: VPG, vmId: 'vm', protectedSiteId: 'protected', epoch: 2, recoverers: [{ vra: engine.address, vmIds: ['vm'] }], volumes: [{ diskId: 'd', sizeBytes: SIZE, mirrorPath: join(folder, 'm', 'mirror.raw') }],
  journalFolder: join(folder, 'm', 'journal'), datastore: { path: join(folder, 'm'), capacityBytes: 1024 * MiB }, historyMs: 3_600_000,
});

const request = (change: Partial<OpenRequest> = {}): OpenRequest => ({
  vpgId: VPG, vmId: 'vm', epoch: 2, sessionId: randomUUID(), volumes: [SIZE], firstQueuedSeq: 1, lastSeq: 0, ackedSeq: 0, ...change,
});

interface Received {
  readonly header: FrameHeader;
  readonly body: Uint8Array;
}

/** A protecting VRA of the test's own making, on a real socket. */
class Peer {
  readonly frames: Received[] = [];
  isEnded = false;

  private constructor(readonly socket: Socket) {
    const decoder = new FrameDecoder({ crc32c });
    socket.on('data', (chunk: Uint8Array) => decoder.feed(chunk, (header, body) => {
      if (header.kind !== FrameKind.ping && header.kind !== FrameKind.pong && header.kind !== FrameKind.hello) this.frames.push({ header, body: Uint8Array.from(body) });
    }));
    socket.on('close', () => { this.isEnded = true; });
    socket.on('error', () => { this.isEnded = true; });
  }

  static async connect(): Promise<Peer> {
    const socket = connect(engine.address.dataPort, '127.0.0.1');
    sockets.push(socket);
    await once(socket, 'connect');
    const peer = new Peer(socket);
    peer.send(encodeHello(OWN_HELLO, crc32c));
    return peer;
  }

  send(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) this.socket.write(chunk);
  }

  async open(stream: number, change: Partial<OpenRequest> = {}): Promise<Received> {
    const before = this.frames.length;
    this.send(encodeFrame({ kind: FrameKind.open, stream }, [encodeOpen(request(change))], crc32c));
    await until('an answer', () => this.frames.length > before);
    const answer = this.frames[before];
    if (!answer) throw new Error('no answer');
    return answer;
  }
}

/** Well below the 3 s after which a link ends because this peer answers no ping: that end would prove nothing. */
const PROMPT_MS = 1500;

async function until(what: string, probe: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + PROMPT_MS;
  while (performance.now() < deadlineMs) {
    if (probe()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`not within ${String(PROMPT_MS)} ms: ${what}`);
}

const syncStart: StreamRecord = { type: RecordType.syncStart, volume: 0, offset: 0, length: 0, payload: encodeSyncStart({ kind: 'initialSync', reason: 'test' }) };
const write = (offset: number, bytes: number): StreamRecord => ({ type: RecordType.syncWrite, volume: 0, offset, length: bytes, payload: randomBytes(bytes) });

describe('port 4008 before a peer that is wrong, late or hostile', () => {
  it.each([
    ['unknown', { vmId: 'another' }, 'unknown'],
    ['of an older epoch', { epoch: 1 }, 'fenced'],
    ['of an epoch that is not known yet', { epoch: 3 }, 'notReady'],
  ])('refuses a stream that is %s', async (_, change, code) => {
    const peer = await Peer.connect();
    const { header, body } = await peer.open(1, change);
    expect(header.kind).toBe(FrameKind.refused);
    expect(decodeRefused(body).code).toBe(code);
    expect((await peer.open(2)).header.kind).toBe(FrameKind.opened);
  });

  it('knows nothing, as far as another paired site can see, of what that site does not protect', async () => {
    await engine.putRecovery({ ...recovery(), vmId: 'theirs', protectedSiteId: 'another', volumes: [{ diskId: 'd', sizeBytes: SIZE, mirrorPath: join(folder, 'm', 'theirs.raw') }], journalFolder: join(folder, 'm', 'theirs') });
    const peer = await Peer.connect();
    const { body: ofTheirs } = await peer.open(1, { vmId: 'theirs' });
    const { body: ofNobodys } = await peer.open(2, { vmId: 'nobodys' });
    expect(Buffer.from(ofTheirs)).toEqual(Buffer.from(ofNobodys));
    expect((await peer.open(3)).header.kind).toBe(FrameKind.opened);
    expect(engine.status().recoveries.map(({ state }) => state)).toEqual(['initialSync', 'waiting']);
  });

  it('does not let another site take over a recovery', async () => {
    await expect(engine.putRecovery({ ...recovery(), protectedSiteId: 'another' })).rejects.toMatchObject({ code: 'VRA_CONFLICT' });
  });

  it('acknowledges only what it was sent, in order, and numbers each opening higher', async () => {
    const peer = await Peer.connect();
    const first = decodeOpened((await peer.open(1)).body);
    peer.send(encodeRecordsFrame({ stream: 1, incarnation: first.incarnation, epoch: 2, firstSeq: 1 }, [syncStart, write(0, 4096)], crc32c));
    await until('the ack', () => peer.frames.some(({ header }) => header.kind === FrameKind.ack && header.lastSeq === 2));
    const other = await Peer.connect();
    const second = decodeOpened((await other.open(1)).body);
    expect(second).toMatchObject({ incarnation: first.incarnation + 1, durableSeq: 2 });
    await until('the older stream is closed', () => peer.frames.some(({ header }) => header.kind === FrameKind.closeStream));
  });

  it('drops frames of an opening that was replaced: nothing of them is ever acknowledged', async () => {
    const old = await Peer.connect();
    const { incarnation } = decodeOpened((await old.open(1)).body);
    const young = await Peer.connect();
    await young.open(1);
    old.send(encodeRecordsFrame({ stream: 1, incarnation, epoch: 2, firstSeq: 1 }, [syncStart, write(0, 4096)], crc32c));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(old.frames.filter(({ header }) => header.kind === FrameKind.ack)).toEqual([]);
    expect(engine.status().recoveries[0]?.durableSeq).toBe(0);
  });

  it.each([
    ['random bytes', () => [randomBytes(4096)]],
    ['a record outside its volume', (incarnation: number) => encodeRecordsFrame({ stream: 1, incarnation, epoch: 2, firstSeq: 1 }, [syncStart, write(SIZE - 2048, 4096)], crc32c)],
    ['a gap in the numbers', (incarnation: number) => encodeRecordsFrame({ stream: 1, incarnation, epoch: 2, firstSeq: 7 }, [write(0, 4096)], crc32c)],
    ['a stream that is opened twice', () => encodeFrame({ kind: FrameKind.open, stream: 1 }, [encodeOpen(request())], crc32c)],
    ['a frame that only a recovering VRA sends', () => encodeFrame({ kind: FrameKind.ack, stream: 1, lastSeq: 5 }, [new Uint8Array(8)], crc32c)],
  ])('ends a connection that sends %s, and serves the next one', async (_, bytes) => {
    const peer = await Peer.connect();
    const { incarnation } = decodeOpened((await peer.open(1)).body);
    peer.send(bytes(incarnation));
    await until('the connection ends', () => peer.isEnded);
    const next = await Peer.connect();
    expect((await next.open(1)).header.kind).toBe(FrameKind.opened);
    expect(engine.status().recoveries[0]).toMatchObject({ durableSeq: 0, state: 'initialSync' });
  });
});
