import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import 'reflect-metadata';
import { IsInt, Min } from 'class-validator';
import { ControlBus, ControlRefusal } from './index.js';

class QuestionV1 {
  @IsInt() @Min(1) size!: number;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}

async function until(what: string, probe: () => boolean): Promise<void> {
  for (let round = 0; round < 400; round += 1) {
    if (probe()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within 10 s: ${what}`);
}

let folder: string;
let port: number;
let peerPort: number;
let server: ChildProcess | undefined;
const buses: ControlBus[] = [];

const bus = (url: string, name: string): ControlBus => {
  const made = new ControlBus(url, name);
  buses.push(made);
  return made;
};

async function startServer(): Promise<void> {
  server = spawn('nats-server', ['-c', join(folder, 'nats.conf')], { stdio: 'ignore' });
  await once(server, 'spawn');
}

async function stopServer(): Promise<void> {
  const stopping = server;
  server = undefined;
  if (!stopping) return;
  const exited = once(stopping, 'exit');
  stopping.kill('SIGKILL');
  await exited;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-nats-'));
  [port, peerPort] = [await freePort(), await freePort()];
  await writeFile(join(folder, 'nats.conf'), `host: 127.0.0.1\nport: ${String(port)}\nwebsocket { host: 127.0.0.1, port: ${String(peerPort)}, no_tls: true }\n`);
});

afterEach(async () => {
  await Promise.all(buses.splice(0).map((each) => each.close()));
  await stopServer();
  await rm(folder, { recursive: true, force: true });
});

describe('control bus', () => {
  it('asks and answers, locally and through the listener for peers', async () => {
    await startServer();
    const local = bus(`nats://127.0.0.1:${String(port)}`, 'local');
    const peer = bus(`ws://127.0.0.1:${String(peerPort)}`, 'peer');
    local.respond('question', QuestionV1, ({ size }) => ({ doubled: 2 * size }));
    await until('both are connected', () => local.isConnected && peer.isConnected);
    await expect(local.request('question', { size: 4 })).resolves.toEqual({ doubled: 8 });
    await expect(peer.request('question', { size: 5 })).resolves.toEqual({ doubled: 10 });
  });

  it('refuses what is not valid, says why, and passes refusals on with their code', async () => {
    await startServer();
    const one = bus(`nats://127.0.0.1:${String(port)}`, 'one');
    one.respond('question', QuestionV1, () => {
      throw new ControlRefusal('QUESTION_ASKED', 'asked before');
    });
    await until('connected', () => one.isConnected);
    await expect(one.request('question', { size: 0 })).rejects.toMatchObject({ code: 'CONTROL_REFUSED', remoteCode: 'CONTROL_INVALID', message: 'size must not be less than 1' });
    await expect(one.request('question', { size: 1 })).rejects.toMatchObject({ remoteCode: 'QUESTION_ASKED', message: 'asked before' });
    await expect(one.request('nobody', {})).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE', isRetryable: true });
  });

  it('starts without its broker, and serves again after the broker was killed and came back', async () => {
    const one = bus(`nats://127.0.0.1:${String(port)}`, 'one');
    one.respond('question', QuestionV1, ({ size }) => ({ size }));
    await expect(one.request('question', { size: 1 })).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE' });
    await startServer();
    await until('connected', () => one.isConnected);
    await stopServer();
    await until('the loss is seen', () => !one.isConnected);
    await startServer();
    await until('connected again', () => one.isConnected);
    await expect(one.request('question', { size: 3 })).resolves.toEqual({ size: 3 });
  });

  it('carries requests and answers larger than the broker takes in one message', async () => {
    await startServer();
    const one = bus(`nats://127.0.0.1:${String(port)}`, 'one');
    const peer = bus(`ws://127.0.0.1:${String(peerPort)}`, 'peer');
    const list = Array.from({ length: 17_280 }, (_, index) => ({ checkpointId: index, vmIds: ['b65ea275-05ec-4799-8699-73c96bc92609.vm-3'], tag: null, kind: 'automatic', atMs: 1795314826241 + index }));
    expect(JSON.stringify(list).length).toBeGreaterThan(1024 * 1024); // the server's own limit here
    one.respond('echo', null, (message: { list: unknown }) => ({ list: message.list }));
    await until('both are connected', () => one.isConnected && peer.isConnected);
    await expect(peer.request('echo', { list })).resolves.toEqual({ list });
  });

  it('drops an event that is not JSON, and keeps listening', async () => {
    await startServer();
    const one = bus(`nats://127.0.0.1:${String(port)}`, 'one');
    const seen: unknown[] = [];
    one.listen('event.*', (message) => {
      if (message === 7) throw new Error('a handler that fails');
      seen.push(message);
    });
    await until('connected', () => one.isConnected);
    one.publish('event.a', 7);
    one.publish('event.a', { n: 1 });
    await until('the event is there', () => seen.length === 1);
    expect(seen).toEqual([{ n: 1 }]);
  });
});
