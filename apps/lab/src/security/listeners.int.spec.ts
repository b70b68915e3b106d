import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listenersOf, readAddress } from './listeners.js';

/** A process whose child listens on everything there is, and which connects to itself as well. */
const PROGRAM = `
const net = require('node:net'), { spawn } = require('node:child_process');
if (process.env.PARENT) { spawn(process.execPath, ['-e', process.env.PROGRAM], { stdio: 'inherit', env: { ...process.env, PARENT: '' } }); setInterval(() => {}, 1000); } else {
const servers = [[0, '127.0.0.1'], [0, '::1'], [process.env.SOCKET]].map((where) => net.createServer().listen(...where));
const udp = require('node:dgram').createSocket('udp4'); udp.bind(0, '127.0.0.1');
Promise.all([...servers, udp].map((server) => new Promise((done) => server.once('listening', done)))).then(() => {
  net.connect(servers[0].address().port, '127.0.0.1').on('connect', () => console.log(JSON.stringify([...servers.slice(0, 2), udp].map((server) => server.address().port))));
});
}`;

let child: ChildProcess;
let folder: string;
let ports: number[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-listeners-'));
  child = spawn(process.execPath, ['-e', PROGRAM], { env: { ...process.env, PROGRAM, PARENT: 'yes', SOCKET: join(folder, 's.sock') }, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  ports = JSON.parse(line.toString()) as number[];
}, 10_000);
afterAll(async () => {
  if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  await rm(folder, { recursive: true });
});

it('finds every socket that a process or a child of it listens on, and no connection', () => {
  const found = listenersOf('a', { name: 'x', pid: child.pid ?? 0 }).sort((one, other) => one.port - other.port);
  const expected = [
    { process: 'a/x', kind: 'tcp', place: '127.0.0.1', port: ports[0] },
    { process: 'a/x', kind: 'tcp', place: '0000:0000:0000:0000:0000:0000:0000:0001', port: ports[1] },
    { process: 'a/x', kind: 'udp', place: '127.0.0.1', port: ports[2] },
    { process: 'a/x', kind: 'unix', place: join(folder, 's.sock'), port: 0 },
  ].sort((one, other) => (one.port ?? 0) - (other.port ?? 0));
  expect(found).toEqual(expected);
});

it('reads addresses as the kernel writes them', () => {
  expect(readAddress('0101007F:25C5')).toEqual({ place: '127.0.1.1', port: 9669 });
  expect(readAddress('00000000000000000000000001000000:1081')).toEqual({ place: '0000:0000:0000:0000:0000:0000:0000:0001', port: 4225 });
});
