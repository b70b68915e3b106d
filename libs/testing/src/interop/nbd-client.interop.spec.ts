import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import { openNbdVolume } from '@tidemark/nbd-client';
import type { Volume } from '@tidemark/volume';
import { describeVolume, patternBytes, readBytes } from '@tidemark/volume/testing';
import { describeWithTools } from './tools.js';

const SIZE = 16 * MiB;
const LIMITS = { connectMs: 2000, requestMs: 10_000, patienceMs: 5000, settleMs: 20 };

let folder: string;
let servers: ChildProcess[] = [];
let count = 0;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tidemark-client-interop-'));
});
afterEach(async () => {
  for (const server of servers) await kill(server);
  servers = [];
  rmSync(folder, { recursive: true });
});

const kill = (server: ChildProcess): Promise<void> => new Promise((resolve) => {
  if (server.exitCode !== null || server.signalCode !== null) return resolve();
  server.once('exit', () => resolve());
  server.kill('SIGKILL');
});

function sparseFile(sizeBytes = SIZE): string {
  count += 1;
  const path = join(folder, `disk-${String(count)}.raw`);
  writeFileSync(path, '');
  truncateSync(path, sizeBytes);
  return path;
}

/** Starts a server on a socket of its own and waits until that is there. */
async function serve(tool: string, argumentsFor: (socket: string) => string[], socket = join(folder, `${String((count += 1))}.sock`)): Promise<{ uri: string; socket: string; server: ChildProcess }> {
  const server = spawn(tool, argumentsFor(socket), { stdio: 'ignore' });
  servers.push(server);
  for (let tries = 0; !(await isAnswered(socket)); tries += 1) {
    if (tries > 500) throw new Error(`${tool} did not start`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return { uri: `nbd+unix:///?socket=${socket}`, socket, server };
}

const isAnswered = (path: string): Promise<boolean> => new Promise((resolve) => {
  const socket = connect({ path });
  socket.once('error', () => resolve(false));
  socket.once('connect', () => {
    socket.destroy();
    resolve(true);
  });
});

const nbdkit = (...rest: string[]) => (socket: string): string[] => ['-f', '-U', socket, ...rest];
const qemuNbd = (path: string) => (socket: string): string[] => ['--persistent', '--shared=8', '-f', 'raw', '--discard=unmap', '--detect-zeroes=off', '-x', '', '-k', socket, path];

async function volumeAt(uri: string): Promise<Volume> {
  return await openNbdVolume({ uri, isReadOnly: false, limits: LIMITS });
}

async function writeAndReadBack(volume: Volume): Promise<void> {
  for (const write of Array.from({ length: 32 }, (_, i) => volume.write(i * 100_000, patternBytes(70_000, i)))) await write;
  await volume.writeZeroes(4 * MiB, MiB, { mayUnmap: true });
  await volume.flush();
  for (let i = 0; i < 32; i += 1) expect(Buffer.compare(await readBytes(volume, i * 100_000, 70_000), patternBytes(70_000, i))).toBe(0);
}

describeWithTools('our client and nbdkit', ['nbdkit'], () => {
  // A process for each of the suite's volumes would take long: one for each size, cleared each time.
  const uris = new Map<string, string>();
  const suiteFolder = mkdtempSync(join(tmpdir(), 'tidemark-client-suite-'));
  const suiteServers: ChildProcess[] = [];
  afterAll(async () => {
    for (const server of suiteServers) await kill(server);
    rmSync(suiteFolder, { recursive: true });
  });
  describeVolume('NbdVolume over nbdkit memory', async ({ sizeBytes, isReadOnly }) => {
    const key = `${String(sizeBytes)}-${String(isReadOnly)}`;
    if (!uris.has(key)) {
      const { uri } = await serve('nbdkit', nbdkit(...(isReadOnly ? ['-r'] : []), 'memory', String(sizeBytes)), join(suiteFolder, `${key}.sock`));
      uris.set(key, uri);
      suiteServers.push(...servers.splice(0));
    }
    const volume = await openNbdVolume({ uri: uris.get(key) ?? '', isReadOnly, limits: LIMITS });
    if (!isReadOnly) await volume.writeZeroes(0, sizeBytes, { mayUnmap: true });
    return volume;
  });

  it('writes to a file with flush, FUA, zeroes that make holes, and tells holes', async () => {
    const path = sparseFile();
    const volume = await volumeAt((await serve('nbdkit', nbdkit('file', path))).uri);
    await volume.write(0, new Uint8Array(8 * MiB).fill(7), { isFua: true });
    await volume.writeZeroes(MiB, 4 * MiB, { mayUnmap: true });
    await volume.flush();
    expect(statSync(path).blocks * 512).toBeLessThanOrEqual(4 * MiB + 65_536);
    const runs = await volume.allocation(0, SIZE);
    expect(runs.filter(({ isZero }) => isZero).reduce((sum, { length }) => sum + length, 0)).toBe(12 * MiB);
    await volume.writeZeroes(2 * MiB, MiB, { mayUnmap: false });
    await volume.flush();
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(5 * MiB);
    await volume.close();
  });

  it('meets errors as errors, and goes on', async () => {
    const volume = await volumeAt((await serve('nbdkit', nbdkit('--filter=error', 'memory', '16M', 'error-pwrite=ENOSPC', 'error-pwrite-rate=100%'))).uri);
    await expect(volume.write(0, new Uint8Array(4096))).rejects.toMatchObject({ code: 'VOLUME_FULL' });
    expect((await readBytes(volume, 0, 4096)).every((byte) => byte === 0)).toBe(true);
    await volume.close();
  });

  it('keeps many requests in flight at a slow server', async () => {
    const volume = await volumeAt((await serve('nbdkit', nbdkit('-t', '32', '--filter=delay', 'memory', '16M', 'rdelay=100ms'))).uri);
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: 32 }, (_, i) => readBytes(volume, i * 4096, 4096)));
    expect(performance.now() - startedMs).toBeLessThan(1500); // one after the other: 3200 ms
    await volume.close();
  });

  it('takes any alignment to a server that wants whole blocks, in requests that it takes', async () => {
    const volume = await volumeAt((await serve('nbdkit', nbdkit('--filter=blocksize-policy', 'memory', '16M', 'blocksize-error-policy=error', 'blocksize-minimum=4096',
      'blocksize-preferred=4096', 'blocksize-maximum=65536'))).uri);
    await writeAndReadBack(volume);
    await volume.close();
  });

  it('does without structured replies', async () => {
    const volume = await volumeAt((await serve('nbdkit', nbdkit('--no-sr', 'memory', '16M'))).uri);
    await writeAndReadBack(volume);
    expect(await volume.allocation(0, 100)).toEqual([{ length: 100, isHole: false, isZero: false }]);
    await volume.close();
  });

  it('finds a server again that was killed in the middle of writes, and nothing is lost that was answered', async () => {
    const path = sparseFile();
    const { uri, socket, server } = await serve('nbdkit', nbdkit('file', path));
    const volume = await volumeAt(uri);
    const writes: Promise<unknown>[] = [];
    for (let i = 0; i < 64; i += 1) {
      writes.push(Promise.resolve(volume.write(i * 65_536, patternBytes(65_536, i))));
      if (i !== 32) continue;
      await kill(server);
      rmSync(socket, { force: true });
      void serve('nbdkit', nbdkit('file', path), socket);
    }
    await Promise.all(writes);
    await volume.flush();
    const bytes = readFileSync(path);
    for (let i = 0; i < 64; i += 1) expect(Buffer.compare(bytes.subarray(i * 65_536, (i + 1) * 65_536), patternBytes(65_536, i))).toBe(0);
    await volume.close();
  });
});

describeWithTools('our client and qemu-nbd', ['qemu-nbd'], () => {
  it('reads back what it wrote, holes included', async () => {
    const path = sparseFile();
    const volume = await volumeAt((await serve('qemu-nbd', qemuNbd(path))).uri);
    await writeAndReadBack(volume);
    await volume.write(8 * MiB, new Uint8Array(4 * MiB).fill(9));
    await volume.writeZeroes(8 * MiB, 4 * MiB, { mayUnmap: true });
    const runs = await volume.allocation(8 * MiB, 4 * MiB);
    expect(runs.every(({ isZero }) => isZero)).toBe(true);
    await volume.close();
  });
});
