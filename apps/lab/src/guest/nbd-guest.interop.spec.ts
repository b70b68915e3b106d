import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { LaneWriter } from './lane-writer.js';
import { examineLane, type LanePlan } from './lane.js';
import { NbdGuest } from './nbd-guest.js';

const MiB = 1024 * 1024;

describe('NBD guest against qemu-nbd', () => {
  let folder: string;
  let image: string;
  let socket: string;
  let server: ChildProcess;
  let guest: NbdGuest;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-guest-'));
    image = join(folder, 'disk.raw');
    socket = join(folder, 'nbd.sock');
    const file = await open(image, 'w');
    await file.truncate(8 * MiB);
    await file.close();
    await startServer();
    guest = new NbdGuest(`nbd+unix:///disk%201?socket=${socket}`);
  });
  afterEach(async () => {
    guest.close();
    await killServer();
    await rm(folder, { recursive: true, force: true });
  });

  const startServer = async () => {
    server = spawn('qemu-nbd', ['-f', 'raw', '-x', 'disk 1', '-k', socket, '-t', '-e', '4', '--cache=writeback', image], { stdio: 'ignore' });
    while (!existsSync(socket)) await sleep(10);
  };
  const killServer = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const gone = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGKILL');
    await gone;
    await rm(socket, { force: true });
  };

  it('reads what it wrote, many requests at once, and knows the size', async () => {
    const blocks = Array.from({ length: 64 }, (_, index) => Buffer.alloc(4096, index + 1));
    await Promise.all(blocks.map((block, index) => guest.write(index * 8192, block)));
    await guest.flush();
    expect(guest.sizeBytes).toBe(8 * MiB);
    const read = await Promise.all(blocks.map((_, index) => guest.read(index * 8192, 4096)));
    expect(read.every((bytes, index) => bytes.equals(blocks[index]!))).toBe(true);
    expect((await readFile(image)).subarray(8192, 8192 + 4096)).toEqual(blocks[1]);
  });

  it('a request that the server refuses fails alone', async () => {
    await expect(guest.write(8 * MiB, Buffer.alloc(512))).rejects.toThrow(/errno/);
    await expect(guest.read(0, 512)).resolves.toHaveLength(512);
  });

  it('goes on by itself when the server is killed and comes back, without losing or reordering a write', async () => {
    const plan: LanePlan = { lane: 1, seed: 5, regions: [{ label: 'disk', startOffset: 0, blockCount: 256 }] };
    const writer = new LaneWriter(plan, [guest]);
    const stop = new AbortController();
    const running = writer.run(stop.signal, 0);
    for (let round = 0; round < 3; round++) {
      await sleep(100);
      await killServer();
      const stalledAt = writer.completedSeq;
      await startServer();
      while (writer.completedSeq <= stalledAt) await sleep(10);
    }
    stop.abort();
    await running;
    const finding = examineLane(plan, [await guest.read(0, MiB)]);
    expect(finding).toEqual({ lastSeq: writer.completedSeq, problems: [] });
    expect(writer.completedSeq).toBeGreaterThan(10);
  });

  it('a server that is not there: connecting gives up when told to, with the reason', async () => {
    const lost = new NbdGuest(`nbd+unix:///x?socket=${folder}/none.sock`);
    await expect(lost.connect(AbortSignal.timeout(250))).rejects.toMatchObject({ code: 'LAB_TIMEOUT' });
    await expect(new NbdGuest(`nbd+unix:///wrong?socket=${socket}`).connect(AbortSignal.timeout(250))).rejects.toMatchObject({ code: 'LAB_TIMEOUT' });
  });
});
