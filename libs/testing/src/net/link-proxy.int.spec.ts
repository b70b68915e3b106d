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
    const roundTripsMs: number[] = [];
    for (let ping = 0; ping < 20 && !roundTripsMs.some((ms) => ms < 120); ping += 1) {
      const beganMs = performance.now();
      client.write('ping');
      await once(client, 'data');
      roundTripsMs.push(performance.now() - beganMs);
    }
    expect(Math.min(...roundTripsMs)).toBeGreaterThanOrEqual(79);
    expect(Math.min(...roundTripsMs)).toBeLessThan(120);
  });

  it('carries its rate and no more', async () => {
    const [bytesPerSecond, burstBytes, oneWayMs] = [4_000_000, 1_000_000, 10];
    const { client, received, total } = await through({ oneWayMs, bytesPerSecond });
    const rates: number[] = [];
    // A machine that is busy with other things slows a burst down, but not every one; a link that is too slow slows all.
    for (let burst = 1; burst <= 20 && !rates.some((rate) => rate > 0.85 * bytesPerSecond); burst += 1) {
      const [before, beganMs] = [received.length, performance.now()];
      client.write(Buffer.alloc(burstBytes));
      while (total() < burst * burstBytes) await new Promise((resolve) => setTimeout(resolve, 5));
      const arrivals = received.slice(before);
      let bytes = 0;
      for (const arrival of arrivals) {
        bytes += arrival.bytes;
        // However busy: no byte is there before its turn at the bottleneck and its way behind that.
        expect(arrival.atMs - beganMs + 0.01).toBeGreaterThanOrEqual((bytes * 1000) / bytesPerSecond + oneWayMs);
      }
      const elapsedMs = (arrivals.at(-1)?.atMs ?? 0) - (arrivals[0]?.atMs ?? 0);
      rates.push(((burstBytes - (arrivals[0]?.bytes ?? 0)) * 1000) / elapsedMs);
    }
    expect(Math.max(...rates)).toBeGreaterThan(0.85 * bytesPerSecond);
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
