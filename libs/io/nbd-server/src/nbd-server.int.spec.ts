import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { CommandType } from '@tidemark/nbd';
import { type ClientRequest, joined, requestBytes, type ServerMessage, serverMessages, usualHandshake } from '@tidemark/nbd/testing';
import { type Fault, FaultVolume, MemoryVolume, type Volume, type VolumeOperation } from '@tidemark/volume';
import { type ConnectionLimits, ExportTable, NbdServer } from './index.js';

const MiB = 1024 * 1024;
const { read, write, flush, trim, blockStatus, disconnect } = CommandType;

let folder: string;
let table: ExportTable;
let server: NbdServer;
let problems: unknown[];
const clients: Client[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-nbd-'));
  table = new ExportTable();
  problems = [];
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.socket.destroy();
  await server.close();
  rmSync(folder, { recursive: true });
});

const socketPath = (): string => join(folder, 'nbd.sock');
async function serve(limits: Partial<ConnectionLimits> = {}): Promise<void> {
  server = await NbdServer.listen({ socketPath: socketPath() }, table, { limits, onProblem: (error) => problems.push(error) });
}
/** A promise that is settled from outside. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => { open = resolve; });
  return { opened, open };
}
const turns = async (count = 20): Promise<void> => {
  for (let i = 0; i < count; i += 1) await new Promise((resolve) => { setTimeout(resolve, 1); });
};
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 5000 && !condition(); i += 1) await new Promise((resolve) => { setTimeout(resolve, 1); });
  if (!condition()) throw new Error(`never: ${what}`);
}

class Client {
  #chunks: Uint8Array[] = [];
  isClosed = false;
  greetingBytes = 0;
  constructor(readonly socket: Socket) {
    clients.push(this);
    socket.on('data', (chunk: Uint8Array) => { this.#chunks.push(chunk); });
    socket.on('close', () => { this.isClosed = true; });
    socket.on('error', () => undefined);
  }
  static async attached(name = 'disk'): Promise<Client> {
    const client = new Client(connect({ path: socketPath() }));
    client.socket.write(usualHandshake(name));
    // 18 greeting + ack 20 + context 20+4+15 + ack 20 + size 32 + blocks 34 + ack 20
    client.greetingBytes = 18 + 20 + 39 + 20 + 32 + 34 + 20;
    await until(() => client.bytes.length >= client.greetingBytes, 'negotiated');
    return client;
  }
  get bytes(): Uint8Array {
    if (this.#chunks.length > 1) this.#chunks = [joined(this.#chunks)];
    return this.#chunks[0] ?? new Uint8Array(0);
  }
  get replies(): ServerMessage[] {
    return serverMessages(this.bytes.slice(this.greetingBytes));
  }
  send(...requests: ClientRequest[]): void {
    this.socket.write(joined(requests.map(requestBytes)));
  }
  async ask(request: ClientRequest): Promise<ServerMessage[]> {
    const mine = (): ServerMessage[] => this.replies.filter((reply) => reply.kind !== 'option' && reply.cookie === request.cookie);
    this.send(request);
    await until(() => mine().some((reply) => reply.kind === 'simple' || reply.kind === 'error' || reply.kind === 'status' || ('isLast' in reply && reply.isLast)), `reply to ${String(request.cookie)}`);
    return mine();
  }
  cookies(): number[] {
    return this.replies.flatMap((reply) => (reply.kind === 'option' ? [] : [reply.cookie]));
  }
}

const memory = (sizeBytes = 4 * MiB): MemoryVolume => new MemoryVolume({ sizeBytes });
const faulty = (script: (operation: VolumeOperation) => Fault | undefined, below: Volume = memory()): FaultVolume => new FaultVolume(below, script);

describe('NbdServer', () => {
  it('reads back what was written, now and after all kinds of requests', async () => {
    const volume = memory();
    table.add({ name: 'disk', volume });
    await serve();
    const client = await Client.attached();
    const payload = new Uint8Array(5000).map((_, i) => (i % 251) + 1);
    expect(await client.ask({ type: write, cookie: 1, offset: 100, payload })).toMatchObject([{ kind: 'simple', errno: 0 }]);
    expect(await client.ask({ type: read, cookie: 2, offset: 100, length: 5000 })).toEqual([{ kind: 'data', cookie: 2, isLast: true, offset: 100, bytes: payload }]);
    expect(await client.ask({ type: flush, cookie: 3 })).toMatchObject([{ errno: 0 }]);
    expect(await client.ask({ type: trim, cookie: 4, offset: 0, length: 8192 })).toMatchObject([{ errno: 0 }]);
    expect(await client.ask({ type: blockStatus, cookie: 5, offset: 0, length: 4 * MiB })).toMatchObject([{ kind: 'status', runs: [[4 * MiB, 3]] }]);
    expect(volume.bytes.every((byte) => byte === 0)).toBe(true);
    expect(problems).toEqual([]);
  });

  it('uses the memory of payloads again, and none before its write is done', async () => {
    const below = memory();
    const changed: number[] = [];
    const buffers = new Set<ArrayBufferLike>();
    /** Every write takes some turns, out of order; what it was given must still be there at the end. */
    const slow: Volume = Object.assign(Object.create(below) as Volume, {
      isSourceFreeWhenDone: true,
      async write(offset: number, source: Uint8Array) {
        const before = source.slice();
        buffers.add(source.buffer);
        await turns(1 + ((offset / 4096) % 7));
        if (Buffer.compare(before, source) !== 0) changed.push(offset);
        below.write(offset, source.slice());
      },
    });
    Object.defineProperty(slow, 'sizeBytes', { value: below.sizeBytes });
    table.add({ name: 'disk', volume: slow });
    await serve();
    const client = await Client.attached();
    const count = 1000;
    const fillOf = (i: number): number => (i % 250) + 1;
    for (let i = 0; i < count; i += 1) {
      // 1 to 3 blocks: payloads lie across the ends of the buffers.
      client.send({ type: write, cookie: i, offset: i * 4096, payload: new Uint8Array(4096 * (1 + (i % 3))).fill(fillOf(i)).subarray(0, Math.min(4096 * 3, 4 * MiB - i * 4096)) });
      if (i % 50 === 49) await until(() => client.cookies().length > i - 40, 'some replies');
    }
    await until(() => client.cookies().length === count, 'all replies');
    expect(changed).toEqual([]);
    expect(buffers.size).toBeLessThan(100);
  });

  it('sends a large read as data and holes', async () => {
    const volume = memory();
    volume.write(MiB, new Uint8Array(4096).fill(9));
    table.add({ name: 'disk', volume });
    await serve();
    const client = await Client.attached();
    expect(await client.ask({ type: read, cookie: 1, offset: 0, length: 2 * MiB })).toEqual([
      { kind: 'hole', cookie: 1, isLast: false, offset: 0, length: MiB },
      { kind: 'data', cookie: 1, isLast: false, offset: MiB, bytes: new Uint8Array(4096).fill(9) },
      { kind: 'hole', cookie: 1, isLast: true, offset: MiB + 4096, length: MiB - 4096 },
    ]);
    const [whole] = await client.ask({ type: read, cookie: 2, offset: 0, length: 2 * MiB, flags: 4 });
    expect(whole?.kind === 'data' && [whole.bytes.length, whole.bytes[MiB]]).toEqual([2 * MiB, 9]);
  });

  it('answers many small requests of one packet, in one go', async () => {
    table.add({ name: 'disk', volume: memory() });
    await serve();
    const client = await Client.attached();
    client.send(...Array.from({ length: 500 }, (_, i) => ({ type: i % 2 === 0 ? write : read, cookie: i, offset: i * 512, ...(i % 2 === 0 ? { payload: new Uint8Array(512).fill(i) } : { length: 512 }) })));
    await until(() => client.cookies().length === 500, '500 replies');
    expect(client.cookies()).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });

  it.each([300, 4096, 65_536, 200_000])('never touches a payload of %d bytes again that its volume keeps', async (bytes) => {
    const kept: Uint8Array[] = [];
    const keeping = new FaultVolume(memory(), () => undefined);
    keeping.write = (_offset, source): void => { kept.push(source); };
    const free = Object.assign(memory(), { isSourceFreeWhenDone: true });
    table.add({ name: 'keeping', volume: keeping });
    table.add({ name: 'disk', volume: free });
    await serve();
    const clientsOf = [await Client.attached('keeping'), await Client.attached('disk')];
    for (let i = 0; i < 40; i += 1) {
      for (const client of clientsOf) client.send({ type: write, cookie: i, offset: i * 1000, payload: new Uint8Array(bytes).fill(i + 1) });
    }
    await until(() => clientsOf.every((client) => client.cookies().length === 40), 'all replies');
    expect(kept.map((payload) => payload.every((byte) => byte === payload[0]) && payload[0])).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    expect([0, 20, 39].map((i) => free.bytes[i * 1000])).toEqual([1, 21, 40]);
  });

  it('one slow request holds up no other one', async () => {
    const { opened, open } = gate();
    table.add({ name: 'disk', volume: faulty(({ offset }) => (offset === 0 ? { until: opened } : undefined)) });
    await serve();
    const client = await Client.attached();
    client.send({ type: read, cookie: 1, offset: 0, length: 512 });
    await client.ask({ type: read, cookie: 2, offset: 512, length: 512 });
    await client.ask({ type: write, cookie: 3, offset: 512, payload: new Uint8Array(512) });
    expect(client.cookies()).toEqual([2, 3]);
    open();
    await until(() => client.cookies().includes(1), 'the slow one');
  });

  it.each<[string, Fault, number]>([
    ['no space', { error: 'VOLUME_FULL' }, 28], ['an I/O error', { error: 'VOLUME_IO' }, 5],
    ['a closed volume', { error: 'VOLUME_CLOSED' }, 108], ['a read-only volume', { error: 'VOLUME_READ_ONLY' }, 1],
  ])('%s becomes its errno and the connection goes on', async (_name, fault, errno) => {
    let isBad = true;
    table.add({ name: 'disk', volume: faulty(() => (isBad ? fault : undefined)) });
    await serve();
    const client = await Client.attached();
    expect(await client.ask({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(10) })).toMatchObject([{ kind: 'simple', errno }]);
    expect(await client.ask({ type: read, cookie: 2, offset: 0, length: 10 })).toMatchObject([{ kind: 'error', errno }]);
    expect(await client.ask({ type: read, cookie: 3, offset: 0, length: MiB })).toMatchObject([{ kind: 'error', errno }]);
    expect(await client.ask({ type: blockStatus, cookie: 4, offset: 0, length: 10 })).toMatchObject([{ kind: 'error', errno }]);
    isBad = false;
    expect(await client.ask({ type: write, cookie: 5, offset: 0, payload: new Uint8Array(10) })).toMatchObject([{ errno: 0 }]);
  });

  it('errors that a volume throws at once are answered too', async () => {
    const volume = memory();
    table.add({ name: 'disk', volume });
    await serve();
    const client = await Client.attached();
    await volume.close();
    expect(await client.ask({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(10) })).toMatchObject([{ errno: 108 }]);
  });

  it('stops reading its socket when enough requests wait, and goes on when they are done', async () => {
    const { opened, open } = gate();
    let begun = 0;
    table.add({ name: 'disk', volume: faulty(() => { begun += 1; return { until: opened }; }) });
    await serve({ requestsMax: 10 });
    const client = await Client.attached();
    client.send(...Array.from({ length: 100 }, (_, i) => ({ type: write, cookie: i, offset: i * 512, payload: new Uint8Array(512) })));
    await turns();
    expect(begun).toBe(10);
    open();
    await until(() => client.cookies().length === 100, 'all replies');
  });

  it('bounds the bytes that wait: one request may pass the limit, no second one', async () => {
    const { opened, open } = gate();
    let begun = 0;
    table.add({ name: 'disk', volume: faulty(() => { begun += 1; return { until: opened }; }) });
    await serve({ requestBytesMax: MiB });
    const client = await Client.attached();
    client.send(...Array.from({ length: 8 }, (_, i) => ({ type: read, cookie: i, offset: 0, length: 700_000, flags: 4 })));
    await turns();
    expect(begun).toBe(2);
    open();
    await until(() => client.cookies().length === 8, 'all replies');
  });

  it('a client that takes no replies gets no more work done, and all of it later', async () => {
    let begun = 0;
    table.add({ name: 'disk', volume: faulty(() => { begun += 1; return undefined; }) });
    await serve({ replyBytesMax: MiB });
    const client = await Client.attached();
    client.socket.pause();
    client.send(...Array.from({ length: 150 }, (_, i) => ({ type: read, cookie: i, offset: 0, length: 65_536 })));
    await turns(100);
    const whilePaused = begun;
    expect(whilePaused).toBeLessThan(75);
    client.socket.resume();
    await until(() => client.bytes.length >= client.greetingBytes + 150 * (65_536 + 28), 'all replies');
    expect(client.cookies()).toHaveLength(150);
  });

  it('drops hostile bytes and serves the others', async () => {
    table.add({ name: 'disk', volume: memory() });
    await serve();
    const good = await Client.attached();
    const bad = await Client.attached();
    bad.socket.write(new Uint8Array(28));
    const early = new Client(connect({ path: socketPath() }));
    early.socket.write(new Uint8Array(2000).fill(0x55));
    await until(() => bad.isClosed && early.isClosed, 'dropped');
    expect(problems).toMatchObject([{ name: 'ProtocolError' }, { name: 'ProtocolError' }]);
    expect(await good.ask({ type: read, cookie: 1, offset: 0, length: 1 })).toMatchObject([{ kind: 'data' }]);
  });

  it('drops a client that does not negotiate', async () => {
    await serve({ handshakeMs: 30 });
    const client = new Client(connect({ path: socketPath() }));
    await until(() => client.isClosed, 'dropped');
  });

  it('answers what is in flight before it closes after DISC', async () => {
    const { opened, open } = gate();
    table.add({ name: 'disk', volume: faulty(() => ({ until: opened })) });
    await serve();
    const client = await Client.attached();
    client.send({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(10) }, { type: disconnect, cookie: 2 });
    await turns();
    expect(client.isClosed).toBe(false);
    open();
    await until(() => client.isClosed, 'closed');
    expect(client.cookies()).toEqual([1]);
  });
});

describe('ExportTable under connections', () => {
  it('replaces a volume: what is in flight ends on the old one, the rest starts on the new one, the connection stays', async () => {
    const { opened, open } = gate();
    const [first, second] = [memory(), memory()];
    table.add({ name: 'disk', volume: faulty(() => ({ until: opened }), first) });
    await serve();
    const client = await Client.attached();
    client.send({ type: write, cookie: 1, offset: 0, payload: new Uint8Array([1]) });
    await until(() => table.list()[0]?.inFlight === 1, 'in flight');
    let isOldIdle = false;
    const replaced = table.replaceVolume('disk', second).then(() => { isOldIdle = true; });
    await client.ask({ type: write, cookie: 2, offset: 0, payload: new Uint8Array([2]) });
    expect([first.bytes[0], second.bytes[0], isOldIdle]).toEqual([0, 2, false]);
    open();
    await replaced;
    await until(() => client.cookies().includes(1), 'the old one answered');
    expect([first.bytes[0], second.bytes[0], client.isClosed]).toEqual([1, 2, false]);
  });

  it('refuses another size, a read-only volume under a writable export, unknown and doubled names', async () => {
    table.add({ name: 'disk', volume: memory() });
    await serve();
    expect(() => table.add({ name: 'disk', volume: memory() })).toThrow(expect.objectContaining({ code: 'NBD_EXPORT_EXISTS' }));
    await expect(table.replaceVolume('disk', memory(MiB))).rejects.toMatchObject({ code: 'NBD_EXPORT_MISMATCH' });
    await expect(table.replaceVolume('disk', new MemoryVolume({ sizeBytes: 4 * MiB, isReadOnly: true }))).rejects.toMatchObject({ code: 'NBD_EXPORT_MISMATCH' });
    await expect(table.replaceVolume('none', memory())).rejects.toMatchObject({ code: 'NBD_EXPORT_UNKNOWN' });
    await expect(table.remove('none')).rejects.toMatchObject({ code: 'NBD_EXPORT_UNKNOWN' });
  });

  it('removes an export after the requests in flight, and closes its connections only', async () => {
    const { opened, open } = gate();
    table.add({ name: 'disk', volume: faulty(() => ({ until: opened })) });
    table.add({ name: 'other', volume: memory() });
    await serve();
    const client = await Client.attached();
    const other = await Client.attached('other');
    client.send({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(10) });
    await until(() => table.list()[0]?.inFlight === 1, 'in flight');
    let isRemoved = false;
    const removed = table.remove('disk').then(() => { isRemoved = true; });
    client.send({ type: write, cookie: 2, offset: 0, payload: new Uint8Array(10) });
    await turns();
    expect([isRemoved, client.isClosed, table.list().map(({ name }) => name)]).toEqual([false, false, ['other']]);
    open();
    await removed;
    await until(() => client.isClosed, 'closed');
    expect(client.cookies()).toEqual([1]);
    expect(await other.ask({ type: read, cookie: 1, offset: 0, length: 1 })).toMatchObject([{ kind: 'data' }]);
    expect(table.list()).toMatchObject([{ name: 'other', connectionCount: 1 }]);
  });

  it('a removed export waits for requests of clients that are gone', async () => {
    const { opened, open } = gate();
    table.add({ name: 'disk', volume: faulty(() => ({ until: opened })) });
    await serve();
    const client = await Client.attached();
    client.send({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(10) });
    await until(() => table.list()[0]?.inFlight === 1, 'in flight');
    client.socket.destroy();
    await until(() => server.connectionCount === 0, 'gone');
    let isRemoved = false;
    const removed = table.remove('disk').then(() => { isRemoved = true; });
    await turns();
    expect(isRemoved).toBe(false);
    open();
    await removed;
  });
});

describe('NbdServer and its address', () => {
  it('removes the socket of a dead server, not that of a living one, nor a file', async () => {
    table.add({ name: 'disk', volume: memory() });
    await serve();
    await expect(NbdServer.listen({ socketPath: socketPath() }, table)).rejects.toMatchObject({ code: 'NBD_LISTEN', message: expect.stringContaining('in use') as unknown });
    expect((await Client.attached()).isClosed).toBe(false);
    const file = join(folder, 'file');
    writeFileSync(file, 'precious');
    await expect(NbdServer.listen({ socketPath: file }, table)).rejects.toMatchObject({ code: 'NBD_LISTEN' });
    expect(existsSync(file)).toBe(true);
    const stale = join(folder, 'stale.sock');
    await leaveStaleSocket(stale);
    const second = await NbdServer.listen({ socketPath: stale, mode: 0o600 }, table);
    await second.close();
    expect(existsSync(stale)).toBe(false);
  });

  it('says that a path is too long', async () => {
    await serve();
    await expect(NbdServer.listen({ socketPath: `/tmp/${'x'.repeat(120)}` }, table)).rejects.toMatchObject({ code: 'NBD_LISTEN' });
  });

  it('serves TCP on a free port, without delay', async () => {
    table.add({ name: 'disk', volume: memory() });
    await serve();
    const tcp = await NbdServer.listen({ host: '127.0.0.1', port: 0 }, table);
    const client = new Client(connect({ host: '127.0.0.1', port: tcp.port }));
    client.socket.write(usualHandshake('disk'));
    await until(() => table.list()[0]?.connectionCount === 1, 'attached');
    await tcp.close();
    await until(() => client.isClosed, 'closed');
  });
});

/** A socket file whose server is gone: Node removes its own on close, so the file is renamed before. */
async function leaveStaleSocket(path: string): Promise<void> {
  const dead = createServer();
  await new Promise<void>((resolve) => { dead.listen(`${path}.live`, resolve); });
  renameSync(`${path}.live`, path);
  await new Promise<void>((resolve) => { dead.close(() => resolve()); });
}
