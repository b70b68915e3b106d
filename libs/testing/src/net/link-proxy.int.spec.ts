import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { LinkProxy, type LinkShape } from './link-proxy.js';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server that keeps what it gets, and a client that speaks to it through a link. */
async function through(shape: LinkShape): Promise<{ readonly proxy: LinkProxy; readonly client: Socket; readonly received: { bytes: number; atMs: number }[]; total(): number }> {
  const received: { bytes: number; atMs: number }[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      received.push({ bytes: chunk.length, atMs: performance.now() });
      if (chunk.length === 4) socket.write(chunk);
    });
    closers.push(() => socket.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  const proxy = await LinkProxy.listen({ target: { address: '127.0.0.1', port: (server.address() as AddressInfo).port }, ...shape });
  closers.push(() => proxy.close());
  const client = connect(proxy.port, '127.0.0.1');
  client.on('error', () => undefined);
  await once(client, 'connect');
  closers.push(() => client.destroy());
  return { proxy, client, received, total: () => received.reduce((sum, { bytes }) => sum + bytes, 0) };
}

describe('a link in user space', () => {
  it('has a round trip of twice its one way', async () => {
    const { client } = await through({ oneWayMs: 40 });
    const beganMs = performance.now();
    client.write('ping');
    await once(client, 'data');
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(79);
    expect(performance.now() - beganMs).toBeLessThan(250);
  });

  it('carries its rate and no more', async () => {
    const { client, received, total } = await through({ oneWayMs: 10, bytesPerSecond: 4_000_000 });
    client.write(Buffer.alloc(4_000_000));
    while (total() < 3_900_000) await new Promise((resolve) => setTimeout(resolve, 10));
    const elapsedMs = (received.at(-1)?.atMs ?? 0) - (received[0]?.atMs ?? 0);
    const bytesPerSecond = ((total() - (received[0]?.bytes ?? 0)) * 1000) / elapsedMs;
    expect(bytesPerSecond).toBeGreaterThan(3_500_000);
    expect(bytesPerSecond).toBeLessThan(4_200_000);
  });

  it('cuts after exactly so many bytes, and takes connections again', async () => {
    const { proxy, client, total } = await through({});
    proxy.cutAfter('toTarget', 1000);
    client.write(Buffer.alloc(5000));
    await new Promise((resolve) => client.once('close', resolve));
    expect(total()).toBe(1000);
    const again = connect(proxy.port, '127.0.0.1');
    closers.push(() => again.destroy());
    again.write('ping');
    expect(String((await once(again, 'data'))[0])).toBe('ping');
  });

  it('swallows one direction until it is told to go on', async () => {
    const { proxy, client, total } = await through({});
    proxy.blackhole('toSource', true);
    client.write('ping');
    const answer = once(client, 'data');
    expect(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 100, 'nothing'))])).toBe('nothing');
    expect(total()).toBe(4);
    proxy.blackhole('toSource', false);
    expect(String((await answer)[0])).toBe('ping');
  });
});
