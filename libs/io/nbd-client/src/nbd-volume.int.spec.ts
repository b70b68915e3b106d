import type { NbdAddress } from '@tidemark/base';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ExportTable, NbdServer } from '@tidemark/nbd-server';
import { MemoryVolume, type Volume } from '@tidemark/volume';
import { describeVolume, patternBytes, readBytes } from '@tidemark/volume/testing';
import { NbdVolume, type NbdVolumeLimits } from './nbd-volume.js';
import { openNbdVolume } from './open-nbd-volume.js';

const MiB = 1024 * 1024;
const FAST: Partial<NbdVolumeLimits> = { patienceMs: 1500, settleMs: 20, connectMs: 500, requestMs: 400 };

let folder: string;
let table: ExportTable;
let server: NbdServer | undefined;
const opened: Volume[] = [];
const fakes: Server[] = [];
const fakeSockets = new Set<Socket>();

const socketPath = (): string => join(folder, 'nbd.sock');
const uri = (name = 'disk'): string => `nbd+unix:///${name}?socket=${socketPath()}`;
const listen = async (): Promise<void> => {
  server = await NbdServer.listen({ socketPath: socketPath() }, table);
};

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-nbd-client-'));
  table = new ExportTable();
  await listen();
});
afterEach(async () => {
  for (const volume of opened.splice(0)) await volume.close();
  for (const socket of fakeSockets) socket.destroy();
  for (const fake of fakes.splice(0)) await new Promise((resolve) => fake.close(resolve));
  await server?.close();
  server = undefined;
  rmSync(folder, { recursive: true });
});

async function volumeOver(inner: Volume, limits: Partial<NbdVolumeLimits> = {}): Promise<NbdVolume> {
  table.add({ name: 'disk', volume: inner });
  const volume = await NbdVolume.connect({ kind: 'unix', socketPath: socketPath(), exportName: 'disk' }, { isReadOnly: false, limits: { ...FAST, ...limits } });
  opened.push(volume);
  return volume;
}

let exportCount = 0;
describeVolume('NbdVolume', async (wanted) => {
  exportCount += 1;
  table.add({ name: `disk-${String(exportCount)}`, volume: new MemoryVolume(wanted) });
  return await openNbdVolume({ uri: uri(`disk-${String(exportCount)}`), ...wanted });
});

/** Keeps requests until they are let go; not the one with which a client begins. */
function gated(inner: MemoryVolume): { volume: Volume; held: (() => void)[]; log: string[] } {
  const held: (() => void)[] = [];
  const log: string[] = [];
  const gate = (what: string): Promise<void> => new Promise((resolve) => {
    log.push(what);
    held.push(resolve);
  });
  return {
    held,
    log,
    volume: {
      sizeBytes: inner.sizeBytes, isReadOnly: false,
      read: async (offset, target) => {
        if (target.length > 1) await gate(`read ${String(offset)}`);
        inner.read(offset, target);
      },
      write: async (offset, source) => {
        await gate(`write ${String(offset)}`);
        inner.write(offset, source);
      },
      writeZeroes: (offset, length, options) => inner.writeZeroes(offset, length, options),
      flush: () => gate('flush'),
      allocation: (offset, length) => inner.allocation(offset, length),
      close: () => inner.close(),
    },
  };
}

/** Answers no read while it is stalled. */
function stallable(): { readonly server: Volume; readonly held: (() => void)[]; stall(): void; goOn(): void } {
  const server = new MemoryVolume({ sizeBytes: MiB });
  const read = server.read.bind(server);
  const held: (() => void)[] = [];
  let isStalled = false;
  const reads = async (offset: number, target: Uint8Array): Promise<void> => {
    if (isStalled) await new Promise<void>((resolve) => held.push(resolve));
    read(offset, target);
  };
  const goOn = (): void => {
    isStalled = false;
    for (const release of held.splice(0)) release();
  };
  return { server: Object.assign(server, { read: reads }), held, stall: () => void (isStalled = true), goOn };
}

/** A way to the server that can be cut. */
async function proxy(): Promise<{ readonly address: NbdAddress; cut(): void }> {
  const path = join(folder, 'proxy.sock');
  const sockets = new Set<Socket>();
  const forwarder = createServer((socket) => {
    const onward = connect(socketPath());
    for (const each of [socket, onward]) {
      sockets.add(each);
      fakeSockets.add(each);
      each.on('error', () => undefined);
    }
    socket.pipe(onward).pipe(socket);
  });
  fakes.push(forwarder);
  await new Promise<void>((resolve) => forwarder.listen(path, resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  return { address: { kind: 'unix', socketPath: path, exportName: 'disk' }, cut };
}

const soon = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('a volume over an NBD server', () => {
  it('splits what is longer than the server takes', async () => {
    const volume = await volumeOver(new MemoryVolume({ sizeBytes: 80 * MiB }), { requestMs: 10_000 });
    const bytes = Buffer.alloc(70 * MiB, 'not all the same, and no power of two long');
    await volume.write(5000, bytes);
    expect(Buffer.compare(await readBytes(volume, 5000, bytes.length), bytes)).toBe(0);
  });

  it('tells opening errors apart', async () => {
    await expect(openNbdVolume({ uri: uri('none'), isReadOnly: false })).rejects.toMatchObject({ code: 'VOLUME_NOT_FOUND' });
    table.add({ name: 'disk', volume: new MemoryVolume({ sizeBytes: MiB, isReadOnly: true }) });
    await expect(openNbdVolume({ uri: uri(), isReadOnly: false })).rejects.toMatchObject({ code: 'VOLUME_READ_ONLY' });
    await expect(openNbdVolume({ uri: uri(), isReadOnly: true, sizeBytes: 2 * MiB })).rejects.toMatchObject({ code: 'VOLUME_SIZE' });
    await expect(openNbdVolume({ uri: `nbd+unix:///x?socket=${folder}/nobody`, isReadOnly: true })).rejects.toMatchObject({ code: 'VOLUME_IO', message: expect.stringContaining('nobody') });
  });

  it('finds its server again: what was in flight is sent again, in its order, before anything newer', async () => {
    const { volume: inner, held, log } = gated(new MemoryVolume({ sizeBytes: MiB }));
    table.add({ name: 'disk', volume: inner });
    const { address, cut } = await proxy();
    const volume = await NbdVolume.connect(address, { isReadOnly: false, limits: { ...FAST, requestMs: 5000 } });
    opened.push(volume);
    const early = [volume.write(0, patternBytes(4096, 1)), volume.write(8192, patternBytes(4096, 2)), readBytes(volume, 65_536, 10)];
    for (let tries = 0; log.length < 3 && tries < 100; tries += 1) await soon(10);
    cut();
    const late = volume.write(0, patternBytes(4096, 3));
    for (const release of held.splice(0)) release();
    log.length = 0;
    for (let tries = 0; log.length < 4 && tries < 100; tries += 1) await soon(20);
    expect(log).toEqual(['write 0', 'write 8192', 'read 65536', 'write 0']);
    for (const release of held.splice(0)) release();
    await Promise.all([...early, late]);
  });

  it('fails what waits when the server stays away for too long, then at once, and works again when it is back', async () => {
    const volume = await volumeOver(new MemoryVolume({ sizeBytes: MiB }), { patienceMs: 300 });
    await server?.close();
    const startedMs = performance.now();
    await expect(volume.write(0, new Uint8Array(4096))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    expect(performance.now() - startedMs).toBeGreaterThan(250);
    const againMs = performance.now();
    await expect(volume.write(0, new Uint8Array(4096))).rejects.toMatchObject({ code: 'VOLUME_IO' });
    expect(performance.now() - againMs).toBeLessThan(100);
    await listen();
    for (let tries = 0; !volume.isConnected && tries < 200; tries += 1) await soon(20);
    await volume.write(0, patternBytes(4096, 1));
  });

  it('says since when its server is lost, and why, until it is back', async () => {
    const volume = await volumeOver(new MemoryVolume({ sizeBytes: MiB }));
    expect(volume.outage).toBeUndefined();
    const fromMs = performance.now();
    await server?.close();
    for (let tries = 0; volume.isConnected && tries < 500; tries += 1) await soon(20);
    const outage = volume.outage;
    expect(outage?.sinceMs).toBeGreaterThanOrEqual(fromMs);
    expect(outage?.reason).toContain('closed the connection');
    await soon(100);
    expect(volume.outage).toEqual(outage);
    await listen();
    for (let tries = 0; !volume.isConnected && tries < 500; tries += 1) await soon(20);
    expect(volume.outage).toBeUndefined();
  });

  it('says since when a request is not answered', async () => {
    const { volume: inner, held, log } = gated(new MemoryVolume({ sizeBytes: MiB }));
    const volume = await volumeOver(inner, { requestMs: 60_000 });
    const fromMs = performance.now();
    const reads = [readBytes(volume, 0, 100), readBytes(volume, 4096, 100)];
    for (let tries = 0; log.length < 2 && tries < 500; tries += 1) await soon(10);
    expect(volume.outage?.sinceMs).toBeGreaterThanOrEqual(fromMs);
    expect(volume.outage?.reason).toContain('does not answer');
    for (const release of held.splice(0)) release();
    await Promise.all(reads);
    expect(volume.outage).toBeUndefined();
  });

  it('has one outage for as long as its server takes connections and answers no request', async () => {
    const { server, held, stall, goOn } = stallable();
    const volume = await volumeOver(server, { requestMs: 200, connectMs: 200, patienceMs: 10 });
    stall();
    const read = readBytes(volume, 4096, 100).then(() => 'read', () => 'given up');
    const since = volume.outage?.sinceMs;
    expect(since).toBeDefined();
    const seen = new Set<number | undefined>();
    // The read, and what three connections after it ask.
    for (let tries = 0; held.length < 4 && tries < 1000; tries += 1) {
      seen.add(volume.outage?.sinceMs);
      await soon(5);
    }
    const asked = held.length;
    const write = await volume.write(0, new Uint8Array(4096)).then(() => 'written', () => 'refused');
    goOn();
    expect([asked >= 4, ...seen, await read, write]).toEqual([true, since, 'given up', 'refused']);
    for (let tries = 0; !volume.isConnected && tries < 500; tries += 1) await soon(20);
    expect(volume.outage).toBeUndefined();
    await volume.write(0, patternBytes(4096, 1));
  });

  it('notices a server that has stopped while nobody asks anything, and when it goes on', async () => {
    const { server, held, stall, goOn } = stallable();
    const volume = await volumeOver(server, { requestMs: 200, connectMs: 200, idleMs: 20 });
    stall();
    for (let tries = 0; volume.isConnected && tries < 500; tries += 1) await soon(10);
    const lost = volume.outage;
    // The keep-alive, and what a connection after it asks.
    for (let tries = 0; held.length < 2 && tries < 500; tries += 1) await soon(10);
    const asked = held.length;
    goOn();
    for (let tries = 0; !volume.isConnected && tries < 500; tries += 1) await soon(20);
    expect([asked >= 2, lost?.reason, volume.outage]).toEqual([true, expect.stringContaining('not answered'), undefined]);
  });

  it('keeps no request waiting for a keep-alive that is not answered, and gives a write its whole time', async () => {
    const { server, held, stall, goOn } = stallable();
    let holdWrites = false;
    const write = server.write.bind(server);
    server.write = async (offset, source) => {
      if (holdWrites) await new Promise<void>((resolve) => held.push(resolve));
      await write(offset, source);
    };
    const volume = await volumeOver(server, { requestMs: 2000, idleMs: 20 });
    stall();
    for (let tries = 0; volume.outage === undefined && tries < 500; tries += 1) await soon(10);
    const sinceMs = volume.outage?.sinceMs ?? 0;
    await volume.write(0, new Uint8Array(4096));
    while (performance.now() - sinceMs < 1200) await soon(20);
    holdWrites = true;
    const late = volume.write(4096, new Uint8Array(4096)).then(() => 'written', String);
    while (performance.now() - sinceMs < 2700) await soon(20);
    expect([volume.isConnected, held.length]).toEqual([true, 2]);
    held.pop()?.();
    goOn();
    expect(await late).toBe('written');
  });

  it('closes without waiting for a keep-alive', async () => {
    const { server, stall, goOn } = stallable();
    const volume = await volumeOver(server, { requestMs: 60_000, idleMs: 20 });
    stall();
    for (let tries = 0; volume.outage === undefined && tries < 500; tries += 1) await soon(10);
    const closingAtMs = performance.now();
    await volume.close();
    const closedMs = performance.now() - closingAtMs;
    goOn();
    expect(closedMs).toBeLessThan(20_000);
  });

  it('gives up a stuck connection: its writes fail and are not repeated, its reads are', async () => {
    const { volume: inner, held, log } = gated(new MemoryVolume({ sizeBytes: MiB }));
    const volume = await volumeOver(inner);
    const write = volume.write(0, new Uint8Array(4096));
    const read = readBytes(volume, 4096, 100);
    await expect(write).rejects.toMatchObject({ code: 'VOLUME_IO' });
    for (let tries = 0; log.length < 3 && tries < 100; tries += 1) await soon(10);
    expect(log).toEqual(['write 0', 'read 4096', 'read 4096']);
    for (const release of held.splice(0)) release();
    await read;
  });

  it('fails every flush after one that failed', async () => {
    let count = 0;
    const inner = new MemoryVolume({ sizeBytes: MiB });
    inner.flush = (): void => {
      count += 1;
      throw new Error('disk');
    };
    const volume = await volumeOver(inner);
    await expect(volume.flush()).rejects.toMatchObject({ code: 'VOLUME_IO' });
    await expect(volume.flush()).rejects.toMatchObject({ code: 'VOLUME_IO' });
    expect(count).toBe(1);
  });

  it('does not take another disk for its own when the server comes back with one', async () => {
    const volume = await volumeOver(new MemoryVolume({ sizeBytes: MiB }), { patienceMs: 400 });
    await server?.close();
    await table.remove('disk');
    table.add({ name: 'disk', volume: new MemoryVolume({ sizeBytes: 2 * MiB }) });
    await listen();
    await expect(readBytes(volume, 0, 10)).rejects.toMatchObject({ code: 'VOLUME_IO' });
  });
});

/** A server that says whatever it is told to. */
async function fakeServer(answer: (socket: Socket) => void): Promise<string> {
  const path = join(folder, `fake-${String(fakes.length)}.sock`);
  const fake = createServer((socket) => {
    fakeSockets.add(socket);
    socket.on('error', () => undefined);
    answer(socket);
  });
  fakes.push(fake);
  await new Promise<void>((resolve) => fake.listen(path, resolve));
  return `nbd+unix:///disk?socket=${path}`;
}

describe('a hostile server', () => {
  it.each<[string, (socket: Socket) => void]>([
    ['says nothing', () => undefined],
    ['says something else', (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['closes at once', (socket) => socket.end()],
    ['stops in its greeting', (socket) => socket.write('NBDMAGIC')],
    ['talks without end', (socket) => {
      socket.write(Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), Buffer.from([0, 3])]));
      const reply = Buffer.from('0003e889045565a9000000080000000300000000', 'hex');
      socket.on('data', () => socket.write(Buffer.concat(Array.from({ length: 1000 }, () => reply))));
    }],
  ])('that %s is given up with words', async (_, answer) => {
    const hostile = await fakeServer(answer);
    await expect(openNbdVolume({ uri: hostile, isReadOnly: true, limits: FAST })).rejects.toMatchObject({ code: 'VOLUME_IO', message: expect.stringContaining('fake-') });
  });
});
