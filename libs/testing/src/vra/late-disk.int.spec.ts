import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { CheckpointListing, DesiredState, EngineStatus } from '@tidemark/engine-host';
import { openNbdVolume } from '@tidemark/nbd-client';
import { ExportTable, NbdServer } from '@tidemark/nbd-server';
import { MemoryVolume } from '@tidemark/volume';
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineChild } from './engine-child.js';
import { NbdClient } from './nbd-client.js';
import { SITE_ID } from './test-site.js';

/** A file and a disk behind an NBD server, which is this process. */
const FILE_BYTES = 16 * MiB;
const SERVED_BYTES = 4 * MiB;
const VM = 'vm';
const BLOCK = 4096;
const WAIT_MS = 60_000;
const vpgId = randomUUID();
const block = (value: number): Uint8Array => new Uint8Array(BLOCK).fill(value);

let folder: string;
let protecting: EngineChild;
let recovering: EngineChild;
let storage: MemoryVolume;
let server: NbdServer | undefined;

const file = (): string => join(folder, 'file.raw');
const socketPath = (): string => join(folder, 'storage.sock');

async function serve(): Promise<void> {
  const table = new ExportTable();
  table.add({ name: 'disk', volume: storage });
  server = await NbdServer.listen({ socketPath: socketPath() }, table);
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-late-'));
  await writeFile(file(), Buffer.alloc(FILE_BYTES, 'what was there before'));
  storage = new MemoryVolume({ sizeBytes: SERVED_BYTES });
  storage.write(0, new Uint8Array(SERVED_BYTES).fill(7));
  await serve();
  recovering = await EngineChild.start('r0', folder);
  protecting = await EngineChild.start('p0', folder, { activityPeriodMs: 500 });
}, 60_000);
afterEach(async () => {
  await protecting.kill();
  await recovering.kill();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

function desired(revision: number, isFenced = false, diskIds = ['served', 'file']): DesiredState {
  const disks = [
    { diskId: 'served', exportName: 'served', path: `nbd+unix:///disk?socket=${socketPath()}`, sizeBytes: SERVED_BYTES }, { diskId: 'file', exportName: 'file', path: file(), sizeBytes: FILE_BYTES },
  ];
  return {
    revision,
    attachedVms: [{ vmId: VM, isFenced, disks: disks.filter(({ diskId }) => diskIds.includes(diskId)) }],
    protections: [{ vpgId, vmId: VM, epoch: 1, diskIds, recoveringVra: recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' }],
    barriers: [{ vpgId, version: 1, epoch: 1, intervalMs: 200, members: [{ vra: protecting.address, vmIds: [VM] }] }],
  };
}

async function protect(diskIds = ['served', 'file'], revision = 1): Promise<void> {
  await mkdir(join(folder, 'recovery'), { recursive: true });
  await recovering.call('putRecovery', {
    vpgId, vmId: VM, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: recovering.address, vmIds: [VM] }], historyMs: 3_600_000, journalFolder: join(folder, 'recovery', 'journal'),
    volumes: diskIds.map((diskId) => ({ diskId, sizeBytes: diskId === 'file' ? FILE_BYTES : SERVED_BYTES, mirrorPath: join(folder, 'recovery', `${diskId}.mirror`) })),
    datastore: { path: join(folder, 'recovery'), capacityBytes: 8192 * MiB },
  });
  await protecting.call('applyDesiredState', desired(revision, false, diskIds));
}

async function until<T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> {
  const deadlineMs = performance.now() + WAIT_MS;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadlineMs) throw new Error(`not within ${String(WAIT_MS)} ms: ${what}`);
    await sleep(25);
  }
}

const protection = async (): Promise<EngineStatus['protections'][number] | undefined> => (await protecting.call<EngineStatus>('status')).protections[0];
const untilReplicating = async (): Promise<void> => void (await until('replicating', async () => (await protection())?.state === 'replicating'));
const untilTrusted = async (): Promise<void> => void (await until('a trusted log', async () => (await readdir(join(folder, 'p0-state', 'activity'))).some((name) => name.endsWith('.json'))));
const guestOf = async (exportName: string): Promise<NbdClient> => await NbdClient.connect(protecting.socketPath, exportName);

async function restart(): Promise<void> {
  await protecting.kill();
  await protecting.startAgain();
}

async function laterCheckpoint(): Promise<number> {
  const newest = async (): Promise<number> => Math.max(0, ...(await recovering.call<CheckpointListing>('listCheckpoints', { vpgId, vmId: VM })).held.map(({ checkpointId }) => checkpointId));
  const before = await newest();
  return await until('two checkpoints more', async () => ((await newest()) > before + 1 ? await newest() : undefined));
}

/** Both disks, of a checkpoint that began after now. */
async function recovered(): Promise<readonly Buffer[]> {
  const checkpointId = await laterCheckpoint();
  const viewId = randomUUID();
  await recovering.call('openView', { viewId, vpgId, vmId: VM, checkpointId, purpose: 'test', volumes: ['served', 'file'].map((diskId) => ({ diskId, exportName: `${viewId}-${diskId}` })) });
  return await Promise.all([['served', SERVED_BYTES], ['file', FILE_BYTES]].map(async ([diskId, sizeBytes]) => {
    const volume = await openNbdVolume({ uri: `nbd+unix:///${viewId}-${String(diskId)}?socket=${recovering.socketPath}`, isReadOnly: true });
    const image = Buffer.alloc(Number(sizeBytes));
    await volume.read(0, image);
    await volume.close();
    return image;
  }));
}

async function onDisks(): Promise<readonly Buffer[]> {
  const served = Buffer.alloc(SERVED_BYTES);
  storage.read(0, served);
  return [served, await readFile(file())];
}

it('a VRA that was killed and finds one disk away answers the others at once; what is written there meanwhile, killed once more, is compared, nothing else', async () => {
  await protect();
  await untilReplicating();
  await untilTrusted();
  await server?.close();
  await restart();
  const first = await guestOf('file');
  await first.write(4 * MiB, block(1));
  expect(await protection()).toMatchObject({ state: 'failed', detail: expect.stringContaining('disk served at nbd+unix:///disk') });
  await restart();
  const [guest, waiting] = [await guestOf('file'), await guestOf('served')];
  await guest.write(5 * MiB, block(2));
  const written = waiting.write(MiB, block(3));
  await guest.write(6 * MiB, block(4));

  await serve();
  await written;
  await untilReplicating();
  const { allSyncsBytes = 0 } = (await protection()) ?? {};
  expect(allSyncsBytes).toBeGreaterThan(0);
  expect(allSyncsBytes).toBeLessThan((SERVED_BYTES + FILE_BYTES) / 4);
  const [images, disks] = [await recovered(), await onDisks()];
  expect(images.map((image, index) => disks[index]?.equals(image))).toEqual([true, true]);
  for (const each of [guest, waiting]) each.close();
}, 240_000);

it('a disk that is added while its server is away is served at once, whoever uses it waits; the stream goes on, and takes it when it is there', async () => {
  await protect(['file']);
  await untilReplicating();
  await server?.close();
  await protect(['file', 'served'], 2);
  const [guest, waiting] = [await guestOf('file'), await guestOf('served')];
  const written = waiting.write(MiB, block(5));
  await guest.write(MiB, block(6));
  await laterCheckpoint();
  expect((await protecting.call<EngineStatus>('status')).revision).toBe(2);

  await serve();
  await written;
  await until('a mirror like the disk', async () => {
    await untilReplicating();
    const [images, disks] = [await recovered().catch(() => [undefined]), await onDisks()];
    return images.every((image, index) => image && disks[index]?.equals(image));
  });
  for (const each of [guest, waiting]) each.close();
}, 240_000);

it('a fence holds for a disk that is not open yet, also for a write that waits for it', async () => {
  await protect();
  await untilReplicating();
  await server?.close();
  await restart();
  const [early, late] = [await guestOf('served'), await guestOf('served')];
  const waiting = early.write(MiB, block(9)).then(() => 'written', () => 'refused');
  await protecting.call('applyDesiredState', desired(2, true));
  await expect(late.write(2 * MiB, block(9))).rejects.toThrow();
  await serve();
  expect(await waiting).toBe('refused');
  const read = await late.read(MiB, BLOCK);
  expect(Buffer.from(read).equals(Buffer.alloc(BLOCK, 7))).toBe(true);
  for (const each of [early, late]) each.close();
}, 240_000);
