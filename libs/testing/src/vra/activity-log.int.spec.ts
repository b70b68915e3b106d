import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '@tidemark/base';
import type { CheckpointListing, DesiredState, EngineStatus } from '@tidemark/engine-host';
import { openNbdVolume } from '@tidemark/nbd-client';
import { EngineChild } from './engine-child.js';
import { SITE_ID } from './test-site.js';
import { NbdClient } from './nbd-client.js';

const BLOCK = 4096;
const DISK_BYTES = 32 * MiB;
const VM = 'vm';
/** The guest writes here; everything else is old. */
const HOT_BYTES = 2 * MiB;

interface Site {
  readonly folder: string;
  readonly vpgIds: readonly string[];
  readonly protecting: EngineChild;
  readonly recovering: EngineChild;
}

let site: Site;
let writer: Writer | undefined;

beforeEach(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-activity-'));
  site = {
    folder, vpgIds: [randomUUID(), randomUUID()], recovering: await EngineChild.start('r0', folder),
    protecting: await EngineChild.start('p0', folder, { activityPeriodMs: 500 }),
  };
  await mkdir(join(folder, 'disks'));
  await writeFile(diskPath(), Buffer.alloc(DISK_BYTES, 'what was there before the first sync'));
});
afterEach(async () => {
  await writer?.stop();
  writer = undefined;
  await site.protecting.kill();
  await site.recovering.kill();
  await rm(site.folder, { recursive: true, force: true });
});

const diskPath = (): string => join(site.folder, 'disks', VM);
const activityFolder = (): string => join(site.folder, 'p0-state', 'activity');

async function protect(vpgCount: number): Promise<void> {
  const vpgIds = site.vpgIds.slice(0, vpgCount);
  for (const vpgId of vpgIds) {
    await site.recovering.call('putRecovery', {
      vpgId, vmId: VM, protectedSiteId: SITE_ID, epoch: 1, recoverers: [{ vra: site.recovering.address, vmIds: [VM] }], historyMs: 3_600_000, journalFolder: join(site.folder, 'recovery', vpgId, 'journal'),
      volumes: [{ diskId: 'd', sizeBytes: DISK_BYTES, mirrorPath: join(site.folder, 'recovery', vpgId, 'mirror') }],
      datastore: { path: join(site.folder, 'recovery'), capacityBytes: 8192 * MiB },
    });
  }
  const desired: DesiredState = {
    revision: 1, attachedVms: [{ vmId: VM, disks: [{ diskId: 'd', exportName: VM, path: diskPath(), sizeBytes: DISK_BYTES }] }],
    protections: vpgIds.map((vpgId) => ({ vpgId, vmId: VM, epoch: 1, diskIds: ['d'], recoveringVra: site.recovering.address, recoverySiteId: SITE_ID, isCompressed: false, priority: 'medium' })),
    barriers: vpgIds.map((vpgId) => ({ vpgId, version: 1, epoch: 1, intervalMs: 200, members: [{ vra: site.protecting.address, vmIds: [VM] }] })),
  };
  await site.protecting.call('applyDesiredState', desired);
}

async function until<T>(what: string, probe: () => Promise<T | undefined>, timeoutMs = 20_000): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > deadlineMs) throw new Error(`not within ${String(timeoutMs)} ms: ${what}`);
    await sleep(25);
  }
}

const protections = async (): Promise<EngineStatus['protections']> => (await site.protecting.call<EngineStatus>('status')).protections;
const untilReplicating = (): Promise<EngineStatus['protections']> => until('replicating', async () => {
  const list = await protections();
  return list.length > 0 && list.every(({ state }) => state === 'replicating') ? list : undefined;
});

/** The logs say that little is marked, durably. */
async function untilTrusted(count: number): Promise<void> {
  await until('trusted logs', async () => ((await readdir(activityFolder())).filter((name) => name.endsWith('.json')).length === count ? true : undefined));
}

/** Writes numbered blocks over and over into the hot range, one after the other; waits and repeats where its server is gone. */
class Writer {
  readonly #blocks = new Map<number, number>();
  #isStopped = false;
  #count = 0;
  maxWaitMs = 0;
  readonly done = this.#run();

  constructor(private readonly socketPath: string) {}

  get count(): number {
    return this.#count;
  }

  async #run(): Promise<void> {
    let client: NbdClient | undefined;
    await Promise.resolve();
    while (!this.#isStopped) {
      this.#count += 1;
      const block = (this.#count * 7919) % (HOT_BYTES / BLOCK);
      const bytes = new Uint8Array(BLOCK);
      new Uint32Array(bytes.buffer).fill(this.#count);
      this.#blocks.set(block, this.#count);
      const startedMs = performance.now();
      for (let isWritten = false; !isWritten && !this.#isStopped; ) {
        try {
          client ??= await NbdClient.connect(this.socketPath, VM);
          await client.write(block * BLOCK, bytes);
          isWritten = true;
        } catch {
          client = undefined;
          await sleep(20);
        }
      }
      this.maxWaitMs = Math.max(this.maxWaitMs, performance.now() - startedMs);
      if (this.#count % 32 === 0) await sleep(1);
    }
    client?.close();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.done;
  }
}

/** The newest checkpoint that comes from now on, read whole. */
async function recoveredImage(vpgId: string): Promise<Buffer> {
  const list = async (): Promise<number> => Math.max(0, ...(await site.recovering.call<CheckpointListing>('listCheckpoints', { vpgId, vmId: VM })).held.map(({ checkpointId }) => checkpointId));
  const before = await list();
  const first = await until('a new checkpoint', async () => ((await list()) > before ? await list() : undefined));
  const checkpointId = await until('one that began after it', async () => ((await list()) > first ? await list() : undefined));
  const viewId = randomUUID();
  await site.recovering.call('openView', { viewId, vpgId, vmId: VM, checkpointId, purpose: 'test', volumes: [{ diskId: 'd', exportName: viewId }] });
  const view = await openNbdVolume({ uri: `nbd+unix:///${viewId}?socket=${site.recovering.socketPath}`, isReadOnly: true });
  const image = Buffer.alloc(DISK_BYTES);
  await view.read(0, image);
  await view.close();
  await site.recovering.call('closeView', { viewId });
  return image;
}

/** What the recovering side was sent since its start, uncompressed. */
const receivedBytes = async (): Promise<number> => (await site.recovering.call<EngineStatus>('status')).recoveries.reduce((sum, { receivedRawBytes }) => sum + receivedRawBytes, 0);

const COLD_AT = 25 * MiB;

async function pokeCold(): Promise<void> {
  const file = await open(diskPath(), 'r+');
  await file.write(Buffer.alloc(BLOCK, 0xee), 0, BLOCK, COLD_AT);
  await file.close();
}

async function killProtecting(): Promise<number> {
  await site.protecting.kill();
  const startedMs = performance.now();
  await site.protecting.startAgain();
  return performance.now() - startedMs;
}

describe('the activity log of a protecting VRA', () => {
  it('makes a kill under load cost a small part of the disk, and the image is right; again and again', async () => {
    await protect(1);
    await untilTrusted(1);
    writer = new Writer(site.protecting.socketPath);
    for (let round = 0; round < 2; round += 1) {
      await sleep(700);
      const before = await receivedBytes();
      const restartMs = await killProtecting();
      await untilReplicating();
      const sent = (await receivedBytes()) - before;
      expect(sent).toBeLessThan(DISK_BYTES / 4);
      expect(sent).toBeGreaterThan(0);
      expect(restartMs).toBeLessThan(5000);
    }
    await writer.stop();
    expect(writer.count).toBeGreaterThan(100);
    const [vpgId = ''] = site.vpgIds;
    expect((await recoveredImage(vpgId)).equals(await readFile(diskPath()))).toBe(true);
  }, 60_000);

  it('compares nothing but what is marked: a change behind its back, elsewhere, is not seen', async () => {
    await protect(1);
    await untilTrusted(1);
    await (await NbdClient.connect(site.protecting.socketPath, VM)).write(0, Buffer.alloc(BLOCK, 1));
    await site.protecting.kill();
    const expected = await readFile(diskPath());
    await pokeCold();
    await site.protecting.startAgain();
    await untilReplicating();
    const [vpgId = ''] = site.vpgIds;
    expect((await recoveredImage(vpgId)).equals(expected)).toBe(true);
  }, 60_000);

  it('keeps one log for each VPG that protects the VM', async () => {
    await protect(2);
    await untilTrusted(2);
    writer = new Writer(site.protecting.socketPath);
    await sleep(500);
    const before = await receivedBytes();
    await killProtecting();
    await untilReplicating();
    expect((await receivedBytes()) - before).toBeLessThan(DISK_BYTES / 2);
    await writer.stop();
    for (const vpgId of site.vpgIds) expect((await recoveredImage(vpgId)).equals(await readFile(diskPath()))).toBe(true);
  }, 60_000);

  it.each<[string, () => Promise<unknown>]>([
    ['its marks are torn', async () => {
      const name = (await readdir(activityFolder())).find((each) => each.endsWith('.marks')) ?? '';
      const file = await open(join(activityFolder(), name), 'r+');
      await file.write(Buffer.from([1, 2, 3]), 0, 3, 200);
      await file.close();
    }],
    ['it is lost', async () => await rm(activityFolder(), { recursive: true })],
    ['its document is damaged', async () => {
      const name = (await readdir(activityFolder())).find((each) => each.endsWith('.json')) ?? '';
      await writeFile(join(activityFolder(), name), '{');
    }],
    ['the disk is another file', async () => {
      const bytes = await readFile(diskPath());
      await rm(diskPath());
      await writeFile(`${diskPath()}.new`, '');
      await writeFile(diskPath(), bytes.fill(7, 20 * MiB, 21 * MiB));
    }],
  ])('is not believed when %s: everything is compared', async (_, harm) => {
    await protect(1);
    await untilTrusted(1);
    await site.protecting.kill();
    await harm();
    // Behind everybody's back, in an extent that is not marked: only who compares everything finds it.
    await pokeCold();
    await site.protecting.startAgain();
    await untilReplicating();
    const [vpgId = ''] = site.vpgIds;
    expect((await recoveredImage(vpgId)).equals(await readFile(diskPath()))).toBe(true);
  }, 60_000);

  it('wins for the protected volume when a power loss took writes that the recovery side holds', async () => {
    await protect(1);
    await untilTrusted(1);
    const old = await readFile(diskPath());
    writer = new Writer(site.protecting.socketPath);
    await sleep(500);
    await site.protecting.kill();
    await writer.stop();
    // As if nothing of the last half second had reached the platter.
    const file = await open(diskPath(), 'r+');
    await file.write(old, 0, HOT_BYTES, 0);
    await file.close();
    await site.protecting.startAgain();
    await untilReplicating();
    const [vpgId = ''] = site.vpgIds;
    expect((await recoveredImage(vpgId)).equals(old)).toBe(true);
  }, 60_000);
});

const RECOVERY_FOLDERS = ['recovery', 'r0-state'] as const;

/** A snapshot of the recovering VRA's machine, or the same put back. */
async function copyRecovery(from: string, to: string): Promise<void> {
  for (const name of RECOVERY_FOLDERS) {
    await rm(join(to, name), { recursive: true, force: true });
    await cp(join(from, name), join(to, name), { recursive: true });
  }
}

/** The highest of all sectors of the marks on disk, docs/spec/activity-log.md. */
async function clearedSeq(): Promise<number> {
  const name = (await readdir(activityFolder())).find((each) => each.endsWith('.marks')) ?? '';
  const marks = await readFile(join(activityFolder(), name));
  const seqs: number[] = [];
  for (let at = 0; at + 512 <= marks.length; at += 512) seqs.push(Number(marks.readBigUInt64LE(at + 24)));
  return Math.max(0, ...seqs);
}

describe('a recovery side that comes back without what it had acknowledged', () => {
  it.each([['a link that was cut', false], ['a restart of the protecting VRA, by its activity log', true]])('is an alarm after %s, and everything is compared', async (_, isRestarted) => {
    await protect(1);
    await untilTrusted(1);
    await site.recovering.kill();
    await copyRecovery(site.folder, join(site.folder, 'snapshot'));
    await site.recovering.startAgain();
    await untilReplicating();
    // At least what the snapshot holds.
    const durableSeq = (await site.recovering.call<EngineStatus>('status')).recoveries[0]?.durableSeq ?? 0;
    const guest = await NbdClient.connect(site.protecting.socketPath, VM);
    let count = 0;
    await until('the log knows that later writes are acknowledged', async () => {
      count += 1;
      await guest.write((count * MiB) % DISK_BYTES, Buffer.alloc(BLOCK, count));
      if (!isRestarted) return count === 10 ? true : undefined;
      // Slowly, one extent after another: what rests is cleared, and reaches the disk with the next new mark.
      await sleep(250);
      return (await clearedSeq()) > durableSeq ? true : undefined;
    }, 60_000);
    guest.close();
    await until('all is acknowledged', async () => ((await protections()).every(({ lagBytes, loss }) => lagBytes === 0 && loss === null) ? true : undefined));
    if (isRestarted) await site.protecting.kill();
    await site.recovering.kill();
    await copyRecovery(join(site.folder, 'snapshot'), site.folder);
    await site.recovering.startAgain();
    if (isRestarted) await site.protecting.startAgain();
    const loss = await until('the loss is told', async () => (await protections())[0]?.loss ?? undefined);
    expect(loss).toMatchObject({ count: 1, detail: expect.stringMatching(/acknowledged writes are lost, durable up to \d+, acknowledged \d+/) as unknown });
    await untilReplicating();
    const [vpgId = ''] = site.vpgIds;
    expect((await recoveredImage(vpgId)).equals(await readFile(diskPath()))).toBe(true);
    expect((await protections())[0]?.loss).toEqual(loss);
  }, 90_000);
});
