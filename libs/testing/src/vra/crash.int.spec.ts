import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { CheckpointListing, DesiredState, JournalCheckpoint } from '@tidemark/engine-host';
import { EngineChild } from './engine-child.js';
import { SITE_ID } from './test-site.js';
import { NbdClient } from './nbd-client.js';

const BLOCK = 4096;
const DISK_BYTES = 4 * MiB;
const BLOCKS = DISK_BYTES / BLOCK;
const VPG = randomUUID();
const VMS = ['vm-0', 'vm-1'] as const;

const diskPath = (folder: string, vmId: string): string => join(folder, 'disks', vmId);

/** Write `n` goes to VM `n % 2`, to a block that looks random, and is issued only after write `n - 1` was completed: one causal chain over both. */
const blockOf = (n: number): number => (n * 7919) % BLOCKS;

/** The guests of both VMs, as one chain of writes. A connection that is lost is made again and the write repeated, as QEMU's reconnect-delay does. */
class Writer {
  /** Wall clock at which write `n` was completed; index 0 is none. */
  readonly completedAtMs: number[] = [0];
  #isStopped = false;
  readonly #clients = new Map<string, NbdClient>();
  readonly done: Promise<void>;

  constructor(private readonly engines: readonly EngineChild[]) {
    this.done = this.#run();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.done;
    for (const client of this.#clients.values()) client.close();
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const n = this.completedAtMs.length;
      await this.#write(n);
      if (!this.#isStopped) this.completedAtMs.push(Date.now());
      if (n % 16 === 0) await sleep(1);
    }
  }

  async #write(n: number): Promise<void> {
    const vm = n % VMS.length;
    const bytes = new Uint8Array(BLOCK);
    new Uint32Array(bytes.buffer).fill(n);
    while (!this.#isStopped) {
      try {
        await (await this.#client(vm)).write(blockOf(n) * BLOCK, bytes);
        return;
      } catch {
        this.#clients.delete(String(vm));
        await sleep(20);
      }
    }
  }

  async #client(vm: number): Promise<NbdClient> {
    const known = this.#clients.get(String(vm));
    if (known) return known;
    const client = await NbdClient.connect(this.engines[vm]?.socketPath ?? '', VMS[vm] ?? '');
    this.#clients.set(String(vm), client);
    return client;
  }
}

/** Both disks after writes 1 … `last`. */
function imagesAfter(last: number): number[][] {
  const images = VMS.map(() => new Array<number>(BLOCKS).fill(0));
  for (let n = 1; n <= last; n += 1) (images[n % VMS.length] ?? [])[blockOf(n)] = n;
  return images;
}

async function listed(recovering: EngineChild): Promise<JournalCheckpoint[]> {
  const [first = [], second = []] = await Promise.all(VMS.map(async (vmId) => (await recovering.call<CheckpointListing>('listCheckpoints', { vpgId: VPG, vmId })).held));
  const ids = new Set(second.map(({ checkpointId }) => checkpointId));
  return first.filter(({ checkpointId }) => ids.has(checkpointId));
}

/** Opens views of both VMs at the checkpoint, and returns the number that each of their blocks carries. */
async function recoveredImages(recovering: EngineChild, checkpointId: number): Promise<number[][]> {
  return await Promise.all(VMS.map(async (vmId) => {
    const viewId = randomUUID();
    const exportName = `${vmId}-${viewId}`;
    await recovering.call('openView', { viewId, vpgId: VPG, vmId, checkpointId, purpose: 'test', volumes: [{ diskId: 'd', exportName }] });
    const client = await NbdClient.connect(recovering.socketPath, exportName);
    const bytes = await client.read(0, DISK_BYTES);
    client.close();
    await recovering.call('closeView', { viewId });
    return Array.from({ length: BLOCKS }, (_, block) => {
      const [first, last] = [bytes.readUInt32LE(block * BLOCK), bytes.readUInt32LE((block + 1) * BLOCK - 4)];
      return first === last ? first : -1;
    });
  }));
}

/** The image is the disks after some prefix of the chain that holds every write completed before the checkpoint's time. */
async function expectPrefix(recovering: EngineChild, { checkpointId, atMs }: JournalCheckpoint, writer: Writer): Promise<void> {
  const images = await recoveredImages(recovering, checkpointId);
  const last = Math.max(...images.flat());
  expect(images).toEqual(imagesAfter(last));
  const completedBefore = writer.completedAtMs.findLastIndex((completedAtMs) => completedAtMs < atMs - 1);
  expect(last).toBeGreaterThanOrEqual(completedBefore);
}

async function until<T>(what: string, probe: () => Promise<T | undefined>, timeoutMs = 15_000): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > deadlineMs) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`);
    await sleep(25);
  }
}

async function attach(folder: string, protecting: readonly EngineChild[]): Promise<void> {
  await mkdir(join(folder, 'disks'));
  for (const [index, engine] of protecting.entries()) {
    const vmId = VMS[index] ?? '';
    const file = await open(diskPath(folder, vmId), 'w');
    await file.truncate(DISK_BYTES);
    await file.close();
    await engine.call('applyDesiredState', desiredState(folder, vmId));
  }
}

const desiredState = (folder: string, vmId: string, rest: Partial<DesiredState> = {}): DesiredState => ({
  revision: 1, attachedVms: [{ vmId, disks: [{ diskId: 'd', exportName: vmId, path: diskPath(folder, vmId), sizeBytes: DISK_BYTES }] }], protections: [], barriers: [], ...rest,
});

async function protect(folder: string, protecting: readonly EngineChild[], recovering: EngineChild): Promise<void> {
  for (const vmId of VMS) {
    await recovering.call('putRecovery', {
      vpgId: VPG, vmId, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: VMS }], historyMs: 3_600_000, journalFolder: join(folder, 'recovery', `${vmId}-journal`),
      volumes: [{ diskId: 'd', sizeBytes: DISK_BYTES, mirrorPath: join(folder, 'recovery', `${vmId}.mirror`) }],
      datastore: { path: join(folder, 'recovery'), capacityBytes: 4096 * MiB },
    });
  }
  const members = protecting.map((engine, index) => ({ vra: engine.address, vmIds: [VMS[index] ?? ''] }));
  for (const [index, engine] of protecting.entries()) {
    const vmId = VMS[index] ?? '';
    await engine.call('applyDesiredState', desiredState(folder, vmId, {
      protections: [{ vpgId: VPG, vmId, epoch: 1, diskIds: ['d'], recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: index === 0, priority: 'medium' }],
      barriers: [{ vpgId: VPG, version: 1, epoch: 1, intervalMs: 100, members }],
    }));
  }
}

interface Site {
  readonly folder: string;
  readonly engines: readonly EngineChild[];
  readonly protecting: readonly EngineChild[];
  readonly recovering: EngineChild;
  readonly writer: Writer;
}

/** Two attached VMs with a writer on them; ended and removed whatever happens. */
async function withSite(act: (site: Site) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-kill-'));
  const engines: EngineChild[] = [];
  for (const vraId of ['p0', 'p1', 'r0']) engines.push(await EngineChild.start(vraId, folder));
  const [first, second, recovering] = engines;
  if (!first || !second || !recovering) throw new Error('three VRAs');
  await attach(folder, [first, second]);
  const writer = new Writer([first, second]);
  try {
    await act({ folder, engines, protecting: [first, second], recovering, writer });
    // Such as acknowledged writes that a journal lacks.
    expect(engines.flatMap(({ logged }) => logged)).toEqual([]);
  } finally {
    for (const engine of engines) await engine.kill();
    await writer.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const KILLS = Number(process.env['TIDEMARK_KILLS'] ?? 6);

async function killAndRestart(engine: EngineChild): Promise<void> {
  await engine.kill();
  await sleep(Math.random() * 300);
  await engine.startAgain();
}

const idsOf = (checkpoints: readonly JournalCheckpoint[]): number[] => checkpoints.map(({ checkpointId }) => checkpointId);

it('keeps every listed checkpoint, each a prefix of one chain of writes over two hosts, whichever VRA is killed', async () => {
  await withSite(async ({ folder, engines, protecting, recovering, writer }) => {
    await protect(folder, protecting, recovering);
    await until('the first checkpoint', async () => (await listed(recovering))[0]);
    for (let round = 0; round < KILLS; round += 1) {
      await sleep(200 + Math.random() * 800);
      const known = idsOf(await listed(recovering));
      const victim = engines[round % engines.length] ?? recovering;
      await killAndRestart(victim);
      const now = await until(`a new checkpoint after ${victim.vraId} was killed`, async () => {
        const list = await listed(recovering);
        return Math.max(...idsOf(list)) > Math.max(...known) ? list : undefined;
      });
      const ids = new Set(idsOf(now));
      expect(known.filter((id) => !ids.has(id))).toEqual([]);
      for (const checkpoint of [now[0], now[Math.floor(Math.random() * now.length)], now.at(-1)]) if (checkpoint) await expectPrefix(recovering, checkpoint, writer);
    }
    await writer.stop();
    const all = await listed(recovering);
    for (let at = 0; at < all.length; at += Math.max(1, Math.floor(all.length / 10))) {
      const checkpoint = all[at];
      if (checkpoint) await expectPrefix(recovering, checkpoint, writer);
    }
    expect(writer.completedAtMs.length).toBeGreaterThan(100);
  });
}, 110_000);

it('brings an initial sync to a right end, whoever is killed in its middle', async () => {
  await withSite(async ({ folder, protecting, recovering, writer }) => {
    await until('disks full of writes', async () => await Promise.resolve(writer.completedAtMs.length > VMS.length * BLOCKS ? true : undefined), 30_000);
    await protect(folder, protecting, recovering);
    for (const victim of [recovering, ...protecting, recovering]) {
      await killAndRestart(victim);
      await sleep(Math.random() * 60);
    }
    const found = await until('checkpoints', async () => {
      const list = await listed(recovering);
      return list.length > 2 ? list : undefined;
    });
    for (const checkpoint of found) await expectPrefix(recovering, checkpoint, writer);
  });
}, 60_000);
